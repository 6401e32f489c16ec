"""Builders of one stage in processes of their own: one of them paused at a chosen moment, while another does the rest.

`python -m tests.races.builders reference WORKSPACE` builds every stage of a small recipe, without Prefect.
`… pause WORKSPACE STAGE COPY` takes a stage away from copies of that workspace and has two processes build it: at once,
then with one of them stopped at MOMENTS of its way and continued when the other is done. Prints one JSON line for
each: what was tried, both exit codes, and what differs from the workspace that one process built.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.recipes import load_recipe
from flows.river.session import Session
from flows.river.stages import STAGES
from xmodel_core.artifacts import Store
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.ledger.build import refresh

RECIPE = Path(__file__).with_name("races.yaml")
MOMENTS = (0.15, 0.5, 0.85)
"""Parts of the way: of the files of the workspace that a builder opens, moves, makes and removes."""
KINDS = {
    "sample world": "raw",
    "benchmarks": "benchmarks",
    "scan": "scans",
    "lines": "rescans",
    "near copies": "pairs",
    "corpus": "corpus",
    "tokenizer": "tokenizer",
    "shards": "shards",
    "plan": "plans",
    "evaluation": "evaluations",
    "report": "reports",
}
TIMES = {"created_at", "seconds", "seal", "receipts"}
"""Times, and the digests of what holds them: of the JSON file itself, and of the receipts that a manifest lists."""


class Steps:
    """Counts what this process does with files below a folder; stops it at step `stop_at`."""

    EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"}

    def __init__(self) -> None:
        self.below, self.stop_at, self.count = "", 0, 0
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.below and event in self.EVENTS and str(arguments[0]).startswith(self.below):
            self.count += 1
            if self.count == self.stop_at:
                os.kill(os.getpid(), signal.SIGSTOP)


STEPS = Steps()


def build(workspace: Path, through: str, stop_at: int = 0) -> int:
    """Builds the stages up to this one; the steps of the last of them."""
    recipe, file = load_recipe(str(RECIPE), [])
    with open_cluster(ClusterConfig(workers=1)) as cluster:
        session = Session(recipe, file, Store(workspace), cluster)
        for stage in STAGES:
            if stage.name == through:
                STEPS.below, STEPS.stop_at = str(workspace / KINDS.get(through, "runs")), stop_at
            for item in stage.items(session):
                session.keep(stage.name, item, stage.build(session, item))
            if stage.name == "evaluation":
                refresh(workspace)
            if stage.name == through:
                break
    return STEPS.count


def child(work: Callable[[], object]) -> int:
    """A fork of this process that does the work and ends."""
    sys.stdout.flush()
    if process := os.fork():
        return process
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def data_of(folder: Path) -> dict[str, object]:
    """Every file of a kind; JSON without the times in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    read = {True: lambda path: _without_times(json.loads(path.read_bytes())), False: lambda path: path.read_bytes()}
    return {path.relative_to(folder).as_posix(): read[path.suffix == ".json"](path) for path in files}


def differences(made: dict[str, object], expected: dict[str, object]) -> list[str]:
    return sorted(name for name in made.keys() | expected.keys() if made.get(name) != expected.get(name))


def race(reference: Path, stage: str, copy: Path, moment: float | None, steps: int) -> dict[str, Any]:
    """Two builders of one stage; `moment`: where the first is stopped while the second builds, None: both at once."""
    kind = KINDS[stage]
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(reference, copy, ignore=lambda at, _: [kind] if Path(at) == reference else [])
    stop_at = max(1, round(moment * steps)) if moment else 0
    first = child(lambda: build(copy, stage, stop_at))
    stopped = moment is not None and os.WIFSTOPPED(os.waitpid(first, os.WUNTRACED)[1])
    codes = [ended(child(lambda: build(copy, stage)))]
    after_second = data_of(copy / kind)
    if stopped:
        os.kill(first, signal.SIGCONT)
    codes.append(ended(first))
    expected = data_of(reference / kind)
    return {
        "moment": moment,
        "stopped": stopped,
        "codes": codes,
        "differs": differences(data_of(copy / kind), expected),
        # What the stopped builder has in hand is there besides.
        "missing after the second": [name for name in expected if after_second.get(name) != expected[name]],
    }


def main() -> None:
    """The two calls that the module's first lines describe."""
    what, reference = sys.argv[1], Path(sys.argv[2])
    if what == "reference":
        build(reference, STAGES[-1].name)
        return
    stage, copy = sys.argv[3], Path(sys.argv[4])
    moments = [float(part) for part in sys.argv[5].split(",")] if len(sys.argv) > 5 else list(MOMENTS)
    read_end, write_end = os.pipe()
    shutil.copytree(reference, copy, ignore=lambda at, _: [KINDS[stage]] if Path(at) == reference else [])
    assert ended(child(lambda: os.write(write_end, str(build(copy, stage)).encode()))) == 0
    steps = int(os.read(read_end, 20))
    print(json.dumps({"stage": stage, "steps": steps}), flush=True)
    for moment in [None, *moments]:
        print(json.dumps(race(reference, stage, copy, moment, steps)), flush=True)


if __name__ == "__main__":
    main()
