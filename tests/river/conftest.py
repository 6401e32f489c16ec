"""One small river, run once through the real command, that many tests then look at."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Xmodel
from tests.river.installed import Installed, install
from xmodel_core.artifacts import Place
from xmodel_core.ledger.query import contents, run_query

SMALL = Path(__file__).with_name("small.yaml")
TIMES_AND_PLACES = {"created_at", "seconds", "started_at", "finished_at", "tokens_per_second", "mfu", "path", "uri"}


@pytest.fixture(scope="session")
def river(tmp_path_factory: pytest.TempPathFactory, xmodel: Xmodel) -> Path:
    """The workspace of a finished small run. Tests that change it take `fresh_river`."""
    workspace = tmp_path_factory.mktemp("river") / "workspace"
    done = xmodel("run", SMALL, workspace=workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Xmodel installed from its wheel, and an empty folder."""
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def fresh_river(river: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, in a folder of another name."""
    return Path(shutil.copytree(river, tmp_path / "copy", symlinks=True))


@pytest.fixture(scope="session")
def ledger_of() -> Callable[[Place], dict[str, list[tuple]]]:
    """Every row of every table of a workspace, times, rates and places left out."""

    def read(workspace: Place) -> dict[str, list[tuple]]:
        tables = {}
        for name, kind, *_ in contents(workspace)[1]:
            if kind == "table":
                columns, rows = run_query(workspace, f'select * from "{name}"')
                kept = [index for index, column in enumerate(columns) if column not in TIMES_AND_PLACES]
                tables[name] = sorted((tuple(row[index] for index in kept) for row in rows), key=repr)
        return tables

    return read
