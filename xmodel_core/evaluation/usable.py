"""Which items of a task can be asked, found for all of them before the first question.

Takes the items of a split and the harness's task; gives those that can be asked, and why each other cannot: a label
that names no choice (hidden ones are -1, null or empty), no choices, a missing field. The harness would score such an
item as wrong, or stop at it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import datasets
from lm_eval.api.task import ConfigurableTask

Item = dict[str, Any]
Process = Callable[[datasets.Dataset], datasets.Dataset]
"""The code of a task that prepares its items."""
Made = Item | Exception | None
"""What a task's own code makes of an item; None: it leaves the item out."""
MOST_FAILURES = 20
"""After so many items that are found by halves to be unreadable, those that follow are taken to be."""


def with_all_fields(items: Sequence[Item]) -> list[Item]:
    """The items with one set of fields: the harness's table takes its columns from the first."""
    names = list(dict.fromkeys(name for item in items for name in item))
    return [{name: item.get(name) for name in names} for item in items]


class _Calls:
    """Stands for a dataset whose items a task's code goes through one by one; keeps the error of each item."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.made: list[Made] = [dict(item) for item in items]

    def map(self, function: Callable[[Item], Item | None]) -> "_Calls":
        return self._each(lambda item: {**item, **(function(dict(item)) or {})})

    def filter(self, function: Callable[[Item], bool]) -> "_Calls":
        return self._each(lambda item: item if function(item) else None)

    def _each(self, change: Callable[[Item], Item | None]) -> "_Calls":
        for place, item in enumerate(self.made):
            if isinstance(item, dict):
                try:
                    self.made[place] = change(item)
                except Exception as error:  # the code of a task, which may raise whatever it likes
                    self.made[place] = error
        return self


def processed(process: Process | None, items: Sequence[Item]) -> list[Made]:
    """For each item what the task's own code makes of it, or the error that it raises; None where this code leaves the
    item out on purpose."""
    if process is None:
        return list(items)
    if (made := _made(process, items)) is not None:
        return made
    calls = _Calls(items)
    with suppress(Exception):  # code that needs more of a dataset: each item is found by halves
        if process(calls) is calls:  # pyright: ignore[reportArgumentType]
            return calls.made
    return _by_halves(process, items, [])


def _made(process: Process, items: Sequence[Item]) -> list[Made] | None:
    """None where the code raises an error, or gives another number of items."""
    try:
        made: list[Any] = list(process(datasets.Dataset.from_list(with_all_fields(items))))
    except Exception:  # the code of a task, which may raise whatever it likes
        return None
    return made if len(made) == len(items) else None


def _by_halves(process: Process, items: Sequence[Item], failures: list[Exception]) -> list[Made]:
    if len(failures) >= MOST_FAILURES:
        return [failures[0]] * len(items)
    if (made := _made(process, items)) is not None:
        return made
    if len(items) > 1:
        middle = len(items) // 2
        return _by_halves(process, items[:middle], failures) + _by_halves(process, items[middle:], failures)
    try:
        process(datasets.Dataset.from_list(list(items)))
    except Exception as error:  # as above
        failures.append(error)
        return [error]
    return [None]


def reason(error: Exception) -> str:
    """What an error says about an item; ValueErrors say it in words."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def why_not(task: ConfigurableTask, item: Item | Exception) -> str | None:
    """Why an item, as the task's own code leaves it, cannot be asked; None: it can."""
    if isinstance(item, Exception):
        return reason(item)
    try:
        if task.OUTPUT_TYPE == "multiple_choice":
            return _why_no_choice(task, item)
        target = task.doc_to_target(item)
        if task.OUTPUT_TYPE != "loglikelihood_rolling" and not isinstance(task.doc_to_text(item), str):
            return "its prompt is no text"
    except Exception as error:  # templates and code of a task, over whatever values an item has
        return reason(error)
    targets = target if isinstance(target, list) else [target]
    if not targets or not all(str(one).strip() for one in targets if one is not None) or None in targets:
        return f"it has no answer: {target!r}"
    return None


def _why_no_choice(task: ConfigurableTask, item: Item) -> str | None:
    choices = task.doc_to_choice(item)
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        return f"its choices are no list of texts: {str(choices)[:60]}"
    if len(choices) < 2:
        return f"it has {len(choices)} choices"
    if not all(choices):
        return "a choice is empty"
    # Where the choices are in the prompt, the label is what the task calls its text.
    label = task.doc_to_text(item) if task.multiple_input else task.doc_to_target(item)
    text = task.doc_to_target(item) if task.multiple_input else task.doc_to_text(item)
    if not isinstance(text, str):
        return "its prompt is no text"
    for one in label if isinstance(label, list) and label else [label]:
        is_index = isinstance(one, int) and not isinstance(one, bool) and 0 <= one < len(choices)
        if not is_index and not (isinstance(one, str) and one in choices):
            return f"its label names none of {len(choices)} choices: {str(one)[:60]!r}"
    return None
