"""Two builders of every data artifact: both end well, with the bytes of one, and neither waits for the other.

One is stopped at three moments of its way, by the number of its steps; the other must finish without it (see
`builders`).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import command_environment
from tests.races.builders import KINDS, MOMENTS

pytestmark = pytest.mark.xdist_group("races")


def builders(*words: object) -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.races.builders", *map(str, words)],
        capture_output=True,
        text=True,
        env=command_environment(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [{**json.loads(line), "said": done.stderr[-3000:]} for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that one process built."""
    workspace = tmp_path_factory.mktemp("races") / "reference"
    builders("reference", workspace)
    return workspace


def both_end_well(reference: Path, stage: str, copy: Path, moments: tuple[float, ...]) -> None:
    (about, *races) = builders("pause", reference, stage, copy, ",".join(map(str, moments)))
    assert about["steps"] > 3 and [one["moment"] for one in races] == [None, *moments]
    for one in races:
        assert one["stopped"] == (one["moment"] is not None), one
        assert one["codes"] == [0, 0], one
        assert one["differs"] == [] and one["missing after the second"] == [], one


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_near_copies_whose_builder_sleeps_in_the_middle(reference: Path, tmp_path: Path) -> None:
    both_end_well(reference, "near copies", tmp_path / "copy", (0.15,))


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", KINDS)
def test_every_stage(stage: str, reference: Path, tmp_path: Path) -> None:
    both_end_well(reference, stage, tmp_path / "copy", MOMENTS)
