"""Digests by content: of plain values, and of files.

A value without a stable form (a path, a set, NaN) is refused rather than turned into a string:
a fingerprint that silently depended on the machine would break the second promise.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, BinaryIO, cast


def _stable(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        assert math.isfinite(value), f"{value} has no stable form in JSON"
        return value
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value), f"keys must be strings: {list(value)}"
        return {key: _stable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_stable(item) for item in value]
    raise AssertionError(f"{type(value).__name__} has no stable form: {value!r}")


def canonical_json(value: object) -> str:
    """The one JSON text of a plain value: keys sorted, no spaces, UTF-8 kept."""
    return json.dumps(_stable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: object) -> str:
    """SHA-256, 64 hex digits, of a value made of dicts, lists, strings, numbers, booleans and None."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256, 64 hex digits, of a file's bytes."""
    with path.open("rb") as stream:
        return stream_digest(stream)


def stream_digest(stream: BinaryIO) -> str:
    """SHA-256, 64 hex digits, of the rest of a stream."""
    return hashlib.file_digest(cast(Any, stream), "sha256").hexdigest()
