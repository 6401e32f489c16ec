"""The deployments that prefect.yaml declares, registered with a server."""

import subprocess
import sys
from hashlib import sha256
from typing import Any

from flows.server.process import log_tail
from flows.server.rest_api import call
from flows.server.settings import DEPLOY_RETRIES, DEPLOY_SECONDS, POOL, PREFECT_YAML, prefect_environment
from flows.server.state import State, state_folder
from xmodel_core.errors import XmodelError


def declared_deployments() -> str:
    """The sha256 of prefect.yaml, the only place where deployments are written down."""
    return sha256(PREFECT_YAML.read_bytes()).hexdigest()


def register_deployments(state: State) -> None:
    """Registers what prefect.yaml declares. Schedules that a person has switched on, or off, stay so."""
    switched = {(row["id"], schedule["slug"]): schedule["active"] for row, schedule in _schedules(state.api)}
    log = state_folder() / "deploy.log"
    environment = {"PREFECT_API_URL": state.api, "XMODEL_WORKSPACE": state.workspace, "PWD": state.folder}
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", PREFECT_YAML],
                cwd=state_folder(),
                env=prefect_environment(**environment, PREFECT_CLIENT_MAX_RETRIES=str(DEPLOY_RETRIES)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=DEPLOY_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    if code != 0:
        raise XmodelError(
            "the deployments could not be registered",
            expected=f"an end within {DEPLOY_SECONDS:.0f} s" if code is None else None,
            found=log_tail(log),
            where=log,
            remedy="xmodel up again",
        )
    for row, schedule in _schedules(state.api):
        wanted = switched.get((row["id"], schedule["slug"]), schedule["active"])
        if wanted != schedule["active"]:
            path = f"/deployments/{row['id']}/schedules/{schedule['id']}"
            call(state.api, path, {"active": wanted}, method="PATCH")


def _schedules(api: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each deployment with each of its schedules."""
    deployments = call(api, "/deployments/filter", {"work_pools": {"name": {"any_": [POOL]}}})
    return [(row, schedule) for row in deployments for schedule in row["schedules"]]
