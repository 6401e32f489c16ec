"""Every command of the README, in its order, in one folder: what a newcomer would type works as typed.

`make` works in the checkout; everything else is typed in a shell whose programs are those of the installed wheel.
"""

import json
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from tests.conftest import ROOT, command_environment
from tests.river.installed import Installed
from xmodel_core.artifacts import Store
from xmodel_core.ledger.query import run_query
from xmodel_core.sample_world import stage
from xmodel_core.sample_world.config import SampleWorldConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400), pytest.mark.xdist_group("readme")]
# What runs these tests cannot be run by them.
NOT_HERE = ("make test", "source ")
FIRST = ("make run", "xmodel init")
"""What the other commands depend on."""


def blocks() -> list[list[str]]:
    """The lines of the README's shell blocks, comments cut off."""
    texts = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    listed = [[line.partition(" # ")[0].strip() for line in text.replace("\\\n", "").splitlines()] for text in texts]
    return [[line for line in lines if line and not line.startswith(NOT_HERE)] for lines in listed]


FIRST_LINES = [line for block in blocks() for line in block if line.startswith(FIRST)]
OTHERS = [[line for line in block if line not in FIRST_LINES] for block in blocks()]


@pytest.fixture(scope="module")
def folder(installed: Installed) -> Path:
    """A folder with what the README calls path/to/corpora and path/to/bench, after `make run` and `xmodel init`."""
    folder = installed.folder
    config = SampleWorldConfig(documents=300, planted_share=0.2, documents_per_file=50)
    world = stage.run(config, Store(folder / "world"))
    shutil.copytree(world.path / "documents", folder / "path/to/corpora")
    bench = folder / "path/to/bench/arc_easy"
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
    assert [line.split()[:2] for line in FIRST_LINES] == [line.split() for line in FIRST]
    for command in FIRST_LINES:
        if command.startswith("make"):  # it works in the checkout, whose workspace is not ours to touch
            environment = command_environment(XMODEL_WORKSPACE=str(folder / "workspace"))
            done = subprocess.run(
                command.split(), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        else:
            installed.types(command)
    shorten(folder / "mine/recipe.yaml")
    return folder


def shorten(recipe: Path) -> None:
    """The recipe that `init` wrote, with a few steps of training: what is asked here is whether the commands work."""
    text = recipe.read_text(encoding="utf-8")
    for name, steps in (("warmup_steps", 4), ("stable_steps", 12), ("decay_steps", 8)):
        text, changed = re.subn(rf"(?m)^(  {name}: )\d+", rf"\g<1>{steps}", text)
        assert changed == 1, name
    recipe.write_text(text, encoding="utf-8")
    assert yaml.safe_load(text)["training"]["stable_steps"] == 12


@contextmanager
def ray_cluster(installed: Installed) -> Iterator[dict[str, str]]:
    """The environment that leads to a Ray cluster of our own, with a token of its own; only its processes are ended,
    known by their folder or address."""
    with socket.socket() as probe:  # this one port Ray does not choose itself
        probe.bind(("127.0.0.1", 0))
        client_port = probe.getsockname()[1]
    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # a short path: Ray makes sockets below it
    words = ["start", "--head", "--port=0", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    words += [f"--ray-client-server-port={client_port}", f"--temp-dir={place}"]
    (token := Path(place, "token")).write_text(secrets.token_hex(32))
    token.chmod(0o600)
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    log, current = Path(place, "start.log"), Path(place, "ray_current_cluster")
    try:
        with log.open("wb") as stream:
            started = subprocess.run(
                ["ray", *words],
                env=installed.variables(**environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        assert started.returncode == 0, log.read_text()[-3000:]
        yield {**environment, "RAY_ADDRESS": current.read_text().strip()}
    finally:
        names = [place, current.read_text().strip()] if current.exists() else [place]
        ours = [one for one in psutil.process_iter() if any(name in command_line(one) for name in names)]
        for process in ours:
            process.kill()
        psutil.wait_procs(ours, timeout=20)
        shutil.rmtree(place, ignore_errors=True)


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def run_line(command: str, installed: Installed) -> None:
    if "cluster.kind=ray" in command:
        with ray_cluster(installed) as environment:  # `auto` is a machine's only cluster, or the one of RAY_ADDRESS
            installed.types(command, **environment)
    else:
        installed.types(command)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("lines", OTHERS, ids=[" ".join(lines)[:40] or "first" for lines in OTHERS])
def test_the_commands_of_the_readme_work_as_typed(lines: list[str], installed: Installed) -> None:
    for command in lines:
        began = time.monotonic()
        run_line(command, installed)
        print(f"{time.monotonic() - began:6.1f} s  {command}")


def test_the_model_of_make_run_learned_in_both_languages(folder: Path) -> None:
    """The recipe's gate."""
    _, rows = run_query(
        folder / "workspace",
        "select task, value from evals where model like 'quickstart%' and task like 'world_%' and metric = 'acc'",
    )
    scores = dict(rows)
    for lang in ("zh", "en"):
        assert scores[f"world_cloze_{lang}"] >= 0.60
        assert scores[f"world_cloze_{lang}"] - scores[f"world_wrong_name_{lang}"] >= 0.25
