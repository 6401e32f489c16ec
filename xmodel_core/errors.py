"""Failures that a person can act on: one message, no traceback.

An error keeps its parts as fields (`what`, `expected`, `found`, `where`, `remedy`) and `str(error)` is the message
made of them. Callers that need a part read the field; nobody parses the text. Class and fields survive pickling,
so an error that a worker process or Ray sends back is the error that was raised.

`XmodelError` is for people; `assert` is for ourselves. Callers that distinguish kinds catch a subclass:

    XmodelError
    ├── TransientError          another try may succeed: only this is retried
    ├── MissingInput            an input named by a recipe or spec is not on this machine
    ├── artifacts.lease.LeaseLost  a run's folder is another process's now
    └── training.step.Diverged  a loss or a gradient that is not finite
"""

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any


class XmodelError(Exception):
    """A failure that a person can act on."""

    what: str
    """What is wrong: the first line of the message."""
    expected: object
    """What should have been there, or None."""
    found: object
    """What was there instead, or None."""
    where: object
    """File, key, place or step, or None."""
    remedy: str | None
    """What to do about it."""

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        found: object = None,
        where: object = None,
        remedy: str | None = None,
    ) -> None:
        parts = [("expected", expected), ("found", found), ("where", where), ("what to do", remedy)]
        super().__init__("\n".join([what, *(f"  {label}: {value}" for label, value in parts if value is not None)]))
        self.what, self.expected, self.found, self.where, self.remedy = what, expected, found, where, remedy

    def __reduce__(self) -> tuple[Callable[..., "XmodelError"], tuple[str]]:
        parts = {name: _portable(getattr(self, name)) for name in ("expected", "found", "where")}
        return partial(type(self), **parts, remedy=self.remedy), (self.what,)


def _portable(value: Any) -> Any:
    """The value itself where it can be pickled, else its text. Always the text of an exception: other libraries'
    often pickle well and then fail to load."""
    if isinstance(value, BaseException):
        return str(value)
    try:
        pickle.dumps(value)
    except Exception:  # pickle has no one class for what it cannot do
        return str(value)
    return value


class TransientError(XmodelError):
    """A failure that another try may get past: a worker that died, a service that did not answer."""


class MissingInput(XmodelError):
    """An input that a recipe or spec names is not on this machine."""
