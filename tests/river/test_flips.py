"""Every byte of a finished workspace is under a digest that something checks: one-byte flips, and larger damage, are
found by `xmodel audit`, named with what to do, and end no command in a traceback."""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.commands.audit_workspace import audit_workspace
from xmodel_core.artifacts import open_folder
from xmodel_core.artifacts.integrity import artifact_folders, check, inspect
from xmodel_core.ledger.build import LEDGER
from xmodel_core.ledger.compare import differences

pytestmark = pytest.mark.xdist_group("river")

NO_DATA = (".ledger.lock",)
CRASHES = ("Traceback", "please report it")


def data_files(workspace: Path) -> list[Path]:
    """Every file with bytes that anything reads: memories of digests are read line by line, each with a checksum."""
    files = sorted(path for path in workspace.rglob("*") if path.is_file() and path.stat().st_size)
    return [path for path in files if not path.relative_to(workspace).parts[0].startswith((".", "digests"))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one bit of one byte changed."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


@contextmanager
def damaged(path: Path, change: Callable[[bytes], bytes | None]) -> Iterator[None]:
    """The file changed in place, with the times that it had, as a disk that forgets would; then as it was."""
    before, stat = path.read_bytes(), path.stat()
    after = change(before)
    assert after != before
    try:
        if after is None:
            path.unlink()
        else:
            path.write_bytes(after)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def found_in(workspace: Path, path: Path) -> list[str]:
    """What an audit says that looks at this file's artifact alone, or at the ledger: thousands of whole audits would
    read the rest of the workspace each time."""
    place = path.relative_to(workspace).as_posix()
    if place == LEDGER:
        return differences(workspace)
    artifacts, _ = artifact_folders(open_folder(workspace))
    (artifact,) = [artifact for artifact in artifacts if place.startswith(f"{artifact.place}/")]
    inspection = inspect(artifact)
    ours = [file for file in inspection.listed if file.name == place]
    return [*map(str, inspection.damaged), *[str(damage) for file in ours if (damage := check(file))]]


def count_missed(workspace: Path, files: list[Path], weights: list[int] | None, flips: int, seed: int) -> Counter[str]:
    """Flips that were not found, by file. In the ledger, bytes of blocks that hold nothing are nobody's."""
    rng, missed = random.Random(seed), Counter[str]()
    ledger = (workspace / LEDGER).stat().st_size
    for _ in range(flips):
        (path,) = rng.choices(files, weights)
        with damaged(path, lambda data: flipped(data, rng)):
            if not found_in(workspace, path):
                missed[path.relative_to(workspace).as_posix()] += 1
    assert missed[LEDGER] <= ledger
    return missed


def test_every_flipped_bit_is_found(fresh_river: Path) -> None:
    assert audit_workspace(open_folder(fresh_river))["damaged"] == []
    files = [path for path in data_files(fresh_river) if path.name != LEDGER]
    assert not count_missed(fresh_river, files, None, 30, 1)
