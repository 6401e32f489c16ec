"""A disk that fills up while the ledger is built: one message, the earlier ledger stays whole, and with room again the
next command brings it up to date."""

import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from xmodel_core.errors import XmodelError
from xmodel_core.ledger.build import LEDGER, refresh
from xmodel_core.ledger.query import run_query

RUNS = "select count(*) from artifacts"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a disk with this much room does to each writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a file system may not be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def artifacts(workspace: Path) -> int:
    return run_query(workspace, RUNS)[1][0][0]


def only_whole(workspace: Path) -> None:
    assert not list(workspace.glob("*.wal")) and not list(workspace.glob(".partial/*"))
    with duckdb.connect(workspace / LEDGER, read_only=True) as connection:
        connection.execute("select * from books").fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [0, 64, 256, 768])
def test_what_fits_is_whole_and_what_does_not_leaves_the_old(books, tmp_path: Path, kilobytes: int) -> None:
    workspace, later = tmp_path / "workspace", tmp_path / "later"
    books.write(workspace)
    (workspace / "plans").rename(later)  # as if the plan were made later
    earlier = artifacts(refresh(workspace).parent)
    later.rename(workspace / "plans")
    next(workspace.glob("plans/*/manifest.json")).touch()
    try:
        with files_of_at_most(kilobytes * 1024):
            refresh(workspace)
    except XmodelError as error:
        assert error.what == "the disk is full"
        assert artifacts(workspace) == earlier
    else:
        assert kilobytes >= 256 and artifacts(workspace) == earlier + 1
    only_whole(workspace)
    assert artifacts(refresh(workspace).parent) == earlier + 1


@pytest.mark.slow
@pytest.mark.parametrize("free_kilobytes", [0, 100, 300, 900])
def test_on_a_real_disk(books, tmp_path: Path, free_kilobytes: int) -> None:
    with small_disk(tmp_path / "disk", 16 << 20) as workspace:
        books.write(workspace)
        whole = artifacts(refresh(workspace).parent)
        ballast, manifest = workspace / "ballast", next(workspace.glob("plans/*/manifest.json"))
        manifest.touch()
        with ballast.open("wb", buffering=0) as stream:
            with contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(4096))
            stream.truncate(stream.tell() // 4096 * 4096 - free_kilobytes * 1024)
        try:
            refresh(workspace)
        except XmodelError as error:
            assert error.what == "the disk is full" and "MiB free" in str(error)
        else:
            assert free_kilobytes >= 300
        only_whole(workspace)
        assert artifacts(workspace) == whole
        ballast.unlink()
        manifest.touch()
        assert artifacts(refresh(workspace).parent) == whole


def test_a_ledger_that_an_earlier_version_emptied_is_built_again(books, tmp_path: Path) -> None:
    books.write(tmp_path)
    whole = artifacts(refresh(tmp_path).parent)
    (tmp_path / LEDGER).unlink()
    duckdb.connect(tmp_path / LEDGER).close()
    assert artifacts(refresh(tmp_path).parent) == whole
    (tmp_path / LEDGER).write_bytes(b"")
    assert artifacts(refresh(tmp_path).parent) == whole


def test_another_program_that_has_it_open_for_writing_is_named_and_not_waited_for(books, tmp_path: Path) -> None:
    books.write(tmp_path)
    whole = artifacts(refresh(tmp_path).parent)
    script = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    words = [sys.executable, "-c", script, str(tmp_path / LEDGER)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        with pytest.raises(XmodelError, match="the ledger cannot be opened") as caught:
            run_query(tmp_path, RUNS)
        assert str(other.pid) in str(caught.value)
        assert artifacts(refresh(tmp_path).parent) == whole
        other.communicate(b"\n")
    assert artifacts(refresh(tmp_path).parent) == whole
