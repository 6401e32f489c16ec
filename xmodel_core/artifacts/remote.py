"""Object stores and hubs through fsspec: addresses in; listings, bytes and streams out.

Addresses are s3://bucket/key and hf://datasets/OWNER/NAME/file. Every call is retried through an outage (see
`retries`). Credentials come from the environment or the profile alone.
"""

import contextlib
import io
import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec

from xmodel_core.artifacts.retries import ABSENCES, HUB, response_codes, with_retries
from xmodel_core.errors import TransientError, XmodelError

READ_BLOCK_BYTES = 8 << 20  # of a streamed file, fetched by one request
REQUESTS_AT_A_TIME = 16
S3 = "s3://"
SCHEMES = (S3, HUB)

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_remote(address: str) -> bool:
    """Whether an address is on an object store or hub that can be reached through fsspec."""
    return address.startswith(SCHEMES)


def filesystem(address: str) -> Any:
    """The fsspec file system of an address, one per process and environment."""
    return _filesystem(address.partition("://")[0], _environment())


def _environment() -> int:
    return hash(tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "HF_")))))


@cache
def _filesystem(scheme: str, _environment: int) -> Any:
    if scheme != "s3":
        return fsspec.filesystem(scheme, skip_instance_cache=True)
    config: dict[str, Any] = {"retries": {"total_max_attempts": 1}}  # `with_retries` alone decides
    # Newer AWS clients add checksums that many S3-compatible servers do not know; what we write is checked by the
    # sha256 of its receipt. The AWS variables, where set, take precedence.
    for option in ("request_checksum_calculation", "response_checksum_validation"):
        if f"AWS_{option.upper()}" not in os.environ:
            config[option] = "when_required"
    # No cached listings: another process may have written since.
    return fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True, config_kwargs=config)


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`function` over `items` in threads, results in item order: for many requests to an object store."""
    if len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(REQUESTS_AT_A_TIME, len(items))) as pool:
        return list(pool.map(function, items))


@dataclass(frozen=True)
class RemoteFile:
    """One object as listed."""

    address: str
    bytes: int
    version: str
    """Changes with the content: an ETag, or the Hub's id of the blob."""
    sha256: str | None
    """Published by the Hub for large files; None elsewhere."""
    modified_seconds: float
    """Since 1970; 0 where unknown."""


def _remote_file(scheme: str, info: dict[str, Any]) -> RemoteFile:
    published = info.get("lfs") or {}
    sha256 = published.get("sha256") if isinstance(published, dict) else getattr(published, "sha256", None)
    version = info.get("ETag") or info.get("blob_id") or ""
    modified = info.get("LastModified")
    return RemoteFile(
        address=scheme + info["name"],
        bytes=int(info["size"]),
        version=str(version).strip('"'),
        sha256=sha256,
        modified_seconds=modified.timestamp() if modified else 0.0,
    )


def stat(address: str) -> RemoteFile | None:
    """The object at an address; None if there is none."""
    scheme = address.partition("://")[0] + "://"
    try:
        info = with_retries(address, lambda: filesystem(address).info(address))
    except ABSENCES:
        return None
    return _remote_file(scheme, info) if info["type"] == "file" else None


def list_folder(address: str) -> tuple[list[str], list[RemoteFile]]:
    """(names of folders, files) directly below an address, sorted; both empty if there is nothing."""
    scheme = address.partition("://")[0] + "://"
    try:
        listed = with_retries(address, lambda: filesystem(address).ls(address, detail=True))
    except ABSENCES:
        return [], []
    below = [info for info in listed if scheme + info["name"].rstrip("/") != address.rstrip("/")]
    folders = sorted(info["name"].rstrip("/").rpartition("/")[2] for info in below if info["type"] == "directory")
    files = sorted(
        (_remote_file(scheme, info) for info in below if info["type"] == "file"), key=lambda file: file.address
    )
    return folders, files


def list_below(address: str) -> list[RemoteFile]:
    """Every file below an address, however deep, sorted."""
    scheme = address.partition("://")[0] + "://"
    try:
        listed = with_retries(address, lambda: filesystem(address).find(address, detail=True))
    except ABSENCES:
        return []
    files = (_remote_file(scheme, info) for info in listed.values() if info["type"] == "file")
    return sorted((file for file in files if not file.address.endswith("/")), key=lambda file: file.address)


