"""`xmodel report`: the page about a finished run, written now if it is not there yet."""

from pathlib import Path

from xmodel_core.artifacts import Store
from xmodel_core.ledger.build import refresh
from xmodel_core.report import stage


def report_of(root: Path, run: str | None) -> Path:
    """The page about a run of this workspace, by default the newest."""
    refresh(root)
    store = Store(root)
    parts = stage.inputs_of(store, run)
    return stage.run(parts["run"].name, parts, store).path / "index.html"
