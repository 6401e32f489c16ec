"""Watches a run from outside, by its files alone: a progress bar, and a call for each new checkpoint.

Takes a run's folder; works the same whether the training runs in this process or on another machine.
"""

import contextvars
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xmodel_core.artifacts import Folder
from xmodel_core.progress import track
from xmodel_core.training.checkpoint import step_of, whole_checkpoints
from xmodel_core.training.loop import PROGRESS

LOOK_EVERY_SECONDS = 0.5

OnCheckpoint = Callable[[Path, int], None]
"""(folder of a new whole checkpoint, its step)"""


@contextmanager
def watch(
    folder: Folder,
    label: str,
    total_steps: int,
    tokens_after: Callable[[int], int],
    on_checkpoint: OnCheckpoint | None,
) -> Iterator[None]:
    """Shows loss, tokens per second and time left while the body trains; calls `on_checkpoint` once for each
    checkpoint that appears. What it raises is raised here when the training is over. `tokens_after`: tokens of so
    many steps from the first."""
    known = set(whole_checkpoints(folder))
    begun_at = max((step_of(name) for name in known), default=0)
    progress = folder.working_folder() / PROGRESS
    progress.unlink(missing_ok=True)
    stop = threading.Event()
    problems: list[Exception] = []

    def announce() -> None:
        if on_checkpoint is None:
            return
        for name in whole_checkpoints(folder):
            if name not in known:
                known.add(name)
                try:
                    on_checkpoint(folder.tree(name), step_of(name))
                except Exception as problem:  # kept for the caller: a thread has nobody to raise to
                    problems.append(problem)

    with track(label, tokens_after(total_steps) - tokens_after(begun_at), "tokens") as bar:

        def look() -> None:
            seen = begun_at
            while True:
                last = stop.wait(LOOK_EVERY_SECONDS)
                announce()
                if progress.exists():
                    now = json.loads(progress.read_text(encoding="utf-8"))
                    bar.advance(tokens_after(now["step"]) - tokens_after(seen), now["note"])
                    seen = now["step"]
                if last:
                    return

        # In a copy of the caller's context: what a flow keeps there (its run) is there for on_checkpoint too.
        thread = threading.Thread(target=contextvars.copy_context().run, args=(look,), name="watch-run", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            progress.unlink(missing_ok=True)
    if problems:
        raise problems[0]
