"""JSON that carries the digest of its own bytes, so that no flipped digit is believed.

Takes a plain dict; gives bytes that open with the member `sealed` and close with `seal`, the sha256 of everything
before it. Any JSON reader reads them. What has neither member was written before there were seals (0.1.0): no single
damage takes away both.
"""

import hashlib
import json
import re
from typing import Any

OPENING, SEALED, SEAL = b'{"sealed": 1,', "sealed", "seal"
_CLOSING = re.compile(rb', "seal": "([0-9a-f]{64})"\}\Z')
_CLOSING_BYTES = len(', "seal": "') + 64 + len('"}')


def seal_json(values: dict[str, Any], indent: int | None = None) -> bytes:
    """A dict as sealed JSON, keys sorted."""
    assert values and not {SEALED, SEAL} & values.keys()
    members = json.dumps(values, ensure_ascii=False, sort_keys=True, indent=indent)[1:-1].rstrip()
    body = OPENING + (members if indent is not None else f" {members}").encode()
    return body + f', "seal": "{hashlib.sha256(body).hexdigest()}"}}'.encode()


def is_sealed(data: bytes) -> bool:
    """Whether these bytes say that they are sealed; whether the seal holds is for `open_json` to say."""
    return data.startswith(OPENING) or _CLOSING.search(data[-_CLOSING_BYTES:]) is not None


def open_json(data: bytes) -> dict[str, Any]:
    """The values of sealed JSON, or of JSON that was never sealed. ValueError: the seal does not hold, or no JSON."""
    if is_sealed(data):
        closing = _CLOSING.search(data[-_CLOSING_BYTES:])
        if closing is None:
            raise ValueError("its seal is cut off or damaged")
        sha256 = hashlib.sha256(data[:-_CLOSING_BYTES]).hexdigest()
        if closing[1].decode() != sha256:
            raise ValueError(f"its bytes have the sha256 {sha256[:12]}…, its seal says {closing[1].decode()[:12]}…")
    values = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError(f"{type(values).__name__} instead of an object")
    return {name: value for name, value in values.items() if name not in (SEALED, SEAL)}