def list_glob(address: str) -> list[RemoteFile]:
    """The files that match an address with *, ? or [] in it, sorted."""
    scheme = address.partition("://")[0] + "://"
    listed = with_retries(address, lambda: filesystem(address).glob(address, detail=True))
    return sorted(
        (_remote_file(scheme, info) for info in listed.values() if info["type"] == "file"),
        key=lambda file: file.address,
    )


def read_bytes(address: str) -> bytes | None:
    """A small object's bytes; None if it does not exist."""
    try:
        return with_retries(address, lambda: filesystem(address).cat_file(address))
    except ABSENCES:
        return None


def read_range(address: str, start: int, end: int) -> bytes:
    """An object's bytes from `start` to `end` (excluded). XmodelError: it is missing or shorter."""
    try:
        data = with_retries(address, lambda: filesystem(address).cat_file(address, start=start, end=end))
    except ABSENCES:
        data = b""
    if len(data) != end - start:
        raise XmodelError(
            "a file changed after it was opened",
            expected=f"bytes {start:,} to {end:,}",
            found=f"{len(data):,} bytes" if data else "no such file",
            where=address,
            remedy="run again: the check at the start names what is missing or changed",
        )
    return data


def write_bytes(address: str, data: bytes) -> None:
    """Writes an object; the completed upload is the atomic step."""
    with_retries(address, lambda: filesystem(address).pipe_file(address, data))


def write_if(address: str, data: bytes, version: str | None) -> bool:
    """Writes an object if the stored one is of this version (None: if there is none); whether it did.

    A store that does not know the condition writes always: `writes_on_condition` finds out."""
    condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": f'"{version}"'}

    def put() -> bool:
        try:
            filesystem(address).pipe_file(address, data, **condition)
        except Exception as error:
            # 404: a condition on a version, and the object is gone. 409: another writes in the same moment.
            if response_codes(error) & {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey"}:
                return False
            raise
        return True

    return with_retries(address, put)


_conditional: dict[tuple[str, int], bool] = {}


def writes_on_condition(folder: str) -> bool:
    """Whether the store refuses a conditional write whose condition does not hold: tried once per bucket, process and
    environment, on an object in this folder that is removed again."""
    key = (folder.removeprefix(S3).partition("/")[0], _environment())
    if key not in _conditional:
        probe = f"{folder}/.conditional-{secrets.token_hex(8)}"
        try:
            known = write_if(probe, b"", None) and not write_if(probe, b"", None) and not write_if(probe, b"", "0" * 32)
        except TransientError:
            raise
        except XmodelError:
            known = False  # the condition is refused as such
        finally:
            remove([probe])
        _conditional[key] = known
    return _conditional[key]


def upload(path: Path, address: str) -> None:
    """Uploads a file; nothing is visible at the address until the upload is complete."""
    with_retries(address, lambda: filesystem(address).put_file(str(path), address))


def download(address: str, path: Path) -> None:
    """Fetches an object to a path. FileNotFoundError: there is none."""
    with_retries(address, lambda: filesystem(address).get_file(address, str(path)))


def copy(address: str, new_address: str) -> None:
    """Copies an object inside its store."""
    with_retries(address, lambda: filesystem(address).cp_file(address, new_address))


def remove(addresses: Sequence[str]) -> None:
    """Removes objects; a missing one is no error."""
    for address in addresses:
        with contextlib.suppress(*ABSENCES):
            with_retries(address, lambda address=address: filesystem(address).rm_file(address))


class _RetryingFile(io.RawIOBase):
    """A remote file for reading and seeking. A read gives the file's bytes or raises an XmodelError: never an OSError,
    which a reader would take for damage to the file."""

    def __init__(self, address: str) -> None:
        self._address = address
        try:
            self._file = with_retries(
                address, lambda: filesystem(address).open(address, "rb", block_size=READ_BLOCK_BYTES)
            )
        except ABSENCES as error:
            raise XmodelError("a file no longer exists", found=error, where=address, remedy="run again") from None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        at = self._file.tell()

        def read() -> bytes:
            self._file.seek(at)
            return self._file.read(len(buffer))

        try:
            data = with_retries(self._address, read)
        except ABSENCES as error:
            raise XmodelError(
                "a file was removed while it was read", found=error, where=self._address, remedy="run again"
            ) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def open_stream(address: str) -> BinaryIO:
    """A remote file as a seekable stream, fetched as it is read."""
    return cast(BinaryIO, io.BufferedReader(_RetryingFile(address), 1 << 18))
