"""Stopping a run on a signal: it finishes its step, saves a checkpoint and ends, wherever its workers are.

The training runs in a thread, so that a signal's exception (KeyboardInterrupt, Prefect's TerminationSignal, the
command's own) is raised in the waiting main thread and never in the middle of a step or a write. Signal handlers stay
whosever they are. The request reaches the workers as a file in the run's folder, which the first of them looks for;
all of them stop after the same step.
"""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xmodel_core.artifacts import Folder, LocalFolder
from xmodel_core.errors import TransientError
from xmodel_core.training.parallel.workers import flag_of_first_worker, rank_and_world

STOP = "stop"
LOOK_EVERY_SECONDS = 0.1
LOOK_EVERY_SECONDS_REMOTE = 2.0
"""On an object store each look is a request."""


def run_stoppable(work: Callable[[], None], folder: Folder) -> BaseException | None:
    """Does `work` in a thread and waits for it; what it raises is raised. Gives the exception of a signal that came
    meanwhile: the workers were asked to stop, and have. A second signal's exception is raised at once."""
    problems: list[BaseException] = []
    done = threading.Event()  # not join(): an exception in it makes Python 3.11 take a live thread for ended

    def do() -> None:
        try:
            work()
        except BaseException as problem:
            problems.append(problem)
        finally:
            done.set()

    folder.remove(STOP)  # of a process that was killed while it stopped
    # In a copy of the caller's context, so that what a flow keeps there (its run) is found.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(do,), name="training", daemon=True)
    thread.start()
    stopped_by: BaseException | None = None
    try:
        done.wait()
    except BaseException as signal:  # nothing else is raised in a wait
        stopped_by = signal
        folder.write(STOP, b"")
        done.wait()
    finally:
        folder.remove(STOP)
    if problems:
        raise problems[0]
    return stopped_by


class StopRequest:
    """Whether a run is asked to stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    @classmethod
    @contextmanager
    def of(cls, folder: Folder) -> Iterator["StopRequest"]:
        """The request of the run in `folder`, looked for by a thread of the first worker while the block runs."""
        request, over = cls(), threading.Event()
        every = LOOK_EVERY_SECONDS if isinstance(folder, LocalFolder) else LOOK_EVERY_SECONDS_REMOTE

        def look() -> None:
            while not over.wait(every):
                try:
                    if folder.size(STOP) is not None:
                        request._asked.set()
                        return
                except TransientError:
                    continue  # an outage: the next look may be answered, and the run's own writes report it

        if rank_and_world()[0] == 0:
            threading.Thread(target=look, name="stop-request", daemon=True).start()
        try:
            yield request
        finally:
            over.set()

    def is_made(self) -> bool:
        """The same answer on every worker; all of them have to ask."""
        return flag_of_first_worker(self._asked.is_set())
