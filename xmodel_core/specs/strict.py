"""Typed models of plain values, and errors that a person can act on.

Takes what `plain_yaml` reads; gives frozen pydantic models. Every error names the file, the dotted key, what was
expected, what was found and, for an unknown key, the nearest right one.
"""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from xmodel_core.errors import XmodelError


class Strict(BaseModel):
    """Base of every recipe slice and spec: frozen, unknown keys refused, docstrings under the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _numbers_fit(self) -> "Strict":
        for name, value in self.__dict__.items():
            if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
                raise ValueError(f"{name} is a number beyond 64 bits")
        return self


StrictModel = TypeVar("StrictModel", bound=Strict)


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
        key = ".".join(str(step) for step in first["loc"])
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
        unquoted = first["type"] == "string_type" and isinstance(value, int | float)
        raise XmodelError(
            (f"`{key}`: {message[0].lower()}{message[1:]}" if key else message) + more,
            found=str(value)[:200] if value is not None else None,
            where=where,
            remedy=f'write it as text: "{value}"' if unquoted else "correct this key" if key else "correct one of them",
        ) from None
