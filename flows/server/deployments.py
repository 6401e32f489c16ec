"""The deployments that prefect.yaml declares, registered with a server; and runs whose worker is gone."""

import subprocess
import sys

from flows.server.process import log_tail
from flows.server.rest_api import call
from flows.server.settings import POOL, PREFECT_YAML, prefect_environment
from flows.server.state import State, state_folder
from xmodel_core.errors import XmodelError


def register_deployments(state: State) -> None:
    """Registers what prefect.yaml declares, the only place where deployments are written down."""
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


def mark_lost_runs_crashed(state: State) -> None:
    """Without this, runs whose worker is gone would stay `Running` for ever and hold their deployment's only slot."""
    unfinished = {
        "work_pools": {"name": {"any_": [POOL]}},
        "flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}},
    }
    message = "its worker was stopped; run it again to continue from the finished stages"
    crashed = {"type": "CRASHED", "name": "Crashed", "message": message}
    for run in call(state.api, "/flow_runs/filter", unfinished):
        call(state.api, f"/flow_runs/{run['id']}/set_state", {"state": crashed, "force": True})
