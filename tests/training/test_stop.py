"""A signal while the thread of a training starts: either the work never begins, or it is asked to stop and awaited."""

import threading
from pathlib import Path

import pytest

from xmodel_core.artifacts import LocalFolder
from xmodel_core.training.stop import STOP, run_stoppable


class Signal(BaseException):
    pass


@pytest.mark.parametrize("begins", [False, True])
def test_a_signal_while_the_thread_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: bool) -> None:
    start, begun, ended = threading.Thread.start, threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        while not (tmp_path / STOP).exists():
            ended.wait(0.01)
        ended.set()

    def start_with_a_signal(thread: threading.Thread) -> None:
        if begins:
            start(thread)
            begun.wait()
        raise Signal

    monkeypatch.setattr(threading.Thread, "start", start_with_a_signal)
    assert isinstance(run_stoppable(work, LocalFolder(tmp_path)), Signal)
    assert begun.is_set() == ended.is_set() == begins
    assert not (tmp_path / STOP).exists()
