"""Every command of the README, in its order, in an empty folder: what a newcomer would type works as typed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xmodel_core.artifacts import Store
from xmodel_core.ledger.query import run_query
from xmodel_core.sample_world import stage
from xmodel_core.sample_world.config import SampleWorldConfig

ROOT = Path(__file__).resolve().parents[2]
# What runs these tests cannot be run by them.
NOT_HERE = ("make test", "source ")


def commands() -> list[str]:
    """The lines of the README's shell blocks, comments cut off."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    lines = [line.partition(" # ")[0].strip() for block in blocks for line in block.replace("\\\n", "").splitlines()]
    return [line for line in lines if line and not line.startswith(NOT_HERE)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the README calls path/to/corpora and path/to/bench."""
    config = SampleWorldConfig(documents=300, planted_share=0.2, documents_per_file=50)
    world = stage.run(config, Store(tmp_path / "world"))
    shutil.copytree(world.path / "documents", tmp_path / "path/to/corpora")
    bench = tmp_path / "path/to/bench/arc_easy"
    bench.mkdir(parents=True)
    questions = [
        {
            "id": f"q{n}",
            "question": f"What do {n} and {n + 1} make together?",
            "choices": {"text": [str(2 * n + 1 + k) for k in range(4)], "label": ["A", "B", "C", "D"]},
            "answerKey": "A",
        }
        for n in range(6)
    ]
    (bench / "test.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_command_of_the_readme_works_as_typed(folder: Path) -> None:
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def call(command: str, **more: str) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT if command.startswith("make") else folder,
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"

    for command in commands():
        cluster = "cluster.kind=ray" in command
        if cluster:
            call("ray start --head --num-cpus=2 --include-dashboard=false --disable-usage-stats")
        try:
            # `make run` works in the checkout, whose workspace is not ours to touch.
            call(command, **({"XMODEL_WORKSPACE": str(folder / "workspace")} if command.startswith("make") else {}))
        finally:
            if cluster:
                call("ray stop --force")

    # The model that `make run` left is one that learned: the recipe's gate, in both languages.
    _, rows = run_query(
        folder / "workspace",
        "select task, value from evals where model like 'quickstart%' and task like 'world_%' and metric = 'acc'",
    )
    scores = dict(rows)
    for lang in ("zh", "en"):
        assert scores[f"world_cloze_{lang}"] >= 0.60
        assert scores[f"world_cloze_{lang}"] - scores[f"world_wrong_name_{lang}"] >= 0.25
