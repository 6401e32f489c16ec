"""One small river, run once through the real command, that many tests then look at."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xmodel_core.artifacts import Place
from xmodel_core.ledger.query import contents, run_query

Xmodel = Callable[..., subprocess.CompletedProcess[str]]
SMALL = Path(__file__).with_name("small.yaml")
TIMES_AND_PLACES = {"created_at", "seconds", "started_at", "finished_at", "tokens_per_second", "mfu", "path", "uri"}


@pytest.fixture(scope="session")
def xmodel() -> Xmodel:
    """Runs the command as a person would: `xmodel("run", recipe, workspace=folder)`."""

    def call(
        *words: object, workspace: Path | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **({"XMODEL_WORKSPACE": str(workspace)} if workspace else {})}
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *map(str, words)],
            env=environment,
            cwd=cwd or Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return call


@pytest.fixture(scope="session")
def river(tmp_path_factory: pytest.TempPathFactory, xmodel: Xmodel) -> Path:
    """The workspace of a finished small run. Tests that change it take `fresh_river`."""
    workspace = tmp_path_factory.mktemp("river") / "workspace"
    done = xmodel("run", SMALL, workspace=workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace


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
