"""`xmodel status`: server, worker, deployments and the latest runs."""

from dataclasses import dataclass

from flows.server.rest_api import call
from flows.server.settings import POOL
from flows.server.state import State, load_state, state_folder
from xmodel_core.errors import XmodelError


@dataclass(frozen=True)
class FlowRun:
    """One run of a flow, from the server."""

    name: str
    flow: str
    state: str
    started: str | None
    seconds: float


@dataclass(frozen=True)
class Status:
    """The state of server and worker, and the latest runs."""

    url: str
    api: str
    server_alive: bool
    worker_alive: bool
    workspace: str
    deployments: tuple[str, ...]
    runs: tuple[FlowRun, ...]
    logs: str
    news: str = ""

    def __str__(self) -> str:
        """A few lines for a person."""
        lines = [self.news] if self.news else []
        lines += [
            f"Prefect server  {self.url}  {'up' if self.server_alive else 'DEAD: `xmodel up` starts it again'}",
            f"worker          {POOL}  {'up' if self.worker_alive else 'DEAD: `xmodel up` starts it again'}",
            f"workspace       {self.workspace}",
            f"deployments     {', '.join(self.deployments) or 'none'}",
            f"logs            {self.logs}",
        ]
        lines += [f"run             {run.flow}/{run.name}: {run.state}, {run.seconds:.0f} s" for run in self.runs]
        return "\n".join(lines)


def status() -> Status:
    """The current status. XmodelError where `up` has not been called."""
    state = load_state()
    if state is None:
        raise XmodelError("nothing is up", where=state_folder(), remedy="xmodel up")
    return status_of(state)


def status_of(state: State) -> Status:
    """The status of what a state describes; deployments and runs are empty where its server is dead."""
    alive = state.server.find() is not None
    deployments, runs = _deployments_and_runs(state.api) if alive else ([], [])
    return Status(
        url=state.ui,
        api=state.api,
        server_alive=alive,
        worker_alive=state.worker is not None and state.worker.find() is not None,
        workspace=state.workspace,
        deployments=tuple(sorted(deployments)),
        runs=tuple(runs),
        logs=str(state_folder()),
    )


def _deployments_and_runs(api: str) -> tuple[list[str], list[FlowRun]]:
    flows = {flow["id"]: flow["name"] for flow in call(api, "/flows/filter", {"limit": 200})}
    in_pool = {"work_pools": {"name": {"any_": [POOL]}}}
    deployments = [f"{flows[row['flow_id']]}/{row['name']}" for row in call(api, "/deployments/filter", in_pool)]
    latest = {"sort": "EXPECTED_START_TIME_DESC", "limit": 8, "flow_runs": {"start_time": {"is_null_": False}}}
    runs = [
        FlowRun(
            row["name"], flows.get(row["flow_id"], "?"), row["state_name"], row["start_time"], row["total_run_time"]
        )
        for row in call(api, "/flow_runs/filter", latest)
    ]
    return deployments, runs
