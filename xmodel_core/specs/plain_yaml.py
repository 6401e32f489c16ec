"""YAML as a person means it: text or a file in, plain values out, or one clear message.

Only what every reader of YAML agrees on is more than text: true and false, null, numbers. So `no` is Norwegian or a
name, 2024-01-01 and 12:30 are text, and a key is what is written. A file is refused when it is read, with its line,
where later code could not hold it: a key twice, text that UTF-8 cannot write, values nested without end or that aliases
multiply without end.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from xmodel_core.errors import XmodelError

LARGEST_FILE_BYTES = 8 << 20
MOST_VALUES = 300_000
"""Of one file, every alias counted as what it stands for."""
DEEPEST = 50
"""Values inside values."""


class _Loader(yaml.SafeLoader):
    """The safe loader with fewer kinds of values, and with text as keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Ends while the text is being read: its time grows with the square of the depth."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"values more than {DEEPEST} deep inside each other")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", ("~", "n", "N", "")),
    ("int", "[-+]?(?:0|[1-9][0-9_]*|0[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("float", r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    return {key.value: loader.construct_object(value, deep=True) for key, value in node.value}


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(value, deep=True) for value in node.value]


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG, _sequence)


class _Refusal(Exception):
    """Why a file is refused, and the line."""

    def __init__(self, why: str, node: yaml.Node) -> None:
        super().__init__(f"{why} on line {node.start_mark.line + 1}")


class _Check:
    """The checks of a file's nodes before any value is made of them."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def size(self, node: yaml.Node, depth: int = 0) -> int:
        """How many values a node is, aliases as what they stand for. _Refusal: it is none that later code can hold."""
        if depth > DEEPEST:  # by aliases
            raise _Refusal(f"values more than {DEEPEST} deep inside each other", node)
        if id(node) in self._open:
            raise _Refusal("a value that holds itself", node)
        if id(node) not in self._sizes:
            self._open.add(id(node))
            self._sizes[id(node)] = size = 1 + sum(self.size(inner, depth + 1) for inner in self._inside(node))
            self._open.remove(id(node))
            if size > MOST_VALUES:
                raise _Refusal(f"aliases that stand for more than {MOST_VALUES:,} values", node)
        return self._sizes[id(node)]

    def _inside(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _Refusal("a key that is no text", key)
                if key.value in keys:
                    raise _Refusal(f"the key {key.value!r} is repeated", key)
                keys.add(key.value)
                self._check_text(key)
            return [value for _, value in node.value]
        self._check_text(node)
        return []

    def _check_text(self, node: yaml.Node) -> None:
        text = str(node.value)
        if "\0" in text or not _is_text(text):
            raise _Refusal("a NUL or half of a surrogate pair", node)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_value(value: Any) -> None:
    """ValueError: a value that is none of text, number, true, false, null, list and mapping of these."""
    if isinstance(value, dict):
        for inner in value.values():
            _check_value(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_value(inner)
    elif value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"a {type(value).__name__}, which is neither text, number, true, false nor null")


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. ValueError, with what is wrong in it."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _Check().size(node)
        value = loader.construct_document(node)
        _check_value(value)
        return value
    except (yaml.YAMLError, _Refusal) as error:
        raise ValueError(str(error)) from None
    except (TypeError, OverflowError, AttributeError, LookupError) as error:  # of PyYAML's own constructors of !!tags
        raise ValueError(f"a value that does not fit its tag: {error}") from None


def real_path(path: Path) -> Path:
    """A path made absolute, its links followed; a link that leads to itself stays."""
    return Path(os.path.realpath(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. XmodelError: no such file, a folder, not YAML, not a mapping, a key twice."""
    try:
        if path.exists() and not path.is_file():
            raise XmodelError("this is not a file", expected="a YAML file", where=path, remedy="check the path")
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise XmodelError(
                "a file is too large to be a spec",
                expected=f"a YAML file of at most {LARGEST_FILE_BYTES >> 20} MiB",
                found=f"{size / 2**20:,.0f} MiB",
                where=path,
                remedy="check the path",
            )
        data = parse_yaml(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise XmodelError(
            f"there is no file {path.name}",
            expected="a YAML file",
            found=f"the folder holds {', '.join(near)}" if near else "an empty or missing folder",
            where=path,
            remedy="check the path",
        ) from None
    except OSError as error:
        raise XmodelError(
            "a file cannot be read", expected="a YAML file", found=error.strerror, where=path, remedy="check the path"
        ) from None
    except ValueError as error:
        raise XmodelError("a file is not YAML", found=error, where=path, remedy="correct the line it names") from None
    if not isinstance(data, dict):
        raise XmodelError(
            "a YAML file of the wrong form", expected="keys and values", found=type(data).__name__, where=path
        )
    return data
