"""What server, worker and commands agree on: addresses, names, time limits, Prefect's settings."""

import os
from pathlib import Path

HOST = "127.0.0.1"
FIRST_PORT = 4200
POOL = "local"
"""The work pool of our deployments and worker."""
PREFECT_YAML = Path(__file__).with_name("prefect.yaml")
"""The deployments: here a link to the file of the top level, in an installed package a file of its own."""
START_SECONDS = 180.0
STOP_SECONDS = 20.0

# No telemetry; and the UI calls the address that it was loaded from: its built-in default is port 4200.
PRIVATE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_API_URL": "/api",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}


def prefect_environment(**more: str) -> dict[str, str]:
    """The environment of a Prefect process that `up` starts."""
    # PYTHONSAFEPATH: a folder called `flows` where a run starts must not shadow our package.
    return {**os.environ, **PRIVATE, "PREFECT_PLUGINS_ENABLED": "true", "PYTHONSAFEPATH": "1", **more}
