"""A source that is added to a corpus costs its own scan: the others' scans are neither made again nor touched."""

import json
from pathlib import Path

import pytest
import yaml

from tests.river.conftest import SMALL
from xmodel_core.ledger.query import run_query
from xmodel_core.specs.sources import DATASETS_SPEC

FIRST = ["zh_web", "en_stories"]
ADDED = "zh_stories"


def overrides(folder: Path, names: list[str]) -> list[str]:
    """The small recipe on some of the world's sources alone."""
    family = yaml.safe_load((DATASETS_SPEC / "sources" / "sample_world.yaml").read_text(encoding="utf-8"))
    sources = [source for source in family["sources"] if source["name"] in names]
    (folder / "sources.yaml").write_text(yaml.safe_dump({"sources": sources}), encoding="utf-8")
    phases = [{"name": "all", "sources": {name: {"weight": 1, "max_epochs": 1000} for name in names}}]
    (folder / "mixture.yaml").write_text(yaml.safe_dump({"phases": phases}), encoding="utf-8")
    return ["--set", f"sources=[{folder / 'sources.yaml'}]", "--set", f"mixture={folder / 'mixture.yaml'}"]


def scans_of(workspace: Path) -> dict[str, tuple[int, int]]:
    """Every file of every scan with its place on the disk and the time it was written."""
    return {
        path.relative_to(workspace).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (workspace / "scans").rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_source_that_is_added_costs_its_own_scan(tmp_path: Path, xmodel) -> None:
    workspace = tmp_path / "workspace"
    first = xmodel("xdata-build", SMALL, *overrides(tmp_path, FIRST), workspace=workspace)
    assert first.returncode == 0, first.stderr
    before = scans_of(workspace)
    assert {name.split("/")[1].rsplit("-", 1)[0] for name in before} == set(FIRST)

    more = overrides(tmp_path, [*FIRST, ADDED])
    planned = json.loads(xmodel("plan", SMALL, *more, "--json", workspace=workspace).stdout)
    scans = {row["name"]: row["state"] for row in planned["details"]["stages"] if row["stage"] == "scan"}
    assert scans == {**dict.fromkeys(FIRST, "reused"), ADDED: "new"}

    second = xmodel("xdata-build", SMALL, *more, workspace=workspace)
    assert second.returncode == 0, second.stderr
    after = scans_of(workspace)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1].rsplit("-", 1)[0] for name in after.keys() - before.keys()} == {ADDED}
    assert run_query(workspace, "@books")[1] == []
