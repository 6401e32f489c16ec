"""The two verbs. `Cluster.map` runs a picklable function over items and gives results in item order. `Cluster.train`
runs a training function under Ray Train's TorchTrainer: in this process for one local worker (Ray Train's local mode
starts no Ray process), in worker processes otherwise.
"""

import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread, current_thread, main_thread
from typing import Any, TypeVar

from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.cluster.training_workers import TrainingFunction, run_groups, run_in_group, run_in_process
from xmodel_core.errors import TransientError, XmodelError
from xmodel_core.progress import Bar, track

Item = TypeVar("Item")
Result = TypeVar("Result")

RAY_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_V2_ENABLED": "1"}
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}  # what fails is raised
RETRIES_ON_RAY = 3  # of one item whose worker died; bounded, since an item may kill every worker
SECONDS_TO_ANSWER = 5.0
_log = logging.getLogger(__name__)


class Cluster:
    """Opened by `open_cluster`. `workers`: items that run at a time; None: as many as the Ray cluster has cores."""

    def __init__(self, config: ClusterConfig) -> None:
        self.kind = config.kind
        self.address = config.address
        self.workers = config.workers or (None if config.kind == "ray" else os.cpu_count() or 1)
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None  # workers hold the other end, which closes when this process dies

    def close(self) -> None:
        """Ends the worker processes, and the Ray session of this process."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = self._lifeline = None
        if "ray" in sys.modules:
            import ray

            if ray.is_initialized():
                ray.shutdown()

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        progress: str | Bar,
        unit: str = "files",
        sizes: Sequence[float] | None = None,
        on_gpu: bool = False,
    ) -> list[Result]:
        """Runs `function` over `items`. `progress`: the label of a progress bar that counts `unit`s, or the caller's
        bar, for work in several rounds. `sizes`: units of each item; the largest start first. `on_gpu`: on a Ray
        cluster with GPUs each item gets one of its own; on this machine the items share what there is.

        When a worker dies, Ray gives its item to another. Without Ray the pool ends with a TransientError; finished
        shards have their receipts, so a retry resumes. An item's own exception is raised as it is.
        """
        amounts = list(sizes) if sizes is not None else [1.0] * len(items)
        results: dict[int, Result] = {}
        # The largest first, so that no long item runs alone at the end; ties keep their order.
        order = sorted(range(len(items)), key=lambda index: -amounts[index])
        with track(progress, sum(amounts), unit) if isinstance(progress, str) else nullcontext(progress) as bar:
            for index, result in self._run(function, items, order, on_gpu):
                results[index] = result
                bar.advance(amounts[index])
        return [results[index] for index in range(len(items))]

    def _run(
        self, function: Callable[[Item], Result], items: Sequence[Item], order: list[int], on_gpu: bool
    ) -> Iterator[tuple[int, Result]]:
        if self.kind == "ray":
            _start_ray(self.address, self.workers)
            yield from _run_on_ray(function, items, order, self.workers, on_gpu)
        elif self.workers == 1 or len(items) <= 1:
            for index in order:
                yield index, function(items[index])
        else:
            yield from self._run_in_processes(function, items, order)

    def _run_in_processes(
        self, function: Callable[[Item], Result], items: Sequence[Item], order: list[int]
    ) -> Iterator[tuple[int, Result]]:
        if self._pool is None:
            # forkserver: forking a process that has Prefect's threads could copy a held lock.
            context = get_context("forkserver")
            read_end, self._lifeline = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_as_a_worker, initargs=(read_end,)
            )
        waiting: dict[Future[Result], int] = {self._pool.submit(function, items[index]): index for index in order}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
        except BrokenProcessPool as error:
            self.close()
            raise TransientError(
                "a worker process died",
                found="it was killed, perhaps because memory ran out",
                remedy="run again: finished shards are kept; `--set cluster.workers=1` needs less memory",
            ) from error
        except BaseException as error:
            for future in waiting:
                future.cancel()
            if not isinstance(error, Exception) and self._lifeline is not None:  # a signal: nobody waits for them
                self._lifeline.close()
            raise

    def train(
        self,
        function: TrainingFunction,
        settings: dict[str, Any],
        workers: int,
        threads_per_worker: int,
        use_gpu: bool = False,
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        """Runs a training function, which continues from what it finds on disk, on `workers` workers. `settings` are
        plain values; results are written to disk. `progress`: a value that changes when the training got further.

        XmodelError: what the function raised, as it was. A worker or node that is lost is replaced, and the function
        called again; TransientError where that did not help.
        """
        os.environ.update(RAY_ENVIRONMENT)
        self.close()  # idle worker processes of `map` would only hold memory
        backend = "nccl" if use_gpu else "gloo"
        if self.kind == "local" and workers == 1:
            run_in_process(function, settings, use_gpu, backend)
            return
        resources = {"CPU": float(threads_per_worker), **({"GPU": 1.0} if use_gpu else {})}

        def run_one() -> None:
            _start_ray(self.address, workers * threads_per_worker)
            run_in_group(function, settings, workers, resources, backend)

        run_groups(run_one, progress)


def _as_a_worker(lifeline: Connection) -> None:
    # One thread per worker: more would compete for the cores.
    os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})
    # Ctrl-C reaches the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_the_pool, args=(lifeline,), daemon=True).start()


def _end_with_the_pool(lifeline: Connection) -> None:
    """Ends this worker when the parent was killed: nobody would take the results of what is still queued."""
    try:
        lifeline.recv()  # nothing is ever sent
    except EOFError:
        os._exit(1)


def _start_ray(address: str | None, cpus: int | None) -> None:
    """Connects to the cluster at `address` or RAY_ADDRESS, or starts one of `cpus` cores on this machine.

    XmodelError: no cluster answers at the address. TransientError: Ray did not start here.
    """
    os.environ.update(RAY_ENVIRONMENT)
    import ray

    if ray.is_initialized():
        return
    with _own_signals():
        _connect(ray, address, cpus)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps what this process does on SIGTERM. Ray replaces Python's handler by one that exits at once, and the
    system's by one that aborts the process three seconds later; only the system's own call sets it in any thread."""
    libc, action = ctypes.CDLL(None), ctypes.create_string_buffer(1024)  # larger than any system's struct sigaction
    libc.sigaction(signal.SIGTERM, None, action)
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, before)
        libc.sigaction(signal.SIGTERM, action, None)


