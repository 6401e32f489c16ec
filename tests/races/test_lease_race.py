"""The lease under fire: never two holders, whoever comes at once, is killed, or sleeps for longer than the timeout."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SILENT_SECONDS = 1.0


class Holder:
    """A process that takes leases when it is told (see `holders`)."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, "-m", "tests.races.holders", str(folder), str(SILENT_SECONDS)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[list[Holder]]:
    started = [Holder(tmp_path) for _ in range(8)]
    assert [holder.answer() for holder in started] == ["ready"] * 8
    yield started
    for holder in started:
        holder.process.kill()
        holder.process.communicate()


def race(holders: list[Holder], name: str) -> Holder:
    """All want it at once; the one that got it."""
    for holder in holders:
        holder.tell(name)
    answers = [holder.answer() for holder in holders]
    assert sorted(answers) == ["held", *["refused"] * (len(holders) - 1)], answers
    return holders[answers.index("held")]


def end(holder: Holder, folder: Path) -> None:
    """The holder writes; it is the last to have done so, and nothing of it stays."""
    holder.tell("end")
    assert holder.answer() == "ended"
    assert (folder / "log").read_text().splitlines()[-1] == str(holder.process.pid)
    assert not (folder / "lease.json").exists()


def sleeper_is_overtaken(holders: list[Holder], folder: Path) -> None:
    """The holder is stopped for longer than the timeout: one of the others follows, and the sleeper finds out before
    it writes."""
    sleeper = race(holders, folder.name)
    sleeper.signal(signal.SIGSTOP)
    time.sleep(1.2 * SILENT_SECONDS)
    (folder / "alone").unlink()
    follower = race([holder for holder in holders if holder is not sleeper], folder.name)
    sleeper.tell("end")
    sleeper.signal(signal.SIGCONT)
    assert sleeper.answer() == "lost"
    assert not (folder / "log").exists()
    end(follower, folder)


def killed_is_followed_at_once(holders: list[Holder], folder: Path) -> None:
    """The holder is killed: one of the others follows without waiting for the timeout."""
    killed = race(holders, folder.name)
    killed.signal(signal.SIGKILL)
    killed.process.communicate()
    (folder / "alone").unlink()
    holders.remove(killed)
    end(race(holders, folder.name), folder)
    holders.append(Holder(folder.parent))
    assert holders[-1].answer() == "ready"


@pytest.mark.slow
def test_a_few_rounds(holders: list[Holder], tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}").mkdir()
        end(race(holders, f"{number}"), tmp_path / f"{number}")
    for name, act in {"slept": sleeper_is_overtaken, "killed": killed_is_followed_at_once}.items():
        (tmp_path / name).mkdir()
        act(holders, tmp_path / name)


@pytest.mark.exhaustive
def test_two_hundred_rounds_by_eight_processes(holders: list[Holder], tmp_path: Path) -> None:
    for number in range(200):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        if number % 10 == 3:
            sleeper_is_overtaken(holders, folder)
        elif number % 10 == 7:
            killed_is_followed_at_once(holders, folder)
        else:
            end(race(holders, folder.name), folder)
