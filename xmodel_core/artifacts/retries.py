"""Calls to object stores and hubs, repeated through an outage; every refusal one clear message.

Takes a call and the address that it is about; gives its result. An outage is retried with growing, random pauses; what
no retry can help (no bucket, a wrong key, a missing permission) fails at once. Messages never repeat credentials.
"""

import asyncio
import errno
import http.client
import logging
import random
import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from xmodel_core.artifacts.disk import DISK_IS_FULL
from xmodel_core.errors import TransientError, XmodelError

RETRY_FOR_SECONDS = 120.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
HUB = "hf://"
# Raised as they are: whether a file's absence is an error is for the caller to say.
ABSENCES = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
REFUSED = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENAMETOOLONG, errno.EMSGSIZE, errno.EREMCHG}

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


def response_codes(error: BaseException | None) -> set[str]:
    """The error codes of the server's responses in an exception's chain."""
    codes: set[str] = set()
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            codes.add(str(response.get("Error", {}).get("Code", "")))
        elif response is not None:
            codes.add(str(getattr(response, "status_code", "")))
        error = error.__cause__ or error.__context__
    return codes


def _refusal(error: Exception, address: str) -> XmodelError | None:
    """The error for a failure that no retry can help; None for others."""
    kind, codes = type(error).__name__, response_codes(error)
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
            remedy="set them in the environment; they are never written to files or logs",
        )
    if kind == "OfflineModeIsEnabled":
        return XmodelError(
            "the Hub cannot be reached",
            found="HF_HUB_OFFLINE is set",
            where=address,
            remedy="unset HF_HUB_OFFLINE, or give the folder of a copy as the uri",
        )
    if kind in ("GatedRepoError", "RepositoryNotFoundError") or (address.startswith(HUB) and codes & {"401", "403"}):
        return XmodelError(
            "the Hub refuses access to this data set",
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
def _connection_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a connection, a timeout, or a server that is down."""
    import aiohttp
    from botocore.exceptions import BotoCoreError

    return (OSError, asyncio.TimeoutError, http.client.HTTPException, aiohttp.ClientError, BotoCoreError)


def _is_transient(error: Exception) -> bool:
    # The Hub's client uses one of several versions of httpx, and re-exports none of its exceptions.
    from_the_hub = any(kind.__module__.startswith("httpx") for kind in type(error).__mro__)
    return (from_the_hub or isinstance(error, _connection_errors())) and not isinstance(error, ABSENCES)


def with_retries(address: str, call: Callable[[], Result]) -> Result:
    """The result of `call`, retried through an outage of up to RETRY_FOR_SECONDS.

    Missing files raise as they do on a disk. XmodelError: no retry can help. TransientError: a longer outage.
    """
    began, pause, warned = time.monotonic(), FIRST_PAUSE_SECONDS, False
    while True:
        try:
            return call()
        except XmodelError:
            raise
        except Exception as error:
            if refusal := _refusal(error, address):
                raise refusal from None
            full = isinstance(error, OSError) and error.errno in DISK_IS_FULL
            if full or not _is_transient(error):
                raise
            if time.monotonic() - began > RETRY_FOR_SECONDS:
                raise TransientError(
                    "the object store does not answer",
                    found=f"{type(error).__name__}: {error}",
                    where=address,
                    remedy="run again when it is back: finished shards are kept",
                ) from None
            if not warned and time.monotonic() - began > 2 * FIRST_PAUSE_SECONDS:
                warned = True
                _log.warning("%s does not answer (%s): waiting for it", address, type(error).__name__)
        # At a moment of its own: hundreds of workers that met the outage together would return together.
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