def _connect(ray: Any, address: str | None, cpus: int | None) -> None:
    # What Ray's own processes report (a worker that died, forty lines of a node's state) it prints to stdout, whatever
    # the settings. What it means for the work is raised.
    ray._private.worker.print_to_stdstream = lambda data, **_: _log.info("Ray: %s", "\n".join(data["lines"]))
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:  # a new one: `auto` would join any cluster that runs here
        try:
            ray.init(address="local", num_cpus=cpus, **QUIET, include_dashboard=False)
        except Exception as error:  # bare: Ray 2.60's agent was not up within 15 s (ray issue 65983)
            raise TransientError(
                "Ray did not start on this machine", found=error, remedy="run again when the machine is less busy"
            ) from error
        return
    try:
        if address.removeprefix("ray://").count(":") == 1:
            # Ray itself would try for two minutes, then end this process.
            host, port = address.removeprefix("ray://").split(":")
            socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
        ray.init(address=address, **QUIET)
    except (OSError, ValueError) as error:
        raise XmodelError(
            "no Ray cluster answers",
            expected="the address of a running cluster: host:port, or auto for one on this machine",
            found=f"{address} ({str(error).splitlines()[0]})",
            where="cluster.address",
            remedy="see infra/ray/README.md, RAY_AUTH_MODE=token included; without an address this machine is used",
        ) from error


def _run_on_ray(
    function: Callable[[Item], Result], items: Sequence[Item], order: list[int], workers: int | None, on_gpu: bool
) -> Iterator[tuple[int, Result]]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    # Ray hides GPUs from a task that requests none.
    resource = "GPU" if on_gpu and ray.cluster_resources().get("GPU") else "CPU"
    remote = ray.remote(max_retries=RETRIES_ON_RAY, num_gpus=int(resource == "GPU"))(function)
    pending = list(reversed(order))
    running: dict[Any, int] = {}
    while pending or running:
        # Read each time: a cluster may grow and shrink meanwhile.
        at_a_time = workers or max(int(ray.cluster_resources().get(resource, 1)), 1)
        while pending and len(running) < at_a_time:
            index = pending.pop()
            running[remote.remote(items[index])] = index
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            try:
                result: Result = ray.get(reference)
            except RayTaskError as error:
                if isinstance(error.cause, XmodelError):
                    raise error.cause from None
                raise
            except RayError as error:
                raise TransientError(
                    "work on Ray was lost",
                    found=str(error).splitlines()[0],
                    remedy="run again: finished shards are kept",
                ) from error
            yield running.pop(reference), result


@contextmanager
def open_cluster(config: ClusterConfig) -> Iterator[Cluster]:
    """Opens the cluster that a recipe names; on exit closes what it started."""
    cluster = Cluster(config)
    try:
        yield cluster
    finally:
        cluster.close()
