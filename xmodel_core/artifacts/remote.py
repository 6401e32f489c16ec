"""Object stores and hubs through fsspec: every call patient, every refusal one clear message.

Takes addresses (s3://bucket/key, hf://datasets/OWNER/NAME/file); gives listings, bytes and streams. An outage
is waited out with growing pauses; what waiting cannot mend (no bucket, a wrong key, a missing permission) is
said at once. Credentials come from the environment or profile alone, and nothing here repeats them.
"""

import asyncio
import contextlib
import errno
import http.client
import io
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec

from xmodel_core.artifacts.disk import DISK_IS_FULL
from xmodel_core.errors import TransientError, XmodelError

PATIENCE_SECONDS = 120.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
READ_BLOCK_BYTES = 8 << 20  # of a streamed file, fetched by one request
S3, HUB = "s3://", "hf://"
SCHEMES = (S3, HUB)
# What the caller, not the store, is to be told about: these go through as they are.
ABSENCES = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
REFUSED = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENAMETOOLONG, errno.EMSGSIZE, errno.EREMCHG}

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


def is_remote(address: str) -> bool:
    """Whether an address lies on an object store or hub that can be reached through fsspec."""
    return address.startswith(SCHEMES)


def filesystem(address: str) -> Any:
    """The fsspec file system of an address, one per process and environment."""
    scheme = address.partition("://")[0]
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "HF_"))))
    return _filesystem(scheme, hash(settings))


@cache
def _filesystem(scheme: str, _environment: int) -> Any:
    if scheme != "s3":
        return fsspec.filesystem(scheme, skip_instance_cache=True)
    config: dict[str, Any] = {"retries": {"total_max_attempts": 1}}  # `patiently` alone decides how long
    # Newer AWS clients add checksums that many S3-compatible servers do not know; what we write is checked by
    # the sha256 of its receipt. Who sets the variables is obeyed.
    for option in ("request_checksum_calculation", "response_checksum_validation"):
        if f"AWS_{option.upper()}" not in os.environ:
            config[option] = "when_required"
    # No listings kept: another process may have written since.
    return fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True, config_kwargs=config)


def _codes(error: BaseException | None) -> set[str]:
    """The error codes of the server's answers behind an exception."""
    found: set[str] = set()
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            found.add(str(response.get("Error", {}).get("Code", "")))
        elif response is not None:
            found.add(str(getattr(response, "status_code", "")))
        error = error.__cause__ or error.__context__
    return found


def _refusal(error: Exception, address: str) -> XmodelError | None:
    """The message for what no waiting mends."""
    kind, codes = type(error).__name__, _codes(error)
    if "NoSuchBucket" in codes:
        return XmodelError(
            "there is no such bucket",
            found=error,
            where=address,
            remedy="create the bucket or correct the address; AWS_ENDPOINT_URL says which server is asked",
        )
    if kind in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return XmodelError(
            "the object store needs credentials",
            expected="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            found=error,
            where=address,
            remedy="set them in the environment; nothing of them is ever written down",
        )
    if kind == "OfflineModeIsEnabled":
        return XmodelError(
            "the Hub cannot be asked",
            found="HF_HUB_OFFLINE is set",
            where=address,
            remedy="unset HF_HUB_OFFLINE, or give the folder of a copy as the uri",
        )
    if kind in ("GatedRepoError", "RepositoryNotFoundError") or (address.startswith(HUB) and codes & {"401", "403"}):
        return XmodelError(
            "the Hub does not give this data set to you",
            found=f"{kind}: it is gated, private or does not exist",
            where=address,
            remedy="accept its terms on its page and set HF_TOKEN, or leave the source out",
        )
    if isinstance(error, PermissionError):
        return XmodelError(
            "the object store refuses access",
            expected="a key that is known there and may read, write and list this place",
            found=error,
            where=address,
            remedy="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what the key may do",
        )
    if isinstance(error, OSError) and error.errno in REFUSED:
        return XmodelError("the object store refuses the request", found=error, where=address)
    return None


@cache
def _passing() -> tuple[type[Exception], ...]:
    """Exceptions of a connection, a timeout, or a server that is down."""
    import aiohttp
    from botocore.exceptions import BotoCoreError

    return (OSError, asyncio.TimeoutError, http.client.HTTPException, aiohttp.ClientError, BotoCoreError)


def _may_pass(error: Exception) -> bool:
    # The Hub's client comes with one of several versions of httpx, and exports none of its exceptions.
    of_the_hub = any(kind.__module__.startswith("httpx") for kind in type(error).__mro__)
    return (of_the_hub or isinstance(error, _passing())) and not isinstance(error, ABSENCES)


def patiently(address: str, call: Callable[[], Result]) -> Result:
    """What `call` returns, tried again through an outage of up to PATIENCE_SECONDS.

    Absent files raise as they do on a disk. XmodelError: what no waiting mends; TransientError: a longer outage."""
    began, pause, told = time.monotonic(), FIRST_PAUSE_SECONDS, False
    while True:
        try:
            return call()
        except XmodelError:
            raise
        except Exception as error:
            if refusal := _refusal(error, address):
                raise refusal from None
            full = isinstance(error, OSError) and error.errno in DISK_IS_FULL
            if full or not _may_pass(error):
                raise
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise TransientError(
                    "the object store does not answer",
                    found=f"{type(error).__name__}: {error}",
                    where=address,
                    remedy="run again when it is back: finished shards are kept",
                ) from None
            if not told and time.monotonic() - began > 2 * FIRST_PAUSE_SECONDS:
                told = True
                _log.warning("%s does not answer (%s): waiting for it", address, type(error).__name__)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


