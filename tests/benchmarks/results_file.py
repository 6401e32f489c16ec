"""What every benchmark ends with: the machine's name, and a file of its own under results/ for each day."""

import platform
import re
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("results")


def hardware() -> str:
    """The processor's name."""
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return (names or [platform.processor() or platform.machine()])[0]


def write_results(what: str, title: str, text: str, machine: str = "") -> None:
    """Writes results/<what>_<date>.md, or <what>_<machine>_<date>.md, and says so."""
    date = datetime.now(UTC).date().isoformat()
    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    target = RESULTS / f"{'_'.join(filter(None, (what, name, date)))}.md"
    target.write_text(f"# {title}\n\n{text}\n", encoding="utf-8")
    print(f"\nwritten to {target}")
