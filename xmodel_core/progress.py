"""Progress of long work: `with track(label, total, unit) as bar: bar.advance(n)`.

On a terminal a live bar with rate and ETA; elsewhere (CI, a Prefect worker, a log file) a plain line every ten
seconds at most, so that a log stays readable. Rates are in the units passed to `advance`.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

PLAIN_LINE_EVERY_SECONDS = 10.0


class Bar(Protocol):
    """A progress bar, as the work sees it."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Adds `amount` finished units; `note` is a short remark shown beside the bar, such as the loss."""
        ...


def _human(value: float) -> str:
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.1f}{suffix}"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _rate(units: float, unit: str) -> str:
    """Units per second; per minute below 0.1 per second."""
    return f"{_human(units)} {unit}/s" if units >= 0.1 or not units else f"{_human(60 * units)} {unit}/min"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0
        return Text(_rate(speed, task.fields["unit"]), style="cyan")


class _CountColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else _human(task.total)
        return Text(f"{_human(task.completed)}/{total} {task.fields['unit']}")


class _LiveBar:
    def __init__(self, progress: Progress, label: str, total: float | None, unit: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total, unit=unit, note="")

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._progress.advance(self._task, amount)
        if note:
            self._progress.update(self._task, note=note)


class _PlainBar:
    def __init__(self, label: str, total: float | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._note = 0.0, ""
        self._started = self._last_line = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        if time.monotonic() - self._last_line >= PLAIN_LINE_EVERY_SECONDS:
            self.print_line()

    def print_line(self) -> None:
        now = time.monotonic()
        self._last_line = now
        elapsed = max(now - self._started, 1e-9)
        rate = self._done / elapsed
        line = f"{self._label}: {_human(self._done)}"
        if self._total is not None:
            line += f"/{_human(self._total)}"
        line += f" {self._unit}, {_rate(rate, self._unit)}"
        if self._total is not None and self._done < self._total and rate > 0:
            line += f", {_clock((self._total - self._done) / rate)} left"
        else:
            line += f", {_clock(elapsed)} taken"
        print(line + (f"  {self._note}" if self._note else ""), file=sys.stderr, flush=True)


@contextmanager
def track(label: str, total: float | None, unit: str) -> Iterator[Bar]:
    """Shows the progress of one task; `total` is in `unit`s, None if unknown."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            _CountColumn(),
            _RateColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        ]
        with Progress(*columns, console=console) as progress:
            yield _LiveBar(progress, label, total, unit)
    else:
        bar = _PlainBar(label, total, unit)
        yield bar
        bar.print_line()
