"""Artifacts: complete or absent, addressed by the fingerprint of their inputs."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.artifacts import Identity, Store, fingerprint, write_shard
from xmodel_core.errors import XmodelError


def identity(**changes: object) -> Identity:
    values: dict = {
        "kind": "raw",
        "name": "world",
        "version": 1,
        "config": {"seed": 1, "deep": {"x": 0.5}},
        "inputs": {},
    }
    return Identity(**{**values, **changes})


def build_one(store: Store, wanted: Identity, text: str = "hello"):
    build = store.build(wanted)
    with write_shard(build.folder, "part-0") as shard:
        shard.file("documents/part-0.txt").write_text(text)
        shard.rows("document_flow", [{"docs_in": 1}])
        shard.facts["docs"] = 1
    return build.commit(facts={"docs": 1})


def test_an_artifact_is_found_only_after_its_manifest(tmp_path: Path) -> None:
    store, wanted = Store(tmp_path), identity()
    build = store.build(wanted)
    with write_shard(build.folder, "part-0") as shard:
        shard.file("a.txt").write_text("x")
    assert store.find(wanted) is None
    artifact = build.commit()
    assert store.find(wanted) == artifact
    assert artifact.label == f"world-{wanted.fingerprint[:8]}"
    assert list(artifact.receipts()) == ["part-0"]


def test_a_shard_that_fails_leaves_nothing(tmp_path: Path) -> None:
    build = Store(tmp_path).build(identity())
    with pytest.raises(RuntimeError), write_shard(build.folder, "part-0") as shard:
        shard.file("a.txt").write_text("x")
        raise RuntimeError("the work broke")
    assert build.finished("part-0") is None
    assert [p for p in build.folder.path.rglob("*") if p.is_file()] == []


def test_a_shard_whose_file_went_missing_is_built_again(tmp_path: Path) -> None:
    build = Store(tmp_path).build(identity())
    with write_shard(build.folder, "part-0") as shard:
        shard.file("a.txt").write_text("x")
    assert build.finished("part-0") is not None
    (build.folder.path / "a.txt").write_text("")
    assert build.finished("part-0") is None


def test_the_fingerprint_moves_with_everything_that_changes_bytes() -> None:
    prints = {
        identity().fingerprint,
        identity(version=2).fingerprint,
        identity(config={"seed": 2, "deep": {"x": 0.5}}).fingerprint,
        identity(inputs={"corpus": "00"}).fingerprint,
        identity(name="other").fingerprint,
    }
    assert len(prints) == 5
    assert identity(config={"deep": {"x": 0.5}, "seed": 1}).fingerprint == identity().fingerprint


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50)  # each is a deep value: drawing them takes the time
@given(plain)
def test_a_fingerprint_survives_the_way_through_json(value: object) -> None:
    assert fingerprint(json.loads(json.dumps(value))) == fingerprint(value)


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, float("nan"), {1: "x"}, object()])
def test_a_value_without_a_stable_form_is_refused(value: object) -> None:
    with pytest.raises(AssertionError):
        fingerprint(value)


def test_explain_names_what_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.explain(identity()) == "new"
    build_one(store, identity())
    assert store.explain(identity()) == "reused"
    assert "deep.x 0.5 → 0.7" in store.explain(identity(config={"seed": 1, "deep": {"x": 0.7}}))
    assert "input corpus" in store.explain(identity(inputs={"corpus": "1" * 64}))


def test_what_a_dead_process_left_half_written_goes_and_what_it_finished_stays(tmp_path: Path) -> None:
    script = f"""
import os
from pathlib import Path
from xmodel_core.artifacts import Identity, Store, write_shard
build = Store(Path({str(tmp_path)!r})).build(Identity("raw", "world", 1, {{}}, {{}}))
with write_shard(build.folder, "done") as shard:
    shard.file("done.txt").write_text("x")
with write_shard(build.folder, "half") as shard:
    shard.file("half.txt").write_text("x")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    wanted = Identity("raw", "world", 1, {}, {})
    store = Store(tmp_path)
    assert list(store.folder(wanted).path.glob(".partial/*"))
    build = store.build(wanted)
    assert not list(build.folder.path.glob(".partial/*"))
    assert build.finished("done") is not None
    assert build.finished("half") is None


@pytest.mark.parametrize("synced", [0, 1, 2], ids=["while it wrote", "with its file aside", "with its receipt aside"])
def test_what_a_worker_that_died_meanwhile_left_is_gone_when_the_artifact_is_done(synced: int, tmp_path: Path) -> None:
    build = Store(tmp_path).build(identity())
    folder = tmp_path / identity().kind / identity().label
    script = f"""
import os
from pathlib import Path
from xmodel_core.artifacts import open_folder, write_shard
calls = iter(range({synced}, 0, -1))
os.fsync = lambda descriptor: next(calls) == 1 and os._exit(9)
with write_shard(open_folder(Path({str(folder)!r})), "one") as shard:
    shard.file("one.txt").write_text("half")
    {synced} or os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert list(folder.glob(".partial/*"))
    with write_shard(build.folder, "one") as shard:
        shard.file("one.txt").write_text("whole")
    build.commit()
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "manifest.json",
        "one.txt",
        "receipts/one.json",
    ]
    assert not (folder / ".partial").exists()
    assert (folder / "one.txt").read_text() == "whole"


def test_two_builders_of_one_artifact_do_each_other_no_harm(tmp_path: Path) -> None:
    store, wanted = Store(tmp_path), identity()
    first, second = store.build(wanted), store.build(wanted)
    with write_shard(first.folder, "part-0") as one, write_shard(second.folder, "part-0") as two:
        one.file("a.txt").write_text("same")
        two.file("a.txt").write_text("same")
        first.commit()  # while the other still writes
    assert second.commit() == store.find(wanted)
    assert (first.folder.path / "a.txt").read_text() == "same"


def test_a_full_disk_is_one_message_and_costs_no_finished_shard(tmp_path: Path) -> None:
    build = Store(tmp_path).build(identity())
    with write_shard(build.folder, "small") as shard:
        shard.file("small.txt").write_text("x")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # what a disk with 100 kB left does to a writer
    try:
        with (
            pytest.raises(XmodelError, match="the disk is full") as caught,
            write_shard(build.folder, "large") as shard,
        ):
            shard.file("large.bin").write_bytes(bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "run again" in str(caught.value)
    assert build.finished("small") is not None
    assert build.finished("large") is None


def test_a_damaged_receipt_is_named(tmp_path: Path) -> None:
    artifact = build_one(Store(tmp_path), identity())
    (artifact.path / "receipts" / "part-0.json").write_text("{")
    with pytest.raises(XmodelError, match=r"part-0\.json"):
        artifact.receipts()


def test_digests_are_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "raw.txt"
    file.write_text("one")
    store = Store(tmp_path / "workspace")
    first = store.digest(file)
    assert Store(tmp_path / "workspace").digest(file) == first
    file.write_text("three")
    assert Store(tmp_path / "workspace").digest(file) != first
