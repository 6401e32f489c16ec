"""Errors: one message in a fixed order; class and fields survive pickling. For workers: cluster/test_cluster.py."""

import pickle
import threading
from pathlib import Path

import cloudpickle
import pytest

from xmodel_core.artifacts import LocalFolder
from xmodel_core.errors import MissingInput, TransientError, XmodelError

FIELDS = ("what", "expected", "found", "where", "remedy")


class OfARoom(XmodelError):
    """A kind that a room declares for itself."""


def fields(error: XmodelError) -> tuple[object, ...]:
    return tuple(getattr(error, name) for name in FIELDS)


def test_the_message_is_its_parts_in_a_fixed_order() -> None:
    error = XmodelError("a shard is damaged", remedy="delete it", where=Path("a/b"), found=3, expected=["x", 1])
    assert str(error).splitlines() == [
        "a shard is damaged",
        "  expected: ['x', 1]",
        "  found: 3",
        "  where: a/b",
        "  what to do: delete it",
    ]
    assert fields(error) == ("a shard is damaged", ["x", 1], 3, Path("a/b"), "delete it")
    assert str(XmodelError("alone")) == "alone" and fields(XmodelError("alone"))[1:] == (None,) * 4


@pytest.mark.parametrize("kind", [XmodelError, TransientError, MissingInput, OfARoom])
@pytest.mark.parametrize("module", [pickle, cloudpickle])
def test_class_fields_and_message_survive_pickling(kind: type[XmodelError], module) -> None:
    error = kind("a\nb", expected={"rows": (1, 2.5)}, found=0, where=LocalFolder(Path("w")), remedy="run again")
    for _ in range(2):  # an error may pass through several processes
        copy = module.loads(module.dumps(error))
        assert type(copy) is kind and fields(copy) == fields(error) and str(copy) == str(error)
        error = copy


class OfAnotherLibrary(Exception):
    """Pickles, and cannot be loaded again."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


@pytest.mark.parametrize("module", [pickle, cloudpickle])
def test_values_that_cannot_be_pickled_become_text(module) -> None:
    lock = threading.Lock()
    error = XmodelError("it failed", found=OfAnotherLibrary(5, "no answer"), where=lock, expected=[lock])
    copy = module.loads(module.dumps(error))
    assert fields(copy) == ("it failed", str([lock]), "no answer", str(lock), None)
    assert str(copy) == str(error)
