"""What `up` remembers for `status` and `down`: one JSON file in Prefect's home, beside the logs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.server.home import prefect_home, require_prefect_home
from flows.server.process import Process
from flows.server.profile import SavedProfile
from flows.server.settings import HOST
from xmodel_core.artifacts import LocalFolder, lock


@dataclass(frozen=True)
class State:
    """The server and worker that `up` started, and what they were given."""

    port: int
    workspace: str
    """The default workspace of the deployments, absolute."""
    folder: str
    """Relative recipe paths of deployment runs are resolved from here."""
    server: Process
    worker: Process | None = None
    profile: SavedProfile | None = None
    deployments: str = ""
    """The sha256 of the prefect.yaml whose deployments are registered."""

    @property
    def ui(self) -> str:
        """The server's address in a browser."""
        return f"http://{HOST}:{self.port}"

    @property
    def api(self) -> str:
        """The server's address for programs."""
        return f"{self.ui}/api"


def state_folder() -> Path:
    """The folder of state and logs: in Prefect's home, so that another home has another server."""
    return prefect_home().resolve() / "xmodel"


@contextmanager
def exclusive() -> Iterator[None]:
    """One `up` or `down` at a time."""
    require_prefect_home()
    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the saved profile may hold API keys
    with lock.exclusive(folder / "lock"):
        yield


def load_state() -> State | None:
    """None where nothing is up."""
    try:
        values = json.loads((state_folder() / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    values["server"] = Process(**values["server"])
    values["worker"] = Process(**values["worker"]) if values["worker"] else None
    values["profile"] = SavedProfile(**values["profile"]) if values["profile"] else None
    return State(**values)


def save_state(state: State) -> State:
    """Writes the state and returns it."""
    LocalFolder(state_folder()).write("state.json", json.dumps(asdict(state), indent=1).encode())
    return state


def forget_state() -> None:
    """After `down`: nothing is up."""
    (state_folder() / "state.json").unlink()
