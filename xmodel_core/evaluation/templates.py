"""The templates of a suite's own format, in Jinja's sandbox: a question's fields in, its prompt, choices and label out.

A suite may come from anywhere: its templates can read the fields of a question and nothing else. What cannot be
rendered names the template's field, so that an item is set aside with its reason, and a wrong template is refused.
"""

import ast
import re
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from xmodel_core.errors import XmodelError
from xmodel_core.specs.benchmarks import Task


def printed(value: Any) -> Any:
    """A value that a template writes out. TemplateError: null, which would become the word None in a prompt."""
    if value is None:
        raise jinja2.TemplateRuntimeError("a field is null")
    return value


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=printed
    )
    # As the harness has it.
    environment.filters["regex_replace"] = lambda text, pattern, new, count=0: re.sub(pattern, new, text, count=count)
    return environment


class OwnPrompt:
    """The three templates of a task of our own format, compiled. XmodelError, naming suite, task and field: one that is
    no template. The methods raise ValueError, naming the field, for an item that does not fit."""

    def __init__(self, task: Task, suite: str) -> None:
        environment = _environment()
        self._templates: dict[str, jinja2.Template] = {}
        for field in ("context", "choices", "label"):
            try:
                self._templates[field] = environment.from_string(getattr(task, field))
            except (jinja2.TemplateError, RecursionError) as error:
                raise XmodelError(
                    f"`{field}` of the task {task.task} is not a template",
                    expected="a Jinja template over a question's fields",
                    found=error,
                    where=f"the suite {suite}",
                    remedy="correct it in the suite",
                ) from None

    def __deepcopy__(self, _memo: dict[int, Any]) -> "OwnPrompt":
        return self  # the harness copies a task's settings; compiled templates cannot be, and never change

    def _rendered(self, field: str, item: dict[str, Any]) -> str:
        try:
            return self._templates[field].render(item)
        except Exception as error:  # whatever an expression over an item's values may raise
            raise ValueError(f"`{field}`: {type(error).__name__}: {error}") from None

    def context(self, item: dict[str, Any]) -> str:
        """The text before the answer."""
        return self._rendered("context", item)

    def choices(self, item: dict[str, Any]) -> list[str]:
        """The choices; numbers as they are written."""
        text = self._rendered("choices", item)
        try:
            values = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise ValueError(f"`choices` gives no list: {text[:60]!r}") from None
        if not isinstance(values, list | tuple) or not all(isinstance(value, str | int | float) for value in values):
            raise ValueError(f"`choices` gives no list of texts: {text[:60]!r}")
        return [str(value) for value in values]

    def label(self, item: dict[str, Any]) -> int:
        """The index of the right choice; a label may also be the text of a choice."""
        text, choices = self._rendered("label", item).strip(), self.choices(item)
        if re.fullmatch("[0-9]{1,9}", text) and int(text) < len(choices):
            return int(text)
        if text in choices and not re.fullmatch("[0-9]+", text):
            return choices.index(text)
        raise ValueError(f"`label` names no choice: {text[:60]!r} of {len(choices)}")
