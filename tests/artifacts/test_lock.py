"""The lock between processes: one holder at a time."""

import subprocess
import sys
import threading
from pathlib import Path

from xmodel_core.artifacts.lock import exclusive


def test_a_lock_has_one_holder_at_a_time_and_outlives_no_process(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / ".lock"
    script = "import sys, pathlib; from xmodel_core.artifacts.lock import exclusive\n"
    script += "with exclusive(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", script, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdin is not None
    assert other.stdout.readline() == b"held\n"
    order: list[str] = []

    def wait_for_it() -> None:
        with exclusive(file):
            order.append("taken")

    thread = threading.Thread(target=wait_for_it)
    thread.start()
    thread.join(timeout=0.2)
    order.append("killed")
    other.kill()
    thread.join(timeout=60)
    other.communicate()
    assert order == ["killed", "taken"]
