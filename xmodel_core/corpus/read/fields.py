"""A record's values as a document needs them: its text, a nested field, the rest as JSON.

Takes values as JSON or Parquet give them. Text is a string; bytes in an encoding that is recognised; a list of strings
or of a message's parts (`{"type": "text", "text": …}`), joined by line breaks, parts of other types left out. A field
is the key itself, or a path (`doc.body`) where there is no such key; on its way a list stands for all of its items.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from xmodel_core.corpus.read.encoding import Undecodable, decode

PART_TEXT, PART_TYPE = "text", "type"
_NOTHING: Any = object()


class NotText(Exception):
    """Why a value is no text, and what it is instead."""


class MendedText(str):
    """A string whose bytes were not UTF-8, with U+FFFD in their place: good enough for metadata, not for a text."""


def text_of(value: Any, name: str) -> str:
    """The text of a field. NotText: it has none."""
    if isinstance(value, MendedText):
        raise NotText("invalid UTF-8")
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return decode(value)
        except Undecodable as error:
            raise NotText(str(error)) from None
    if isinstance(value, list):
        return "\n".join(part for item in value if (part := _part(item, name)) is not None)
    held = f" of {_some(value)}" if isinstance(value, dict) and value else ""
    raise NotText(f"{name!r} is {type(value).__name__}{held}, not text")


def _part(item: Any, name: str) -> str | None:
    """The text of an item of a list; None: it has none, an image for example."""
    if item is None:
        return None
    if isinstance(item, dict):
        text = item.get(PART_TEXT)
        if text is None and item.get(PART_TYPE) is not None:
            return None
        if not isinstance(text, str):
            raise NotText(f"{name!r} is a list of dict{' of ' * bool(item)}{_some(item)}, not text")
        item = text
    if isinstance(item, str | bytes):
        return text_of(item, name)
    raise NotText(f"{name!r} is a list of {type(item).__name__}, not text")


def _some(fields: Mapping[str, Any]) -> str:
    return ", ".join(sorted(map(str, fields))[:6])


def hoisted(record: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """The record with the value at a dotted path under the path as a key of its own, taken out of where it was; None:
    there is nothing at the path."""
    first, *rest = path.split(".")
    if first not in record:
        return None
    value, left = _taken(record[first], rest)
    if value is _NOTHING:
        return None
    others = {key: held for key, held in record.items() if key != first}
    return {**others, **({} if left is _NOTHING else {first: left}), path: value}


def _taken(value: Any, path: Sequence[str]) -> tuple[Any, Any]:
    """(what is at a path, what is left without it); `_NOTHING` where there is none."""
    if not path:
        return value, _NOTHING
    if isinstance(value, list):
        pairs = [_taken(item, path) for item in value]
        values = [taken for taken, _ in pairs if taken is not _NOTHING]
        flat = [each for taken in values for each in (taken if isinstance(taken, list) else [taken])]
        left = [rest for _, rest in pairs if rest is not _NOTHING]
        return (flat if values else _NOTHING), (left or _NOTHING)
    if isinstance(value, dict):
        for count in range(len(path), 0, -1):  # a key with dots in it wins here, too
            key = ".".join(path[:count])
            if key in value:
                taken, left = _taken(value[key], path[count:])
                others = {name: held for name, held in value.items() if name != key}
                return taken, ({**others, **({} if left is _NOTHING else {key: left})} or _NOTHING)
    return _NOTHING, value


def as_json(fields: Mapping[str, Any], left_out: Counter[str]) -> str | None:
    """Fields as a JSON object, None without any. What JSON has no form for is its string (NaN, a date); what cannot be
    written at all is left out and counted."""
    if not fields:
        return None
    try:
        return _dumped(fields)
    except (ValueError, TypeError, RecursionError):
        pass
    plain = {}
    for name, value in fields.items():
        try:
            plain[name] = _finite(value)
            _dumped(plain[name])
        except (ValueError, TypeError, RecursionError):
            plain.pop(name, None)
            left_out[name] += 1
    return _dumped(plain) if plain else None


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    """The value with strings for the numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
