"""The command, which gets signals at chosen moments of its work: `python -m tests.river.signalled MOMENTS WORD…`.

MOMENTS, JSON: a list of [signal, place, number], in their order. A place is `module:name` of what is called, with the
signal at call `number` of it after the signal before; or `step`, with the signal before training step `number`. The
signal is this process's own, so it comes exactly there, in whatever thread; SIGINT goes to its whole group, as Ctrl-C
in a terminal does. Prints `signalled at step N` for each.
"""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from flows.cli import main

STEP = "xmodel_core.training.loop:learning_rate"


class Moments:
    """What is still to be sent."""

    def __init__(self, moments: list[tuple[str, str, int]]) -> None:
        self._left = moments
        self._calls = 0  # of the place of the next signal, since the one before
        self._step = 0
        for place in {STEP, *(place for _, place, _ in moments if place != "step")}:
            module, _, path = place.partition(":")
            owner: Any = import_module(module)
            *parents, name = path.split(".")
            for parent in parents:
                owner = getattr(owner, parent)
            setattr(owner, name, self._counted(place, getattr(owner, name)))

    def _counted(self, place: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(*args: Any, **named: Any) -> Any:
            if place == STEP:
                self._step = args[1]
                self._reached("step", self._step)
            elif self._left and self._left[0][1] == place:
                self._calls += 1
                self._reached(place, self._calls)
            return real(*args, **named)

        return call

    def _reached(self, place: str, number: int) -> None:
        if self._left and self._left[0][1:] == [place, number]:
            name, self._calls = self._left.pop(0)[0], 0
            print(f"signalled at step {self._step}", flush=True)
            if name == "SIGINT":
                os.killpg(0, signal.SIGINT)
            else:
                os.kill(os.getpid(), getattr(signal, name))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes are started without it
    Moments(json.loads(sys.argv[1]))
    main(sys.argv[2:], prog_name="xmodel")
