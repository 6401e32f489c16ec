"""Which fields of some records hold the text, the id and the turns of a conversation.

Takes the first records of a source; gives the names that its spec needs, dotted where a field is inside another. A
field is judged by what a scan would read from it (corpus/read/fields.py), so what is proposed here can be read there.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xmodel_core.corpus.read.fields import NotText, hoisted, text_of
from xmodel_core.corpus.read.instructions import PROMPT_FIELDS, SPEAKER_FIELDS
from xmodel_core.corpus.read.instructions import TEXT_FIELDS as TURN_FIELDS

TEXT_FIELDS = ("text", "content")
ID_FIELDS = ("id", "_id", "doc_id", "document_id", "uuid", "guid", "hash", "sha1", "sha256", "url", "path")
ANSWER_FIELDS = ("output", "response", "completion", "answer", "solution")
TURNS_FIELDS = ("conversations", "messages")
MAX_DEPTH = 4
"""Of fields inside fields."""
ROWS_FOR_FORM = 50

Row = Mapping[str, Any]


def text_field(rows: Sequence[Row]) -> str | None:
    """`text` or `content` where most records have text there, else the field with the longest text that is no id."""
    lengths: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    prose: set[str] = set()
    for row in rows:
        for path, text in _texts(row):
            lengths[path] += len(text)
            seen[path] += 1
            if path not in prose and not (text.isascii() and len(text.split()) == 1):
                prose.add(path)
    often = [path for path in lengths if seen[path] * 2 >= len(rows)]
    if named := next((name for name in TEXT_FIELDS if name in often), None):
        return named
    candidates = [path for path in often if path in prose and not _is_id_name(path)]
    inside = [path for path in candidates if path.rpartition(".")[2] in TEXT_FIELDS]
    return max(inside or candidates, key=lambda path: lengths[path], default=None)


def _texts(row: Row, above: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    """(path, text) of the fields that hold text."""
    for key, value in row.items():
        path = above + key
        if isinstance(value, dict):
            if depth < MAX_DEPTH:
                yield from _texts(value, f"{path}.", depth + 1)
            continue
        try:
            if isinstance(value, bytes):
                value.decode("utf-8")  # not an image that may pass for text in some encoding
            text = text_of(value, path)
        except (NotText, UnicodeDecodeError):
            items = value if isinstance(value, list) else []
            names = {name: None for item in items if isinstance(item, dict) for name in item}
            if depth < MAX_DEPTH:
                nested = {name: [item.get(name) for item in items if isinstance(item, dict)] for name in names}
                yield from _texts(nested, f"{path}.", depth + 1)
        else:
            if text and not text.isspace():
                yield path, text


def _is_id_name(path: str) -> bool:
    name = path.rpartition(".")[2].lower()
    return name in ID_FIELDS or name.endswith("_id")


def value_at(row: Row, path: str) -> Any:
    """The value of a field or path; None where there is none."""
    return row[path] if path in row else (hoisted(row, path) or {}).get(path)


def id_field(rows: Sequence[Row]) -> str | None:
    """A field named like an id that every record has and that never repeats among the records looked at."""
    nested = [f"{key}.{name}" for key, value in rows[0].items() if isinstance(value, dict) for name in value]
    named = [path for path in (*rows[0], *nested) if _is_id_name(path)]
    for path in sorted(named, key=lambda path: ID_FIELDS.index(path) if path in ID_FIELDS else len(ID_FIELDS)):
        values = [value_at(row, path) for row in rows]
        usable = all(isinstance(value, str | int) and not isinstance(value, bool) and str(value) for value in values)
        if usable and len(set(values)) == len(rows):
            return path
    return None


def instruction_form(rows: Sequence[Row]) -> tuple[str, str] | None:
    """(alpaca or sharegpt, the field with the answer or the turns), or None: records with a text of their own."""
    first = rows[:ROWS_FOR_FORM]
    if any(name in TEXT_FIELDS for row in first for name, _ in _texts({k: row[k] for k in TEXT_FIELDS if k in row})):
        return None
    held = {key: value for row in reversed(first) for key, value in row.items() if value}
    nested = {
        f"{key}.{name}": each for key, value in held.items() if isinstance(value, dict) for name, each in value.items()
    }
    for field in TURNS_FIELDS:
        if isinstance(held.get(field), list):
            return "sharegpt", field
    for field, value in {**held, **nested}.items():
        if _are_turns(value):
            return "sharegpt", field
    answer = next((field for field in ANSWER_FIELDS if field in held), None)
    return ("alpaca", answer) if answer and held.keys() & set(PROMPT_FIELDS) else None


def _are_turns(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return (
        isinstance(first, dict) and bool(first.keys() & set(SPEAKER_FIELDS)) and bool(first.keys() & set(TURN_FIELDS))
    )


def described(row: Row) -> str:
    """What the fields of a record are, in a line: `text is a list of int; n is int`."""
    return "; ".join(f"{key} is {_kind(value)}" for key, value in list(row.items())[:8])


def _kind(value: Any) -> str:
    if isinstance(value, list) and value:
        return f"a list of {_kind(value[0])}"
    if isinstance(value, dict):
        return f"an object of {', '.join(list(value)[:6])}" if value else "an empty object"
    return "null" if value is None else "an id" if isinstance(value, str) else type(value).__name__


def why_not_text(rows: Sequence[Row], chosen: str) -> str:
    """Why a field that is named as the text is not it; empty where there is no such field."""
    for name in TEXT_FIELDS:
        value = next((row[name] for row in rows if row.get(name) is not None), None)
        if value is not None and name != chosen:
            return f"{name} is {_kind(value)}" if not isinstance(value, str) else ""
    return ""
