"""Watches a run from outside, by its files alone: a progress bar, and a call for each new checkpoint.

Takes a run's folder; works the same whether the training runs in this process or on another machine.
"""

import contextvars
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xmodel_core.artifacts import Folder
from xmodel_core.progress import track
from xmodel_core.training.checkpoint.names import complete_checkpoints, step_of
from xmodel_core.training.recorder import PROGRESS

POLL_EVERY_SECONDS = 0.5

OnCheckpoint = Callable[[str, int], None]
"""(the run's label, the step of a new complete checkpoint); no path, which an object store would have to bring here"""


@contextmanager
def watch(
    folder: Folder,
    label: str,
    total_steps: int,
    tokens_after: Callable[[int], int],
    on_checkpoint: OnCheckpoint | None,
) -> Iterator[None]:
    """Shows loss, tokens per second and time left while the body trains; calls `on_checkpoint` once for each
    checkpoint that appears. What `on_checkpoint` raises is raised here when the training is over. `tokens_after(step)`:
    tokens of steps 1 to `step`."""
    known = set(complete_checkpoints(folder))
    first_step = max((step_of(name) for name in known), default=0)
    progress = folder.working_folder() / PROGRESS
    progress.unlink(missing_ok=True)
    stop = threading.Event()
    problems: list[Exception] = []

    def announce() -> None:
        if on_checkpoint is None:
            return
        for name in complete_checkpoints(folder):
            if name not in known:
                known.add(name)
                try:
                    on_checkpoint(folder.name, step_of(name))
                except Exception as problem:  # kept for the caller, whom a thread cannot raise to
                    problems.append(problem)

    with track(label, tokens_after(total_steps) - tokens_after(first_step), "tokens") as bar:

        def poll() -> None:
            shown = first_step
            while True:
                last = stop.wait(POLL_EVERY_SECONDS)
                announce()
                if progress.exists():
                    now = json.loads(progress.read_text(encoding="utf-8"))
                    bar.advance(tokens_after(now["step"]) - tokens_after(shown), now["note"])
                    shown = now["step"]
                if last:
                    return

        # In a copy of the caller's context, so that on_checkpoint finds what a flow keeps there (its run).
        thread = threading.Thread(target=contextvars.copy_context().run, args=(poll,), name="watch-run", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            progress.unlink(missing_ok=True)
    if problems:
        raise problems[0]
