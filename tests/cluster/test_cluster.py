"""The two verbs: results in item order whatever finishes first; a dead worker is a transient error."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xmodel_core.cluster import Cluster, ClusterConfig, open_cluster
from xmodel_core.errors import MissingInput, TransientError, XmodelError
from xmodel_core.progress import track


def slow_first(item: int) -> int:
    time.sleep(0.2 if item == 0 else 0)
    return item * 10


class OfAnotherLibrary(Exception):
    """Pickles, and cannot be loaded again."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


def fail(item: int) -> int:
    if item == 2:
        cause = OfAnotherLibrary(1, "gone")
        raise MissingInput("the third is missing", expected=("a", 1), found=cause, where=Path("item 2"))
    return item


def assert_the_error_is_raised_as_it_is(cluster: Cluster) -> None:
    with pytest.raises(MissingInput) as error:
        cluster.map(fail, range(5), "counting")
    raised = error.value
    assert type(raised) is MissingInput
    assert (raised.what, raised.expected, raised.where) == ("the third is missing", ("a", 1), Path("item 2"))
    assert str(raised.found) == "gone" and raised.remedy is None
    assert str(raised) == "the third is missing\n  expected: ('a', 1)\n  found: gone\n  where: item 2"


def die(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.fixture(scope="module", params=[1, 2])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with open_cluster(ClusterConfig(workers=request.param)) as opened:
        yield opened


def test_results_come_in_item_order(cluster: Cluster) -> None:
    assert cluster.map(slow_first, range(5), "counting", sizes=[1, 1, 9, 1, 1]) == [0, 10, 20, 30, 40]


def test_a_worker_s_error_is_raised_as_it_is(cluster: Cluster) -> None:
    assert_the_error_is_raised_as_it_is(cluster)
    assert cluster.map(slow_first, [1, 2], "again") == [10, 20]


def test_rounds_share_a_bar_of_the_caller_s(capsys: pytest.CaptureFixture[str]) -> None:
    with open_cluster(ClusterConfig(workers=1)) as cluster, track("all rounds", 5, "items") as bar:
        assert cluster.map(slow_first, [1, 2, 3], bar) == [10, 20, 30]
        cluster.map(slow_first, [4, 5], bar)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("all rounds: 5/5 items") and all(line.startswith("all rounds:") for line in lines)


def test_a_dead_worker_is_transient_and_the_next_map_works() -> None:
    with open_cluster(ClusterConfig(workers=2)) as cluster:
        with pytest.raises(TransientError):
            cluster.map(die, range(3), "dying")
        assert cluster.map(slow_first, [1, 2], "again") == [10, 20]


POOL = """
import os, time
from pathlib import Path
from xmodel_core.cluster import Cluster, ClusterConfig, open_cluster

def work(place):
    Path(place, str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    import sys
    with open_cluster(ClusterConfig(workers=2)) as cluster:
        cluster.map(work, [sys.argv[1]] * 4, "sleeping")
"""


def until(condition: Callable[[], bool]) -> bool:
    return any(condition() or time.sleep(0.1) for _ in range(600))


def test_workers_end_with_a_killed_pool(tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL, encoding="utf-8")
    (places := tmp_path / "pids").mkdir()
    pool = subprocess.Popen([sys.executable, tmp_path / "pool.py", places], stderr=subprocess.DEVNULL)
    assert until(lambda: len(list(places.iterdir())) == 2)
    pool.kill()
    pool.wait()
    assert until(lambda: not any(Path("/proc", pid.name).exists() for pid in places.iterdir()))


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("default")  # Ray's own
def test_the_same_map_on_ray() -> None:
    with open_cluster(ClusterConfig(kind="ray", workers=2)) as cluster:
        assert cluster.map(slow_first, range(5), "counting") == [0, 10, 20, 30, 40]
        assert_the_error_is_raised_as_it_is(cluster)


def gpus_seen(item: int) -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("default")  # Ray's own
def test_an_item_is_given_a_gpu_where_ray_has_any() -> None:
    import ray

    with open_cluster(ClusterConfig(kind="ray")) as cluster:
        ray.init(address="local", num_cpus=2, num_gpus=1, log_to_driver=False, include_dashboard=False)
        assert cluster.map(gpus_seen, range(3), "counting", on_gpu=True) == ["0"] * 3
        assert cluster.map(gpus_seen, range(1), "counting") != ["0"]


@pytest.mark.xdist_group("ray")
@pytest.mark.timeout(60)  # Ray itself would try for two minutes, and then end the process
@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.parametrize("address", [None, "nowhere"])
def test_an_address_where_no_ray_answers_is_named(address: str | None) -> None:
    with socket.socket() as silent:  # bound and not listening: it refuses connections, and nobody else takes the port
        silent.bind(("127.0.0.1", 0))
        address = address or f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            open_cluster(ClusterConfig(kind="ray", address=address)) as cluster,
            pytest.raises(XmodelError, match=f"found: {address}") as error,
        ):
            cluster.map(slow_first, range(2), "counting")
    assert error.value.where == "cluster.address"
