"""Digests of raw files: remembered until a file changes, in little writing, by any number of processes at once."""

import os
from multiprocessing import get_context
from pathlib import Path

import pytest

from xmodel_core.artifacts import Store, file_digest
from xmodel_core.artifacts import digests as digests_module
from xmodel_core.artifacts.digests import MOST_PARTS, DigestMemory
from xmodel_core.artifacts.local_folder import LocalFolder
from xmodel_core.cluster import ClusterConfig, open_cluster


def write_files(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number}.jsonl" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(f"{number}\n")
    return files


def parts(workspace: Path) -> list[Path]:
    return sorted((workspace / "digests").glob("*.jsonl"))


def read_again(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are digested from here on."""
    read: list[Path] = []

    def counting(file: Path) -> str:
        read.append(file)
        return file_digest(file)

    monkeypatch.setattr(digests_module, "read_digest", counting)
    return read


def test_a_file_is_read_again_only_after_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_files(tmp_path / "raw", 5)
    store = Store(tmp_path / "workspace")
    assert store.digests.of(files) == [file_digest(file) for file in files]
    read = read_again(monkeypatch)
    again = Store(tmp_path / "workspace")
    assert again.digests.known(files) == again.digests.of(files) == [file_digest(file) for file in files]
    assert read == []
    files[3].write_text("changed")
    os.utime(files[4], ns=(1, 1))
    assert again.digests.known(files)[3:] == [None, None]
    assert again.digests.of(files) == [file_digest(file) for file in files]
    assert read == files[3:]


def test_many_files_are_digested_in_tasks_and_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_files(tmp_path / "raw", 40)
    monkeypatch.setattr(digests_module, "GROUP_FILES", 8)
    with open_cluster(ClusterConfig(workers=2)) as cluster:
        assert Store(tmp_path / "w").digests.of([*files, files[0]], cluster.map) == [
            file_digest(file) for file in [*files, files[0]]
        ]
    assert len(parts(tmp_path / "w")) == 5
    assert sum(part.stat().st_size for part in parts(tmp_path / "w")) < 40 * (160 + len(str(tmp_path)))


def test_what_is_damaged_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torn last line, a flipped bit in a digest, a line of something else."""
    files = write_files(tmp_path / "raw", 4)
    expected = Store(tmp_path / "w").digests.of(files)
    (part,) = parts(tmp_path / "w")
    lines = part.read_bytes().splitlines(keepends=True)
    digit = lines[1][-10:-9]
    lines[1] = lines[1][:-10] + (b"1" if digit != b"1" else b"2") + lines[1][-9:]
    part.write_bytes(b"".join([lines[0], lines[1], b"[]\n\xff\n", lines[2], lines[3][: len(lines[3]) // 2]]))
    read = read_again(monkeypatch)
    assert Store(tmp_path / "w").digests.of(files) == expected
    assert read == [files[1], files[3]]


def test_many_parts_become_one_and_keep_only_the_newest_state(tmp_path: Path) -> None:
    files = write_files(tmp_path / "raw", MOST_PARTS + 1)
    store = Store(tmp_path / "w")
    for file in files:
        store.digest(file)
    for file in files[:8]:
        file.write_text("changed")
        store.digest(file)
    assert len(parts(tmp_path / "w")) == MOST_PARTS + 1 + 8
    digests = [file_digest(file) for file in files]
    assert Store(tmp_path / "w").digests.known(files) == digests
    (part,) = parts(tmp_path / "w")
    assert part.read_bytes().count(b"\n") == len(files)
    assert Store(tmp_path / "w").digests.known(files) == digests


def _remember(folder: Path, files: list[Path]) -> None:
    for file in files:
        DigestMemory(LocalFolder(folder)).of([file])


def test_processes_that_remember_and_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    files = write_files(tmp_path / "raw", 60)
    context = get_context("forkserver")
    processes = [context.Process(target=_remember, args=(tmp_path / "w", files[n::2])) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert Store(tmp_path / "w").digests.known(files) == [file_digest(file) for file in files]


def test_a_file_whose_name_is_no_utf8_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode("语料.jsonl".encode("gbk"))
    file.write_text("1")
    Store(tmp_path / "w").digest(file)
    assert Store(tmp_path / "w").digests.known([file]) == [file_digest(file)]
