"""Strict YAML: safe loading, typed models, and errors that a person can act on.

Takes a file or plain values; gives frozen pydantic models. Every error names the file, the dotted key, what was
expected, what was found and, for an unknown key, the nearest right one.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from xmodel_core.errors import XmodelError


class Strict(BaseModel):
    """Base of every recipe slice and spec: frozen, unknown keys refused, docstrings under the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


StrictModel = TypeVar("StrictModel", bound=Strict)


class _Loader(yaml.SafeLoader):
    """The safe loader, refusing a repeated key in a mapping."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for position, key in enumerate(keys):
        if key in keys[:position]:
            line = node.value[position][0].start_mark.line + 1
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} is repeated on line {line}")
    return dict(zip(keys, (loader.construct_object(value, deep=True) for _, value in node.value), strict=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. XmodelError: no such file, not YAML, not a mapping, a key twice."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise XmodelError(
            f"there is no file {path.name}",
            expected="a YAML file",
            found=f"the folder holds {', '.join(near)}" if near else "an empty or missing folder",
            where=path,
            remedy="check the path",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise XmodelError("a file is not YAML", found=error, where=path, remedy="correct the line it names") from None
    if not isinstance(data, dict):
        raise XmodelError(
            "a YAML file of the wrong form", expected="keys and values", found=type(data).__name__, where=path
        )
    return data


def nearest(word: str, words: list[str]) -> str | None:
    """The most similar of `words`; None if none is similar."""
    matches = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return matches[0] if matches else None


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model whose field a validation error's location ends in."""
    current: Any = model
    for step in location:
        if isinstance(step, str) and isinstance(current, type) and issubclass(current, BaseModel):
            if step not in current.model_fields:
                continue  # a key of a dict of models
            current = current.model_fields[step].annotation
        while not isinstance(current, type) or get_args(current):  # look inside list[X], dict[str, X], X | None
            inner = [a for a in get_args(current) if a not in (str, type(None))]
            if not inner:
                break
            current = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), inner[0])
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def validate(model: type[StrictModel], data: Mapping[str, Any], where: object) -> StrictModel:
    """A model of plain values. XmodelError: they do not fit it; `where` is the file or other origin that it names."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # Every member of a union reports an error; the one with the shortest path is about what the person wrote.
        first = min(problems, key=lambda problem: (problem["type"] != "extra_forbidden", len(problem["loc"])))
        key = ".".join(str(step) for step in first["loc"]) or "the whole file"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        if first["type"] == "extra_forbidden":
            owner = _model_at(model, first["loc"][:-1]) or model
            near = nearest(str(first["loc"][-1]), list(owner.model_fields))
            raise XmodelError(
                f"`{key}` is not a field{more}",
                expected=f"one of {', '.join(owner.model_fields)}",
                where=where,
                remedy=f"did you mean `{near}`?" if near else "remove it",
            ) from None
        message = str(first["msg"]).removeprefix("Value error, ")
        value = first["input"] if not isinstance(first["input"], dict | list) else None
        raise XmodelError(
            f"`{key}`: {message[0].lower()}{message[1:]}{more}", found=value, where=where, remedy="correct this key"
        ) from None
