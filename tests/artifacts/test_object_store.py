"""A workspace on an object store: the same artifacts, through a real S3 server that may go away."""

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xmodel_core.artifacts import Folder, Identity, Store, file_digest, open_folder, remote, retries, write_shard
from xmodel_core.artifacts.cache import cache_root
from xmodel_core.errors import TransientError, XmodelError

pytestmark = pytest.mark.xdist_group("s3")
WANTED = Identity("raw", "world", 1, {"seed": 1}, {})
PLACE = "s3://bucket/some/work space"


def build(place: str | Path, shards: int = 2) -> None:
    made = Store(place).build(WANTED)
    for number in range(shards):
        if made.finished(f"part-{number}") is None:
            with write_shard(made.folder, f"part-{number}") as shard:
                shard.file(f"documents/part-{number}.txt").write_bytes(b"hello" * (number + 1))
                shard.facts["docs"] = number
    made.commit(facts={"docs": shards})


def recorded(place: str | Path) -> dict[str, Any]:
    """An artifact's receipts and manifest without times, and its texts."""
    artifact = Store(place).find(WANTED)
    assert artifact is not None
    manifest = {key: value for key, value in artifact.manifest().items() if key not in ("created_at", "seconds")}
    files = {name: (receipt.files, receipt.facts) for name, receipt in artifact.receipts().items()}
    texts = {name: path.read_bytes() for name, path in artifact.files("documents/*.txt").items()}
    return {"manifest": manifest, "files": files, "texts": texts, "label": artifact.label}


def test_the_same_artifact_as_in_a_folder(object_store: Any, tmp_path: Path) -> None:
    build(tmp_path / "here")
    build(PLACE)
    assert recorded(PLACE) == recorded(tmp_path / "here")
    assert Store(PLACE).artifacts("raw") == [Store(PLACE).find(WANTED)]
    assert Store(PLACE).explain(WANTED) == "reused"
    below = object_store.folder / "bucket/some/work space/raw"
    here = {p.relative_to(tmp_path / "here/raw").as_posix() for p in (tmp_path / "here/raw").rglob("*") if p.is_file()}
    assert {path.relative_to(below).as_posix() for path in below.rglob("*") if path.is_file()} == here


def test_nothing_counts_before_its_receipt_and_manifest(object_store: Any) -> None:
    made = Store(PLACE).build(WANTED)
    with pytest.raises(RuntimeError), write_shard(made.folder, "part-0") as shard:
        shard.file("a.txt").write_text("x")
        raise RuntimeError("the work broke")
    assert made.folder.names("*") == [] and made.finished("part-0") is None
    with write_shard(made.folder, "part-0") as shard:
        shard.file("a.txt").write_text("x")
    assert made.finished("part-0") is not None and Store(PLACE).find(WANTED) is None
    made.folder.remove("a.txt")
    assert made.finished("part-0") is None, "a file went missing after its receipt"
    assert list((cache_root() / ".partial").iterdir()) == []


def test_a_file_that_is_not_what_its_receipt_says_is_refused(object_store: Any) -> None:
    build(PLACE)
    artifact = Store(PLACE).find(WANTED)
    assert artifact is not None
    stored = artifact.stored()["documents/part-1.txt"]
    assert file_digest(stored.path) == stored.entry.sha256
    stored.path.unlink()  # from the cache: it must be fetched again
    (object_store.folder / "bucket/some/work space/raw" / artifact.label / stored.entry.path).write_bytes(b"HELLOhello")
    with pytest.raises(XmodelError, match="differs from its receipt"):
        stored.path  # noqa: B018 - asking for it fetches it


FETCH = """
import sys, pickle
print(pickle.loads(bytes.fromhex(sys.argv[1])).path)
"""


def test_processes_that_want_one_file_fetch_it_once(object_store: Any) -> None:
    build(PLACE)
    artifact = Store(PLACE).find(WANTED)
    assert artifact is not None
    stored = artifact.stored()["documents/part-0.txt"]
    stored.path.unlink()
    words = [sys.executable, "-c", FETCH, pickle.dumps(stored).hex()]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert paths == {str(stored.path)} and stored.path.read_bytes() == b"hello"
    assert not (cache_root() / ".partial").exists() or list((cache_root() / ".partial").iterdir()) == []


KILLED = """
import os, sys
from xmodel_core.artifacts import Identity, Store, write_shard
made = Store(sys.argv[1]).build(Identity("raw", "world", 1, {"seed": 1}, {}))
with write_shard(made.folder, "part-0") as shard:
    shard.file("documents/part-0.txt").write_bytes(b"hello")
    shard.facts["docs"] = 0
with write_shard(made.folder, "part-1") as shard:
    shard.file("documents/part-1.txt").write_bytes(b"half")
    os._exit(9)
"""


def test_a_killed_builder_continues_from_its_finished_shards(object_store: Any, tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, PLACE]).returncode == 9
    store = Store(PLACE)
    assert store.explain(WANTED) == "goes on from finished shards"
    finished = store.build(WANTED).finished("part-0")
    build(PLACE)
    assert finished is not None and store.build(WANTED).finished("part-0") == finished
    build(tmp_path / "here")
    assert recorded(PLACE)["texts"] == recorded(tmp_path / "here")["texts"]


def test_an_outage_costs_only_time(object_store: Any) -> None:
    folder = open_folder(PLACE)
    folder.write("a.txt", b"before")
    with remote.open_stream(f"{PLACE}/a.txt") as stream:
        object_store.stop()
        starter = threading.Timer(1.0, object_store.start)
        starter.start()
        assert stream.read() == b"before"
        folder.write("b.txt", b"after")
    assert folder.read("b.txt") == b"after"
    starter.join()


def test_a_longer_outage_is_one_message(object_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "RETRY_FOR_SECONDS", 0.1)
    object_store.stop()
    with pytest.raises(TransientError, match="does not answer") as error:
        open_folder(PLACE).read("a.txt")
    assert f"{PLACE}/a.txt" in str(error.value.where) and "finished shards are kept" in str(error.value.remedy)


def request(folder: Folder, how: str) -> object:
    return {
        "list": lambda: folder.names("*/*/manifest.json"),
        "read": lambda: folder.read("a.txt"),
        "write": lambda: folder.write("a.txt", b"x"),
        "stat": lambda: folder.size("a.txt"),
    }[how]()


@pytest.mark.parametrize("how", ["list", "read", "write", "stat"])
def test_what_no_retry_can_help_fails_at_once(object_store: Any, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def pause(seconds: float) -> None:
        raise AssertionError("retried")

    monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    with pytest.raises(XmodelError, match="there is no such bucket"):
        request(open_folder("s3://nowhere/work"), how)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody else")
    with pytest.raises(XmodelError, match="refuses access") as refused:
        request(open_folder(PLACE), how)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with pytest.raises(XmodelError, match="needs credentials"):
        request(open_folder(PLACE), how)
    assert object_store.secret not in str(refused.value)


def test_other_addresses_are_refused() -> None:
    for place in ("gs://bucket/work", "s3://", "https://example.org/work"):
        with pytest.raises(XmodelError, match="this workspace cannot be used"):
            open_folder(place)
