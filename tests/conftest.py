"""What every test may use: the real corpora where they are, and a quiet, private Prefect."""

import os
import tempfile
from pathlib import Path

import pytest

# Before any test imports Prefect: its home, its server's database and its telemetry stay inside this run.
_PREFECT_HOME = tempfile.TemporaryDirectory(prefix="xmodel-tests-")
os.environ.update(
    {
        "PREFECT_HOME": _PREFECT_HOME.name,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        # Two cores: OpenMP's spinning barriers are slower than one thread (measured three to six times).
        "OMP_NUM_THREADS": "1",
    }
)
os.environ.pop("PREFECT_API_URL", None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real corpora and benchmarks; the test is skipped, by name, where they are not."""
    path = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not path.is_dir():
        pytest.skip(f"shared_data: no real corpora at {path}; set XMODEL_SHARED_DATA")
    return path
