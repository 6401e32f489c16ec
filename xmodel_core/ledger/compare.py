"""Whether the ledger says what the artifacts say: its rows against those of a new one, built aside.

Takes a workspace; gives what differs. It writes nothing there, and no ledger is replaced: `refresh` does that.
"""

import contextlib
import tempfile
from pathlib import Path

import duckdb

from xmodel_core.artifacts import Place, open_folder
from xmodel_core.ledger.build import LEDGER, attach, collect, is_current, write
from xmodel_core.ledger.tables import TABLES

VIEWS = "the views"


def differences(workspace: Place) -> list[str]:
    """What is wrong with the workspace's ledger: it cannot be read, or the tables whose rows are not those of the
    artifacts. Empty where all is well, where there is no ledger, and where it is older than the artifacts: the next
    command builds it then. XmodelError: a manifest, receipt or metrics part is damaged."""
    root = open_folder(workspace)
    ledger = root.file(LEDGER)
    if not ledger.is_file():
        return []
    try:
        rows = _rows(ledger)
    except duckdb.Error as error:
        return [str(error).splitlines()[0]]
    if not is_current(root):
        return []
    with tempfile.TemporaryDirectory(prefix="xmodel-audit-") as folder:
        aside = Path(folder) / LEDGER
        write(collect(root), aside)
        expected = _rows(aside)
    return [f"other rows of {name}" for name in expected if rows[name] != expected[name]]


def _rows(ledger: Path) -> dict[str, list[str]]:
    """Every row of every table, and what the views say, as text: of two NaN each is itself. Reading all of them checks
    the checksum of every block in use."""
    with contextlib.closing(duckdb.connect()) as connection:
        attach(connection, ledger)
        read = {table: connection.execute(f'from ledger."{table}"').fetchall() for table in TABLES}
        views = "select view_name, sql from duckdb_views() where database_name = 'ledger' and not internal order by all"
        read[VIEWS] = connection.execute(views).fetchall()
    return {name: [repr(row) for row in rows] for name, rows in read.items()}
