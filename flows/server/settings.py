"""What server, worker and commands agree on: addresses, names, time limits, Prefect's settings."""

import os
from pathlib import Path

HOST = "127.0.0.1"
FIRST_PORT = 4200
POOL = "local"
"""The work pool of our deployments and worker."""
FLOW_RUN_ID = "PREFECT__FLOW_RUN_ID"
"""Prefect names, to a run of a deployment, its id."""
RUN_LOGS = "XMODEL_RUN_LOGS"
"""Names, to a run of the worker that `up` starts, the folder in which it keeps its output."""
PREFECT_YAML = Path(__file__).with_name("prefect.yaml")
"""The deployments: here a link to the file of the top level, in an installed package a file of its own."""
START_SECONDS = 180.0
DEPLOY_SECONDS = 300.0
"""How long the registration of all deployments may take."""
DEPLOY_RETRIES = 4
"""Of one call of a server on this machine that has just answered: 30 s in all."""
STOP_SECONDS = 20.0
RUN_STOP_SECONDS = 300.0
"""How long a run that is stopped or cancelled may take to save its checkpoint before it is killed."""
OUTAGE_SECONDS = 1800.0
"""How long a run waits for its server to come back before it fails."""
CLIENT_RETRIES = 10
"""Of one call of the server's API, after 2, 4, 8 … s: 2,046 s in all, so OUTAGE_SECONDS are bridged."""

# No telemetry; and the UI calls the address that it was loaded from: its built-in default is port 4200.
PRIVATE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_API_URL": "/api",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}


# A server that is started again must know the concurrency leases of the runs that live on, or it ends them. It revokes
# none by itself: a lease that ran out while the server was gone still belongs to a living run, and `up` ends dead ones.
LASTING_LEASES = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
}


def prefect_environment(**more: str) -> dict[str, str]:
    """The environment of a Prefect process that `up` starts."""
    ours = {
        **PRIVATE,
        **LASTING_LEASES,
        "PREFECT_CLIENT_MAX_RETRIES": str(CLIENT_RETRIES),
        "PREFECT_PLUGINS_ENABLED": "true",
        # A folder called `flows` where a run starts must not shadow our package.
        "PYTHONSAFEPATH": "1",
    }
    return {**os.environ, **ours, **more}
