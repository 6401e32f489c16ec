"""The deployments that prefect.yaml declares, registered with a server."""

import subprocess
import sys
from hashlib import sha256
from typing import Any

from flows.server.process import log_tail
from flows.server.rest_api import call
from flows.server.settings import POOL, PREFECT_YAML, prefect_environment
from flows.server.state import State, state_folder
from xmodel_core.errors import XmodelError


def declared_deployments() -> str:
    """The sha256 of prefect.yaml, the only place where deployments are written down."""
    return sha256(PREFECT_YAML.read_bytes()).hexdigest()


def register_deployments(state: State) -> None:
    """Registers what prefect.yaml declares. Schedules that a person has switched on, or off, stay so."""
    switched = {(row["id"], schedule["slug"]): schedule["active"] for row, schedule in _schedules(state.api)}
    finished = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_YAML)],
        cwd=state_folder(),
        env=prefect_environment(PREFECT_API_URL=state.api, XMODEL_WORKSPACE=state.workspace, PWD=state.folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log = state_folder() / "deploy.log"
    log.write_bytes(finished.stdout)
    if finished.returncode:
        raise XmodelError("the deployments could not be registered", found=log_tail(log), where=log)
    for row, schedule in _schedules(state.api):
        wanted = switched.get((row["id"], schedule["slug"]), schedule["active"])
        if wanted != schedule["active"]:
            path = f"/deployments/{row['id']}/schedules/{schedule['id']}"
            call(state.api, path, {"active": wanted}, method="PATCH")


def _schedules(api: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each deployment with each of its schedules."""
    deployments = call(api, "/deployments/filter", {"work_pools": {"name": {"any_": [POOL]}}})
    return [(row, schedule) for row in deployments for schedule in row["schedules"]]