@dataclass(frozen=True)
class RemoteFile:
    """One object as a listing tells of it."""

    address: str
    bytes: int
    version: str
    """What changes with the content: an ETag, or the Hub's id of the blob."""
    sha256: str | None
    """Where the Hub publishes it."""
    modified_seconds: float
    """Since 1970; 0 where it is not told."""


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


def look_at(address: str) -> RemoteFile | None:
    """The object at an address; None where there is none."""
    scheme = address.partition("://")[0] + "://"
    try:
        info = patiently(address, lambda: filesystem(address).info(address))
    except ABSENCES:
        return None
    return _remote_file(scheme, info) if info["type"] == "file" else None


def list_folder(address: str) -> tuple[list[str], list[RemoteFile]]:
    """(names of folders, files) directly below an address, sorted; both empty where nothing is."""
    scheme = address.partition("://")[0] + "://"
    try:
        found = patiently(address, lambda: filesystem(address).ls(address, detail=True))
    except ABSENCES:
        return [], []
    below = [info for info in found if scheme + info["name"].rstrip("/") != address.rstrip("/")]
    folders = sorted(info["name"].rstrip("/").rpartition("/")[2] for info in below if info["type"] == "directory")
    files = sorted(
        (_remote_file(scheme, info) for info in below if info["type"] == "file"), key=lambda file: file.address
    )
    return folders, files


def list_below(address: str) -> list[RemoteFile]:
    """Every file below an address, however deep, sorted."""
    scheme = address.partition("://")[0] + "://"
    try:
        found = patiently(address, lambda: filesystem(address).find(address, detail=True))
    except ABSENCES:
        return []
    files = (_remote_file(scheme, info) for info in found.values() if info["type"] == "file")
    return sorted((file for file in files if not file.address.endswith("/")), key=lambda file: file.address)


def list_glob(address: str) -> list[RemoteFile]:
    """The files that match an address with *, ? or [] in it, sorted."""
    scheme = address.partition("://")[0] + "://"
    found = patiently(address, lambda: filesystem(address).glob(address, detail=True))
    return sorted(
        (_remote_file(scheme, info) for info in found.values() if info["type"] == "file"),
        key=lambda file: file.address,
    )


def read_bytes(address: str) -> bytes | None:
    """A small object's bytes; None where there is none."""
    try:
        return patiently(address, lambda: filesystem(address).cat_file(address))
    except ABSENCES:
        return None


def read_range(address: str, start: int, end: int) -> bytes:
    """An object's bytes from `start` to `end` (excluded). XmodelError where it is not there or ends before."""
    try:
        data = patiently(address, lambda: filesystem(address).cat_file(address, start=start, end=end))
    except ABSENCES:
        data = b""
    if len(data) != end - start:
        raise XmodelError(
            "a file is not what it was when it was opened",
            expected=f"bytes {start:,} to {end:,}",
            found=f"{len(data):,} bytes" if data else "no such file",
            where=address,
            remedy="run again: what is missing or changed is told by name",
        )
    return data


def write_bytes(address: str, data: bytes) -> None:
    """Puts an object in place: its completed upload is the atomic step."""
    patiently(address, lambda: filesystem(address).pipe_file(address, data))


def upload(path: Path, address: str) -> None:
    """Puts a file's bytes at an address; until the upload is complete nothing is there."""
    patiently(address, lambda: filesystem(address).put_file(str(path), address))


def download(address: str, path: Path) -> None:
    """Fetches an object to a path. FileNotFoundError where there is none."""
    patiently(address, lambda: filesystem(address).get_file(address, str(path)))


def remove(addresses: Sequence[str]) -> None:
    """Removes objects; one that is not there is no error."""
    for address in addresses:
        with contextlib.suppress(*ABSENCES):
            patiently(address, lambda address=address: filesystem(address).rm_file(address))


class _PatientFile(io.RawIOBase):
    """A remote file for reading and seeking. Whatever the connection does, a read gives the file's bytes or raises
    an XmodelError: never an OSError, which a reader would take for damage to the file."""

    def __init__(self, address: str) -> None:
        self._address = address
        try:
            self._file = patiently(
                address, lambda: filesystem(address).open(address, "rb", block_size=READ_BLOCK_BYTES)
            )
        except ABSENCES as error:
            raise XmodelError("a file is no longer there", found=error, where=address, remedy="run again") from None

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
            data = patiently(self._address, read)
        except ABSENCES as error:
            raise XmodelError(
                "a file went away while it was read", found=error, where=self._address, remedy="run again"
            ) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def open_stream(address: str) -> BinaryIO:
    """A remote file's bytes, to be read from any place, fetched as they are asked for."""
    return cast(BinaryIO, io.BufferedReader(_PatientFile(address), 1 << 18))
