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
from xmodel_core.artifacts.integrity import ArtifactFiles, artifact_folders, check, inspect
from xmodel_core.ledger.build import LEDGER
from xmodel_core.ledger.compare import differences

pytestmark = pytest.mark.xdist_group("river")

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


def found_in(workspace: Path, artifacts: list[ArtifactFiles], path: Path) -> list[str]:
    """What an audit says that looks at this file's artifact alone, or at the ledger: thousands of whole audits would
    read the rest of the workspace each time."""
    place = path.relative_to(workspace).as_posix()
    if place == LEDGER:
        return differences(workspace)
    (artifact,) = [artifact for artifact in artifacts if place.startswith(f"{artifact.place}/")]
    inspection = inspect(artifact)
    ours = [file for file in inspection.listed if file.name == place]
    return [*map(str, inspection.damaged), *[str(damage) for file in ours if (damage := check(file))]]


def missed_flips(workspace: Path, flips: int, seed: int, by_bytes: bool) -> Counter[str]:
    """Of so many flips those that were not found, by file. The file is drawn by its bytes, or each alike."""
    rng, missed, files = random.Random(seed), Counter[str](), data_files(workspace)
    weights = [path.stat().st_size if by_bytes else 1 for path in files]
    artifacts, _ = artifact_folders(open_folder(workspace))
    for path in rng.choices(files, weights, k=flips):
        with damaged(path, lambda data: flipped(data, rng)):
            if not found_in(workspace, artifacts, path):
                missed[path.relative_to(workspace).as_posix()] += 1
    return missed


def believed(missed: Counter[str]) -> Counter[str]:
    """Without the ledger's: each of its rows and views was read and compared, so those bytes are of empty blocks."""
    return Counter({name: count for name, count in missed.items() if name != LEDGER})


def test_a_flipped_bit_is_found(fresh_river: Path) -> None:
    assert audit_workspace(open_folder(fresh_river))["damaged"] == []
    assert not believed(missed_flips(fresh_river, 20, 1, by_bytes=False))


@pytest.mark.slow
@pytest.mark.parametrize("by_bytes", [False, True])
def test_every_one_of_a_sample_of_flips_is_found(by_bytes: bool, fresh_river: Path) -> None:
    assert not believed(missed_flips(fresh_river, 200, 2, by_bytes))


@pytest.mark.exhaustive
@pytest.mark.parametrize("by_bytes", [False, True])
def test_every_one_of_2000_flips_is_found(by_bytes: bool, fresh_river: Path) -> None:
    assert not believed(missed_flips(fresh_river, 2000, 3, by_bytes))
