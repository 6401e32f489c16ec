"""Training workers: in this process, or on Ray, one group after another until the work is done.

Takes a function that continues from what is on disk, and its settings; gives nothing, or the error that ended it. An
`XmodelError` of the work is raised as it is, at once. A worker or node that is lost, or an outage, is followed by
another group, as long as groups get further.
"""

import logging
import secrets
from collections.abc import Callable
from typing import Any

from xmodel_core.errors import TransientError, XmodelError

LOSSES_WITHOUT_PROGRESS = 3
"""After so many groups in a row that got no further than the first of them, the last loss is raised."""
STARTS_WITHOUT_ROOM = 10
"""Tries, of a minute each, to place the workers before it is said that there is no room for them."""
_log = logging.getLogger(__name__)

TrainingFunction = Callable[[dict[str, Any]], None]


def run_in_process(function: TrainingFunction, settings: dict[str, Any], use_gpu: bool, backend: str) -> None:
    """Runs `function` in this process: Ray Train's local mode, which starts no Ray process."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    TorchTrainer(
        function,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=0, use_gpu=use_gpu),
        torch_config=TorchConfig(backend=backend),  # type: ignore[arg-type]
        run_config=RunConfig(storage_path=settings["ray_storage"], name="ray"),
    ).fit()


def run_in_group(
    function: TrainingFunction, settings: dict[str, Any], workers: int, resources: dict[str, float], backend: str
) -> None:
    """Runs `function` once on a group of Ray workers. `resources`: what each worker asks for. XmodelError: what a
    worker raised. TransientError: a worker was lost, or there is no room for them."""
    from ray.exceptions import RayError
    from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
    from ray.train.torch import TorchConfig, TorchTrainer

    # Ray itself would retry an error of the work as often as the loss of a worker: who is retried is decided here.
    failures = FailureConfig(max_failures=0, controller_failure_limit=STARTS_WITHOUT_ROOM)
    trainer = TorchTrainer(
        _reporting_errors,
        train_loop_config={"function": function, "settings": settings},
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=bool(resources.get("GPU")), resources_per_worker=resources
        ),
        torch_config=TorchConfig(backend=backend),
        run_config=RunConfig(storage_path=settings["ray_storage"], name=secrets.token_hex(4), failure_config=failures),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        raise _error_of(error.worker_failures) from error
    except ControllerError as error:
        raise TransientError(
            "the training workers could not be started",
            expected=f"room for {workers} workers with {resources} each on the Ray cluster",
            found=str(error.controller_failure).strip().splitlines()[0],
            remedy="run again when there is room, or --set training.workers to fewer: checkpoints are kept",
        ) from error
    except RayError as error:
        raise _lost(error) from error


def _reporting_errors(config: dict[str, Any]) -> None:
    """What each worker runs. Whatever it raises is an XmodelError, which arrives as it is: other libraries' exceptions
    often pickle well and then fail to load."""
    try:
        config["function"](config["settings"])
    except XmodelError:
        raise
    except Exception as error:
        raise XmodelError(
            "a training worker failed",
            found=f"{type(error).__name__}: {error}",
            remedy="run it again with -v for the traceback, and please report it",
        ) from error


def _lost(error: object) -> TransientError:
    return TransientError(
        "a training worker was lost",
        found=str(error).strip().splitlines()[0],
        remedy="run again: it continues from its newest checkpoint",
    )


def _error_of(failures: dict[int, Exception]) -> XmodelError:
    """The error that says why a group ended. Where one worker fails, the others lose their connection to it."""
    of_the_work = [failures[rank] for rank in sorted(failures) if isinstance(failures[rank], XmodelError)]
    for error in sorted(of_the_work, key=lambda error: isinstance(error, TransientError)):
        assert isinstance(error, XmodelError)
        if not isinstance(error, TransientError) or len(of_the_work) == len(failures):
            return error
    return _lost(next((error for error in failures.values() if not isinstance(error, XmodelError)), "unknown"))


def run_groups(run_one: Callable[[], None], progress: Callable[[], object]) -> None:
    """Runs a group, and another where it was lost. `progress`: a value that changes when the work got further.
    XmodelError of the work; TransientError where LOSSES_WITHOUT_PROGRESS groups in a row were lost."""
    losses, reached = 0, progress()
    while True:
        try:
            run_one()
            return
        except TransientError as error:
            now = progress()
            losses, reached = (1 if now != reached else losses + 1), now
            if losses >= LOSSES_WITHOUT_PROGRESS:
                raise
            found = str(error.found or "").strip()
            _log.warning("%s (%s): training goes on from its newest checkpoint", error.what, found)
