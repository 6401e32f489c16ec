"""The two verbs: results in item order whatever finishes first; a dead worker is a transient error."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from xmodel_core.cluster import ClusterConfig, open_cluster
from xmodel_core.errors import TransientError, XmodelError
from xmodel_core.progress import track


def slow_first(item: int) -> int:
    time.sleep(0.2 if item == 0 else 0)
    return item * 10


def complain(item: int) -> int:
    if item == 2:
        raise XmodelError("the third item is wrong", where="item 2")
    return item


def die(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_item_order(workers: int) -> None:
    with open_cluster(ClusterConfig(workers=workers)) as cluster:
        assert cluster.map(slow_first, range(5), "counting", sizes=[1, 1, 9, 1, 1]) == [0, 10, 20, 30, 40]


def test_rounds_share_a_bar_of_the_caller_s(capsys: pytest.CaptureFixture[str]) -> None:
    with open_cluster(ClusterConfig(workers=1)) as cluster, track("all rounds", 5, "items") as bar:
        assert cluster.map(slow_first, [1, 2, 3], "a round", bar=bar) == [10, 20, 30]
        cluster.map(slow_first, [4, 5], "a round", bar=bar)
    assert "all rounds: 5/5 items" in (told := capsys.readouterr().err) and "a round" not in told


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_s_error_comes_home_whole(workers: int) -> None:
    with open_cluster(ClusterConfig(workers=workers)) as cluster:
        with pytest.raises(XmodelError, match="item 2"):
            cluster.map(complain, range(5), "counting")
        assert cluster.map(slow_first, [1, 2], "again") == [10, 20]


def test_a_dead_worker_is_transient_and_the_next_map_works() -> None:
    with open_cluster(ClusterConfig(workers=2)) as cluster:
        with pytest.raises(TransientError):
            cluster.map(die, range(3), "dying")
        assert cluster.map(slow_first, [1, 2], "again") == [10, 20]


POOL = """
import os, time
from pathlib import Path
from xmodel_core.cluster import ClusterConfig, open_cluster

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
        with pytest.raises(XmodelError, match="item 2"):
            cluster.map(complain, range(5), "counting")


def gpus_seen(item: int) -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.filterwarnings("default")  # Ray's own
def test_an_item_is_given_a_gpu_where_ray_has_any() -> None:
    import ray

    with open_cluster(ClusterConfig(kind="ray")) as cluster:
        ray.init(address="local", num_cpus=2, num_gpus=1, log_to_driver=False, include_dashboard=False)
        assert cluster.map(gpus_seen, range(3), "looking", on_gpu=True) == ["0"] * 3
        assert cluster.map(gpus_seen, range(1), "looking") != ["0"]


@pytest.mark.xdist_group("ray")
@pytest.mark.timeout(60)  # Ray itself would try for two minutes, and then end the process
@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_an_address_where_no_ray_answers_is_said(address: str) -> None:
    with (
        open_cluster(ClusterConfig(kind="ray", address=address)) as cluster,
        pytest.raises(XmodelError, match=f"found: {address}"),
    ):
        cluster.map(slow_first, range(2), "counting")
