"""A run on Ray in a process of its own, whose training workers meet a fault at a moment that is given by a step.

`python -m tests.training.faulty_workers WORKSPACE SETTINGS` trains what `conftest.make_workspace` made there. SETTINGS,
JSON: `model` and `training` as in a recipe, `faults` (see `Fault`), `address` of a Ray cluster (null: one of its own).
Ends like the command: 0, or 1 and the one message of an XmodelError; a traceback for anything else.
"""

import contextlib
import functools
import json
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodel_core.artifacts import LocalFolder, Store
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.inputs import TrainingInputs


@dataclass(frozen=True)
class Fault:
    """What one worker meets."""

    act: str
    """kill: SIGKILL. wait: for what comes from outside, which finds its node in the marker. diverge: its loss is not a
    number. full: the disk of `ballast` has `room` bytes left. limit: no file of its may grow over `room` bytes."""
    moment: str
    """step: before it. validation: in it. checkpoint: its files are written, none is in place. rows: its rows are in
    place, it is not. end: after the last checkpoint."""
    step: int
    rank: int
    marker: str | None = None
    """A file that is made when it happens, and without which it happens: once. None: each time."""
    room: int = 0
    ballast: str = ""

    def happen(self) -> None:
        if self.marker:
            try:
                with Path(self.marker).open("x", encoding="utf-8") as stream:
                    stream.write(self._node())
            except FileExistsError:
                return
        if self.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.act == "wait":
            signal.pause()
        elif self.act == "full":
            fill(Path(self.ballast), self.room)
        elif self.act == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.room, resource.RLIM_INFINITY))
        elif self.act == "diverge":
            from xmodel_core.training import step

            real = step.micro_batches
            step.micro_batches = lambda *args: (part._replace(weight=math.nan) for part in real(*args))

    @staticmethod
    def _node() -> str:
        import ray

        return ray.get_runtime_context().get_node_id()


def fill(ballast: Path, room: int) -> None:
    """Fills a small disk with one file, but for `room` bytes."""
    with ballast.open("wb", buffering=0) as stream:
        with contextlib.suppress(OSError):
            while True:
                stream.write(bytes(4096))
        stream.truncate(stream.tell() // 4096 * 4096 - room)


def train_with(faults: list[Fault], settings: dict[str, Any]) -> None:
    """`training.loop.train` in a worker, which lasts as long as its group."""
    from xmodel_core.training import loop
    from xmodel_core.training.checkpoint import save
    from xmodel_core.training.parallel.workers import rank_and_world
    from xmodel_core.training.recorder import Recorder

    at = 0  # the step that this worker is at

    def reached(moment: str, module: Any, name: str, where: Callable[..., bool] = lambda *args: True) -> None:
        mine = [fault for fault in faults if fault.moment == moment and fault.rank == rank_and_world()[0]]
        real = getattr(module, name)

        @functools.wraps(real)
        def call(*args: Any, **named: Any) -> Any:
            for fault in mine:
                if fault.step == at and where(*args):
                    fault.happen()
            return real(*args, **named)

        setattr(module, name, call)

    def count(config: TrainingConfig, step: int, real: Callable[..., float] = loop.learning_rate) -> float:
        nonlocal at
        at = step
        return real(config, step)

    loop.learning_rate = count
    reached("step", loop, "training_step")
    reached("validation", loop, "validate")
    reached("checkpoint", save, "seal")
    reached("rows", LocalFolder, "put_tree")
    reached("end", Recorder, "close")
    loop.train(settings)


def main(root: str, settings: dict[str, Any]) -> None:
    from xmodel_core.training import loop, stage

    real = loop.train
    faults = [Fault(**fault) for fault in settings["faults"]]
    loop.train = functools.partial(train_with, faults) if faults else real
    store = Store(Path(root))
    shards = {artifact.name: artifact for artifact in store.artifacts("shards")}
    plan, tokenizer = store.artifacts("plans")[0], store.artifacts("tokenizer")[0]
    model, training = ModelConfig(**settings["model"]), TrainingConfig(**settings["training"])
    kind = {"kind": "ray", "address": settings["address"]} if settings.get("address") else {}
    with open_cluster(ClusterConfig(**kind)) as cluster:
        stage.run(TrainingInputs("small", model, training, plan, shards, tokenizer, store, cluster))


if __name__ == "__main__":
    try:
        main(sys.argv[1], json.loads(sys.argv[2]))
    except XmodelError as error:
        print(error)
        sys.exit(1)
