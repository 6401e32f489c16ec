"""Every byte of a finished workspace is under a digest that something checks: one-byte flips, and larger damage, are
found by `xmodel audit`, named with what to do, and end no command in a traceback."""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.commands.audit_workspace import audit_workspace
from tests.conftest import Xmodel
from tests.river.conftest import SMALL
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


def one_of_each_kind(workspace: Path) -> dict[str, Path]:
    """For each kind of artifact a file that a shard wrote, and for runs a checkpoint's and a part of the metrics."""
    names = {
        "raw": "documents/zh_web/*",
        "benchmarks": "index.npz",
        "scans": "zh_web-00000.parquet",
        "rescans": "lines.npy",
        "pairs": "pairs.parquet",
        "corpus": "documents/zh_web-00000.parquet",
        "tokenizer": "tokenizer.model",
        "shards": "documents-00000.tokens",
        "plans": "plan.json",
        "runs": "checkpoints/step-00000120/optimizer.pt",
        "evaluations": "results/quickstart/world_qa_zh.json",
        "reports": "index.html",
    }
    assert set(names) == {path.name for path in workspace.iterdir() if path.is_dir() and path.name[0] != "."} - {
        "digests"
    }
    return {kind: sorted(workspace.glob(f"{kind}/*/{name}"))[0] for kind, name in names.items()}


@pytest.mark.slow
def test_what_an_audit_says_to_delete_is_built_again_as_it_was(fresh_river: Path, xmodel: Xmodel, ledger_of) -> None:
    files, rows = one_of_each_kind(fresh_river), ledger_of(fresh_river)
    files["metrics"] = next(fresh_river.glob("runs/*/metrics/train_metrics/step-00000120.parquet"))
    before = {kind: path.read_bytes() for kind, path in files.items()}
    rng = random.Random(5)
    for path in files.values():
        path.write_bytes(flipped(path.read_bytes(), rng))

    done = xmodel("audit", "--json", workspace=fresh_river)
    assert done.returncode == 1 and done.stderr.count("damaged") == 1
    listed = json.loads(done.stdout)["workspace"]["damaged"]
    assert {damage["file"] for damage in listed} == {
        path.relative_to(fresh_river).as_posix() for path in files.values()
    }
    shown = xmodel("audit", workspace=fresh_river)
    assert shown.returncode == 1
    for damage in listed:
        (line,) = [line for line in shown.stdout.splitlines() if line.startswith(damage["file"])]
        assert all(place in line for place in damage["delete"])

    for place in {place for damage in listed for place in damage["delete"]}:
        path = fresh_river / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = xmodel("run", SMALL, workspace=fresh_river)
    assert done.returncode == 0, done.stderr
    after = {kind: path.read_bytes() for kind, path in files.items()}
    assert {kind for kind in before if after[kind] != before[kind]} <= {"reports", "metrics"}  # they hold times
    assert ledger_of(fresh_river) == rows
    done = xmodel("audit", workspace=fresh_river)
    assert done.returncode == 0, done.stdout


def digits_flipped(data: bytes, rng: random.Random) -> bytes:
    """One digit of a JSON file made another: the flip that every JSON reader believes."""
    at = rng.choice([at for at, byte in enumerate(data) if 48 <= byte < 56])
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.slow
def test_no_command_believes_a_flip_or_ends_in_a_traceback(fresh_river: Path, xmodel: Xmodel) -> None:
    """Whole-file readers and manifests refuse damage when they are asked; bulk files are for the audit to find."""
    rng, files = random.Random(6), one_of_each_kind(fresh_river)
    (run,) = [path.name for path in (fresh_river / "runs").iterdir()]
    commands = {
        "raw": ("run", SMALL),
        "tokenizer": ("run", SMALL),
        "plans": ("audit", run),
        "shards": ("audit", run),
        "runs": ("generate", files["runs"].parent, "--prompt", "a", "--max-new-tokens", "1"),
        "corpus": ("trace", "zh_web:0"),
    }
    manifests = {kind: next(fresh_river.glob(f"{kind}/*/manifest.json")) for kind in ("corpus", "runs", "shards")}
    receipts = {kind: next(fresh_river.glob(f"{kind}/*/receipts/*.json")) for kind in ("corpus", "plans")}
    tried = [(files["raw"], commands["raw"], flipped), (files["plans"], commands["plans"], flipped)]
    tried += [(files["shards"], commands["shards"], flipped)]
    tried += [(files["runs"].with_name("model.safetensors"), commands["runs"], flipped)]
    tried += [(path, ("plan", SMALL), digits_flipped) for path in manifests.values()]
    tried += [(path, ("ledger", "@books"), digits_flipped) for path in receipts.values()]
    for path, command, flip in tried:
        with damaged(path, lambda data, flip=flip: flip(data, rng)):
            os.utime(path)  # as a tool would that wrote it
            done = xmodel(*command, workspace=fresh_river)
        said = (path.name, command, done.stdout, done.stderr)
        assert done.returncode == 1, said
        assert not any(crash in done.stderr for crash in CRASHES), said
        assert "what to do" in done.stderr, said
    for path in (files["corpus"], files["scans"], fresh_river / LEDGER):
        for command in (commands["corpus"], ("ledger", "@books"), ("report",)):
            with damaged(path, lambda data: flipped(data, rng)):
                done = xmodel(*command, workspace=fresh_river)
            assert done.returncode in (0, 1)
            assert not any(crash in done.stderr for crash in CRASHES), (path.name, command, done.stderr)
