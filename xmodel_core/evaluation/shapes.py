"""Which items of a benchmark's file have fields unlike the others: a string where most have a list, a huge number.

Takes the items of one file; gives the places of those that do not fit, and why. A table of the items needs one type per
field, and a prompt that fits one type says nonsense about another.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 20
Shape = tuple[Any, ...]
"""("text",) and the like; ("list", shape of its elements); ("object", (name, shape), …). ("null",) fits each."""

NULL: Shape = ("null",)


class Unfit(ValueError):
    """Values that no field can hold together; the text says which."""


def _shape(value: Any, depth: int = 0) -> Shape:
    if depth > MAX_DEPTH:
        raise Unfit("is nested too deeply")
    if value is None:
        return NULL
    if isinstance(value, bool):
        return ("true or false",)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise Unfit("is a number of more than 64 bits")
        return ("whole number",)
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Unfit("holds half a character (a lone surrogate)") from None
        return ("text",)
    if isinstance(value, float):
        return ("number",)
    if isinstance(value, list):
        elements = NULL
        for element in value:
            elements = _merged(elements, _shape(element, depth + 1))
        return ("list", elements)
    for name in value:
        _shape(name)
    return ("object", *sorted((name, _shape(inner, depth + 1)) for name, inner in value.items()))


def _merged(one: Shape, other: Shape) -> Shape:
    """The shape that both fit. Unfit: there is none."""
    if one == other or other == NULL:
        return one
    if one == NULL:
        return other
    if one[0] != other[0] or one[0] not in ("list", "object"):
        raise Unfit(f"is {_named(other)}, where most are {_named(one)}")
    if one[0] == "list":
        return ("list", _merged(one[1], other[1]))
    fields = dict(one[1:])
    for name, shape in other[1:]:
        fields[name] = _merged(fields.get(name, NULL), shape)
    return ("object", *sorted(fields.items()))


def _named(shape: Shape) -> str:
    return f"a list of {shape[1][0]}" if shape[0] == "list" else shape[0]


def unlike_the_others(items: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Place of each item whose fields do not fit with those of most → why, naming the field."""
    bad: dict[int, str] = {}
    shapes: dict[str, dict[int, Shape]] = {}
    for place, item in enumerate(items):
        for name, value in item.items():
            try:
                _shape(name)
                shapes.setdefault(name, {})[place] = _shape(value)
            except Unfit as error:
                bad[place] = f"`{name.encode(errors='replace').decode()}` {error}"
    for name, by_place in shapes.items():
        fits, reasons = NULL, {}
        for shape, _ in Counter(by_place.values()).most_common():
            try:
                fits = _merged(fits, shape)
            except Unfit as error:
                reasons[shape] = f"`{name}` {error}"
        bad.update({place: reasons[shape] for place, shape in by_place.items() if shape in reasons})
    return bad
