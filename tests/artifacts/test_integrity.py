"""Damage to manifests, receipts and files is found and named, on disk and on an object store; nothing damaged is
believed, and what `delete` names brings it back."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from xmodel_core.artifacts import Artifact, Identity, Store, open_folder, write_shard
from xmodel_core.artifacts.integrity import Damage, artifact_folders, check, inspect
from xmodel_core.artifacts.sealed_json import open_json, seal_json
from xmodel_core.errors import XmodelError


def identity(name: str, seed: int = 1) -> Identity:
    return Identity("corpus", name, 1, {"seed": seed}, {})


def build(store: Store, name: str, seed: int = 1) -> Artifact:
    """Two shards of two files of one size, and a file that no receipt names."""
    opened = store.build(identity(name, seed))
    for part in ("one", "two"):
        if opened.finished(part):
            continue
        with write_shard(opened.folder, part) as shard:
            for kind in ("documents", "decisions"):
                shard.file(f"{kind}/{part}.bin").write_bytes(
                    random.Random(f"{name} {seed} {part} {kind}").randbytes(5000)
                )
            shard.rows("document_flow", [{"corpus": name, "docs_in": 3}])
    opened.folder.write("metrics/runs/run.parquet", f"{name} {seed}".encode())
    return opened.commit(facts={"documents": 3}, files=("metrics/*/*.parquet",))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store(tmp_path / "workspace")
    for name, seed in (("small", 1), ("small", 2), ("other", 1)):
        build(opened, name, seed)
    return opened


def audit(store: Store) -> list[Damage]:
    artifacts, others = artifact_folders(store.root)
    assert others == []
    inspections = [inspect(artifact) for artifact in artifacts]
    listed = [file for inspection in inspections for file in inspection.listed]
    damaged = [damage for inspection in inspections for damage in inspection.damaged]
    return damaged + [damage for file in listed if (damage := check(file))]


def folder(store: Store, name: str, seed: int = 1) -> Path:
    return store.folder(identity(name, seed)).path


def swap(store: Store, first: str, second: str) -> None:
    one, two = folder(store, "small") / first, folder(store, "small") / second
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


def zero(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[64:128] = bytes(64)
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Store, Path], object], list[str]]] = {
    "a missing file": (lambda _, at: (at / "documents/one.bin").unlink(), ["documents/one.bin"]),
    "a cut file": (lambda _, at: (at / "documents/one.bin").write_bytes(b"x"), ["documents/one.bin"]),
    "an empty file": (lambda _, at: (at / "documents/one.bin").write_bytes(b""), ["documents/one.bin"]),
    "a zeroed block": (lambda _, at: zero(at / "documents/one.bin"), ["documents/one.bin"]),
    "two files of one size swapped": (
        lambda store, _: swap(store, "documents/one.bin", "documents/two.bin"),
        ["documents/one.bin", "documents/two.bin"],
    ),
    "two receipts swapped": (
        lambda store, _: swap(store, "receipts/one.json", "receipts/two.json"),
        ["receipts/one.json", "receipts/two.json"],
    ),
    "a missing receipt": (lambda _, at: (at / "receipts/one.json").unlink(), ["receipts/one.json"]),
    "a cut receipt": (
        lambda _, at: (at / "receipts/one.json").write_bytes((at / "receipts/one.json").read_bytes()[:-9]),
        ["receipts/one.json"],
    ),
    "a zeroed receipt": (lambda _, at: zero(at / "receipts/one.json"), ["receipts/one.json"]),
    "a receipt that lost its seal and its mark": (
        lambda _, at: (at / "receipts/one.json").write_text(
            json.dumps({**open_json((at / "receipts/one.json").read_bytes()), "files": []})
        ),
        ["receipts/one.json"],
    ),
    "the receipt of another artifact": (
        lambda store, at: shutil.copy(folder(store, "small", 2) / "receipts/one.json", at / "receipts"),
        ["receipts/one.json"],
    ),
    "a stale receipt of the same artifact": (
        lambda _, at: (at / "receipts/one.json").write_bytes(
            seal_json({**open_json((at / "receipts/one.json").read_bytes()), "files": []})
        ),
        ["receipts/one.json"],
    ),
    "a receipt that nobody listed": (
        lambda _, at: shutil.copy(at / "receipts/one.json", at / "receipts/three.json"),
        ["receipts/three.json"],
    ),
    "a file that nobody wrote": (lambda _, at: (at / "documents/three.bin").write_bytes(b"x"), ["documents/three.bin"]),
    "the manifest of another artifact": (
        lambda store, at: shutil.copy(folder(store, "small", 2) / "manifest.json", at),
        ["manifest.json"],
    ),
    "the manifest of another kind of name": (
        lambda store, at: shutil.copy(folder(store, "other") / "manifest.json", at),
        ["manifest.json"],
    ),
    "a zeroed manifest": (lambda _, at: zero(at / "manifest.json"), ["manifest.json"]),
    "an empty manifest": (lambda _, at: (at / "manifest.json").write_bytes(b""), ["manifest.json"]),
    "a changed part of metrics": (
        lambda _, at: (at / "metrics/runs/run.parquet").write_bytes(b"small 3"),
        ["metrics/runs/run.parquet"],
    ),
    "a missing part of metrics": (
        lambda _, at: (at / "metrics/runs/run.parquet").unlink(),
        ["metrics/runs/run.parquet"],
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_named_and_mended(what: str, store: Store) -> None:
    assert audit(store) == []
    damage, names = DAMAGE[what]
    at = folder(store, "small")
    data = {path: path.read_bytes() for path in at.rglob("*.bin")}
    damage(store, at)
    damaged = audit(store)
    assert sorted(one.file for one in damaged) == [f"corpus/{at.name}/{name}" for name in names]
    for one in damaged:
        assert one.expected and one.found and one.then and one.file in str(one)
        for place in one.delete:
            (store.root.path / place).unlink(missing_ok=True)
    build(store, "small")
    assert audit(store) == []
    assert {path: path.read_bytes() for path in at.rglob("*.bin")} == data


def test_a_flipped_bit_of_manifest_or_receipt_is_not_believed(store: Store) -> None:
    rng, at = random.Random(13), folder(store, "small")
    for name in ("manifest.json", "receipts/two.json"):
        data = (at / name).read_bytes()
        for where in {0, 1, len(data) - 1, len(data) - 70, *rng.sample(range(len(data)), 60)}:
            damaged = bytearray(data)
            damaged[where] ^= 1 << rng.randrange(8)
            (at / name).write_bytes(damaged)
            with pytest.raises(XmodelError, match=Path(name).stem) as caught:
                artifact = store.find(identity("small"))
                assert artifact is not None
                artifact.receipts()
            assert caught.value.remedy
        (at / name).write_bytes(data)


def test_a_damaged_receipt_of_an_unfinished_artifact_is_no_receipt(store: Store) -> None:
    at = folder(store, "small")
    (at / "manifest.json").unlink()
    zero(at / "receipts/one.json")
    opened = store.build(identity("small"))
    assert opened.finished("one") is None and opened.finished("two") is not None


def test_a_whole_fingerprint_is_compared(store: Store) -> None:
    """Two identities may share the eight digits that name a folder."""
    wanted, at = identity("small"), folder(store, "small")
    values = open_json((at / "manifest.json").read_bytes())
    other = wanted.fingerprint[:8] + "0" * 56
    (at / "manifest.json").write_bytes(seal_json({**values, "fingerprint": other}))
    with pytest.raises(XmodelError, match="another artifact") as caught:
        store.find(wanted)
    assert caught.value.found == other


def test_a_workspace_of_before_is_read_and_said_to_be_unsealed(store: Store) -> None:
    for path in store.root.path.rglob("*.json"):
        values = open_json(path.read_bytes())
        for added in ("receipts", "artifact"):
            values.pop(added, None)
        if path.name == "manifest.json":
            del values["files"]
        path.write_text(json.dumps(values))
    artifacts, _ = artifact_folders(store.root)
    assert audit(store) == []
    assert not any(inspect(artifact).sealed for artifact in artifacts)
    found = store.find(identity("small"))
    assert found is not None and list(found.receipts()) == ["one", "two"]
    zero(folder(store, "small") / "documents/one.bin")
    assert [damage.file for damage in audit(store)] == [f"corpus/{found.label}/documents/one.bin"]


def test_what_is_being_built_is_no_damage(store: Store) -> None:
    opened = store.build(identity("new"))
    with write_shard(opened.folder, "one") as shard:
        shard.file("documents/one.bin").write_bytes(b"whole")
    (opened.folder.path / "documents/two.bin").write_bytes(b"half")
    opened.folder.write("lease.json", b"{}")
    assert audit(store) == []
    assert [inspect(one).finished for one in artifact_folders(store.root)[0]].count(False) == 1
    (opened.folder.path / "documents/one.bin").write_bytes(b"other")
    assert [damage.file for damage in audit(store)] == [f"corpus/{opened.folder.name}/documents/one.bin"]


def test_on_an_object_store_too(store: Store, object_store, tmp_path: Path) -> None:
    shutil.copytree(store.root.path, object_store.folder / "bucket/work")
    there = Store(open_folder("s3://bucket/work"))
    assert audit(there) == []
    at = there.folder(identity("small"))
    for name in ("documents/two.bin", "receipts/one.json"):
        at.write(name, bytes(64) + (at.read(name) or b"")[64:])
    at.remove("decisions/two.bin")
    files = [damage.file.removeprefix(f"corpus/{at.name}/") for damage in audit(there)]
    assert sorted(files) == ["decisions/two.bin", "documents/two.bin", "receipts/one.json"]
    assert not list((tmp_path / "cache").rglob("*.bin")), "read as a stream, not fetched"
