"""The bytes of a file, unpacked if they are packed; what lies before and after damage is given.

Takes a stream of plain, gzip or zstd bytes, recognised by their first bytes; gives them unpacked in pieces of bounded
size, whatever the compression ratio. Where packed bytes are damaged, a `Gap` stands for what is lost, and reading goes
on where the next gzip member or zstd frame starts.
"""

import contextlib
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import zstandard

READ_BYTES = 1 << 16
ZSTD_BLOCK_BYTES = 1 << 17
HEAD_BYTES = 1024
"""By which a file that begins with no known mark is taken for text or not."""
_GZIP, _ZSTD, _SKIPPABLE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
_GZIP_START = re.compile(rb"\x1f\x8b\x08[\0-\x1f]")
_ZSTD_START = re.compile(rb"\x28\xb5\x2f\xfd")
_OTHER_PACKINGS = {
    "bzip2": re.compile(rb"BZh[1-9]1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "zip": re.compile(rb"PK\x03\x04"),
    "7z": re.compile(rb"7z\xbc\xaf\x27\x1c"),
    "lz4": re.compile(rb"\x04\x22\x4d\x18"),
}


class BrokenStream(Exception):
    """The bytes of a compressed file end, or stop making sense, before their end."""


@dataclass(frozen=True)
class Gap:
    """Here bytes are lost; `why` says why."""

    why: str


class FailureRecorder(io.RawIOBase):
    """A stream that keeps its own failure: a store that cannot be read is not a damaged file."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self.stream.read(size)
        except Exception as error:
            self.failure = error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _inflated(decoder: Any, packed: bytes) -> Iterator[bytes]:
    """What `packed` holds, up to where it breaks; pieces of bounded size, whatever the compression ratio."""
    while packed:
        before = decoder.copy()
        try:
            piece = decoder.decompress(packed, READ_BYTES * 16)
        except zlib.error as error:
            # zlib gives nothing of a call that fails: once more, byte by byte, for what comes before the damage.
            with contextlib.suppress(zlib.error):
                for at in range(len(packed)):
                    yield before.decompress(packed[at : at + 1])
            raise BrokenStream("broken gzip") from error
        yield piece
        packed = decoder.unconsumed_tail


def _gunzipped(stream: BinaryIO, read_bytes: int, start: int | None = 0) -> Iterator[bytes | Gap]:
    """Everything that can be unpacked of a gzip file, member by member."""
    while start is not None:
        stream.seek(start)
        end, decoder = start, zlib.decompressobj(wbits=31)
        try:
            while chunk := stream.read(read_bytes):
                end += len(chunk)
                while chunk:
                    if decoder.eof:
                        chunk = chunk.lstrip(b"\0")  # padding between members
                        if not chunk:
                            break
                        start, decoder = end - len(chunk), zlib.decompressobj(wbits=31)
                    yield from _inflated(decoder, chunk)
                    chunk = decoder.unused_data
            if decoder.eof:
                return
            yield Gap("truncated gzip")
        except BrokenStream as error:
            yield Gap(str(error))
        # From the damaged member's own beginning on: inflating may have run on into what follows it.
        start = _next_start(stream, start + 1, _GZIP_START, _is_gzip)


def _is_gzip(head: bytes) -> bool:
    decoder = zlib.decompressobj(wbits=31)
    try:
        return bool(decoder.decompress(head, READ_BYTES)) or decoder.eof
    except zlib.error:
        return False


def _is_zstd(head: bytes) -> bool:
    try:
        header = zstandard.frame_header_size(head)
        zstandard.get_frame_parameters(head)
    except zstandard.ZstdError:
        return False
    return _block(head[header : header + 3]) is not None


def _next_start(
    stream: BinaryIO, after: int, pattern: re.Pattern[bytes], accepted: Callable[[bytes], bool]
) -> int | None:
    """Where, from `after` on, bytes start that match and are accepted as a head. None: nowhere."""
    stream.seek(after)
    begin, window = after, stream.read(2 * READ_BYTES)
    while window:
        for match in pattern.finditer(window):
            if match.start() < READ_BYTES and accepted(window[match.start() :][:READ_BYTES]):
                return begin + match.start()
        begin, window = begin + READ_BYTES, window[READ_BYTES:]
        window = window and window + stream.read(READ_BYTES)
    return None


class _Block(NamedTuple):
    """A block of a zstd frame (RFC 8878, 3.1.1.2)."""

    bytes: int
    is_last: bool


def _block(head: bytes) -> _Block | None:
    """The block with this head of three bytes; None: there is none such."""
    value = int.from_bytes(head, "little")
    kind, size = value >> 1 & 3, value >> 3
    if len(head) < 3 or kind == 3 or size > ZSTD_BLOCK_BYTES:
        return None
    return _Block(1 if kind == 1 else size, bool(value & 1))


def _frame(stream: BinaryIO) -> Iterator[bytes]:
    """One zstd frame, block by block: what precedes damage is given, and a block's size is bounded. The stream is left
    behind the frame, or where it starts if it is damaged.

    BrokenStream: it is damaged or cut off. EOFError: there is no more frame."""
    start = stream.tell()
    head = stream.read(18)  # the longest header
    if not head.strip(b"\0"):
        raise EOFError
    decoder = zstandard.ZstdDecompressor().decompressobj()
    if head[1:4] == _SKIPPABLE and head[0] >> 4 == 5:
        stream.seek(start + 8 + int.from_bytes(head[4:8], "little"))
        return
    try:
        header = zstandard.frame_header_size(head)
        has_checksum = zstandard.get_frame_parameters(head).has_checksum
        decoder.decompress(head[:header])
    except zstandard.ZstdError:
        stream.seek(start)
        raise BrokenStream(
            f"{'truncated' if len(head) < 18 and _ZSTD.startswith(head[:4]) else 'broken'} zstd"
        ) from None
    is_last = False
    stream.seek(start + header)
    while not is_last:
        head = stream.read(3)
        block = _block(head)
        packed = stream.read(block.bytes) if block else b""
        try:
            if len(head) == 3 and block is None:
                raise BrokenStream("broken zstd")
            if block is None or len(packed) < block.bytes:
                raise BrokenStream("truncated zstd")
            if piece := decoder.decompress(head + packed):
                yield piece
            is_last = block.is_last
            if is_last and has_checksum:
                decoder.decompress(stream.read(4))
            if is_last and not decoder.eof:
                raise BrokenStream("truncated zstd")
        except (BrokenStream, zstandard.ZstdError) as error:
            stream.seek(start)
            raise BrokenStream(str(error) if isinstance(error, BrokenStream) else "broken zstd") from None


def _unzstd(stream: BinaryIO, start: int | None = 0) -> Iterator[bytes | Gap]:
    """Everything that can be unpacked of a zstd file, frame by frame."""
    while start is not None:
        stream.seek(start)
        try:
            while True:
                yield from _frame(stream)
        except EOFError:
            return
        except BrokenStream as error:
            yield Gap(str(error))
            # From the damaged frame's own beginning on: a block may have run on into what follows it.
            start = _next_start(stream, stream.tell() + 1, _ZSTD_START, _is_zstd)


def pieces(stream: BinaryIO, read_bytes: int = READ_BYTES) -> Iterator[bytes | Gap]:
    """The bytes of a file, unpacked if they are packed, and the gaps in them: the first bytes decide, not the name."""
    head = stream.read(16)
    stream.seek(0)
    if head[:2] == _GZIP:
        yield from _gunzipped(stream, read_bytes)
    elif head[:4] == _ZSTD or (head[1:4] == _SKIPPABLE and head[0] >> 4 == 5):
        yield from _unzstd(stream)
    elif packing := next((name for name, start in _OTHER_PACKINGS.items() if start.match(head)), None):
        yield Gap(f"packed with {packing}, which is not read: pack it with gzip or zstd")
    elif (packed := _starts_later(stream)) is not None:
        yield Gap("broken beginning of packed data")
        stream.seek(packed)
        is_gzip = stream.read(2) == _GZIP
        yield from _gunzipped(stream, read_bytes, packed) if is_gzip else _unzstd(stream, packed)
    else:
        stream.seek(0)
        while chunk := stream.read(read_bytes):
            yield chunk


def _starts_later(stream: BinaryIO) -> int | None:
    """Where a gzip member or zstd frame starts in a file that does not begin like text; None: nowhere."""
    head = stream.read(HEAD_BYTES)
    try:
        head.decode("utf-8")
        return None
    except UnicodeDecodeError as error:
        if error.start > len(head) - 4 == HEAD_BYTES - 4:
            return None  # a character that the head cuts in two
    starts = (_next_start(stream, 0, _GZIP_START, _is_gzip), _next_start(stream, 0, _ZSTD_START, _is_zstd))
    return min((start for start in starts if start is not None), default=None)


def unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file, unpacked if they are packed. BrokenStream: they are damaged."""
    for piece in pieces(stream):
        if isinstance(piece, Gap):
            raise BrokenStream(piece.why)
        yield piece


def read_all(stream: BinaryIO, max_bytes: int) -> bytes | None:
    """All of a file, unpacked; None: it is longer than this. BrokenStream: it is damaged."""
    parts = io.BytesIO()
    for piece in unpacked(stream):
        parts.write(piece)
        if parts.tell() > max_bytes:
            return None
    return parts.getvalue()
