"""The bytes of a file, unpacked if they are packed; everything before damage is given.

Takes a stream of plain, gzip or zstd bytes, recognised by their first bytes; gives them unpacked in pieces of
bounded size, whatever the compression ratio. BrokenStream: packed bytes are damaged or cut off.
"""

import contextlib
import io
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

READ_BYTES = 1 << 16


class BrokenStream(Exception):
    """The bytes of a compressed file end, or stop making sense, before their end."""


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


def _gunzipped(stream: BinaryIO) -> Iterator[bytes]:
    """Everything that can be unpacked of a gzip file, up to where it breaks."""
    decoder, begun = zlib.decompressobj(wbits=31), False
    while chunk := stream.read(READ_BYTES):
        while chunk:
            if decoder.eof:
                chunk = chunk.lstrip(b"\0")  # padding between members
                if not chunk:
                    break
                decoder = zlib.decompressobj(wbits=31)
            begun = True
            yield from _inflated(decoder, chunk)
            chunk = decoder.unused_data
    if begun and not decoder.eof:
        raise BrokenStream("truncated gzip")


def unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file, unpacked if they are packed: the first bytes decide, not the name."""
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        yield from _gunzipped(stream)
    elif magic == b"\x28\xb5\x2f\xfd":
        unpacked = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")
        while True:
            try:
                chunk = unpacked.read(READ_BYTES)
            except (OSError, pa.ArrowInvalid) as error:
                kind = "truncated" if "end of" in str(error).lower() or "truncated" in str(error).lower() else "broken"
                raise BrokenStream(f"{kind} zstd") from error
            if not chunk:
                return
            yield chunk
    else:
        while chunk := stream.read(READ_BYTES):
            yield chunk


def read_all(stream: BinaryIO, max_bytes: int) -> bytes | None:
    """All of a file, unpacked; None: it is longer than this. BrokenStream: it is damaged."""
    parts = io.BytesIO()
    for piece in unpacked(stream):
        parts.write(piece)
        if parts.tell() > max_bytes:
            return None
    return parts.getvalue()
