"""What a deployment's run does while its Prefect server is gone: it works on, and reports when the server is back.

Takes nothing; gives Prefect's settings for such a run, and `wait_out` for calls that Prefect itself does not repeat.
Found by killing the server under a run (Prefect 3.8.8): a state is proposed again with growing pauses, but only
PREFECT_CLIENT_MAX_RETRIES times; an artifact is not, because a new client does not repeat its first connection; the
event of a task's state is given up after seven seconds; and a restarted server has forgotten the leases of concurrency
limits, so that a run is cancelled at its next renewal.
"""

import os
import time
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from flows.server.settings import FLOW_RUN_ID, OUTAGE_SECONDS

Result = TypeVar("Result")


def of_a_deployment() -> bool:
    """Whether this process runs a deployment: its server may be started again, by `xmodel up`."""
    return FLOW_RUN_ID in os.environ


def wait_out(call: Callable[[], Result]) -> Result:
    """The call's result; in a deployment's run, repeated for OUTAGE_SECONDS while no server answers."""
    from httpx import TransportError

    deadline = time.monotonic() + (OUTAGE_SECONDS if of_a_deployment() else 0.0)
    pause = 1.0
    while True:
        try:
            return call()
        except TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 15.0)


def keep_events() -> None:
    """In a deployment's run: events, the states of tasks among them, wait for the server instead of being given up.

    Call it before the first event. Once a server has been gone for OUTAGE_SECONDS, each event is tried once.
    """
    if not of_a_deployment():
        return
    from prefect.events.clients import PrefectEventsClient
    from prefect.events.schemas.events import Event
    from prefect.events.worker import EventsWorker

    attempts = int(OUTAGE_SECONDS)  # Prefect pauses for a second between two
    emit = PrefectEventsClient._emit

    @wraps(emit)
    async def patient(client: PrefectEventsClient, event: Event) -> None:
        try:
            await emit(client, event)
        except Exception:
            client._reconnection_attempts = 0
            raise
        client._reconnection_attempts = attempts

    # The method, because Prefect sends no events through a class that it does not know.
    setattr(PrefectEventsClient, emit.__name__, patient)
    EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=attempts)
