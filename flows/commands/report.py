"""`xmodel report`: the page about a finished run, written now if it is not there yet."""

from xmodel_core.artifacts import Folder, Store
from xmodel_core.ledger.build import refresh
from xmodel_core.report import stage


def report_of(root: Folder, run: str | None) -> str:
    """Where the page about a run of this workspace lies; by default of the newest run."""
    refresh(root)
    store = Store(root)
    parts = stage.inputs_of(store, run)
    return f"{stage.run(parts['run'].name, parts, store).folder}/index.html"
