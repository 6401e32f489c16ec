"""What `up`'s worker and its runs do that Prefect 3.8.8 has no setting for; applied by our Prefect plugin.

Takes the environment variable RUN_LOGS, which only that worker and what it starts have; gives a run its own log, so
that it outlives its worker, a worker that hears of cancellations after its server was gone and that starts a run though
the server's answer was wrong, and a cancelled run the time to save its checkpoint.
"""

import os
from datetime import UTC, datetime
from functools import partial, wraps
from pathlib import Path
from typing import Any

from flows.server.settings import FLOW_RUN_ID, OUTAGE_SECONDS, RUN_LOGS, RUN_STOP_SECONDS


def apply() -> None:
    """Called when `prefect` is imported, possibly twice."""
    logs, flow_run = os.environ.get(RUN_LOGS), os.environ.get(FLOW_RUN_ID)
    if not logs:
        return
    _listen_again()
    if flow_run:
        _write_to(Path(logs, f"{flow_run}.log"))
    else:
        _cancel_slowly()
        _start_what_became_pending()


def _listen_again() -> None:
    """Connects to a server's events as often as it may be started again; Prefect gives up after seven seconds, and its
    worker then hears of no cancellation any more."""
    from prefect._internal import observers
    from prefect.events.clients import get_events_subscriber as subscribe

    setattr(observers, subscribe.__name__, partial(subscribe, reconnection_attempts=int(OUTAGE_SECONDS)))


def _write_to(log: Path) -> None:
    """Sends this process's output to `log`: the pipe to its worker would break when that is killed, and the next line
    of progress would end the run."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _cancel_slowly() -> None:
    """A cancelled run is asked alone, so that it ends its own workers after saving what they know, and killed with its
    whole process group after RUN_STOP_SECONDS, not 30."""
    from prefect.runner import _process_manager as manager

    kill = manager.ProcessManager.kill
    if hasattr(kill, "__wrapped__"):
        return

    @wraps(kill)
    async def patient(self: Any, flow_run_id: Any, grace_seconds: float = 30, *, force: bool = False) -> None:
        await kill(self, flow_run_id, max(grace_seconds, RUN_STOP_SECONDS), force=force)

    # setattr, as in default_deployment: replacing these methods is the purpose.
    setattr(manager.ProcessManager, kill.__name__, patient)
    one, group = manager._SingleProcessTerminationScope, manager._PosixProcessGroupTerminationScope
    setattr(group, one.graceful_kill.__name__, one.graceful_kill)


def _start_what_became_pending() -> None:
    """A busy server was seen to record that a run is pending, and to answer that it cannot become so, being pending;
    Prefect's worker then leaves it for ever, in its deployment's only slot. Ours is the pool's only worker: what became
    pending since it asked became so for it."""
    from httpx import HTTPError
    from prefect.workers.base import BaseWorker

    propose = BaseWorker._propose_pending_state
    if hasattr(propose, "__wrapped__"):
        return

    @wraps(propose)
    async def proposed(self: Any, flow_run: Any) -> bool:
        asked = datetime.now(UTC)
        if await propose(self, flow_run):
            return True
        try:
            state = (await self.client.read_flow_run(flow_run.id)).state
        except HTTPError:
            return False
        return state is not None and state.is_pending() and state.timestamp >= asked

    setattr(BaseWorker, propose.__name__, proposed)
