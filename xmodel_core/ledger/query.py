"""Queries the ledger, read-only: SQL or the name of a query in; columns and rows out.

Each call opens and closes the file, so a ledger that is replaced meanwhile is seen by the next call. Named queries
are the files in `queries/`, each with its meaning in the first line.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from xmodel_core.artifacts import Place, open_folder
from xmodel_core.errors import TransientError, XmodelError
from xmodel_core.ledger.build import LEDGER, attach
from xmodel_core.ledger.tables import TABLES, VIEWS
from xmodel_core.specs.strict import nearest

QUERIES = Path(__file__).with_name("queries")
DAMAGE = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
"""What DuckDB raises where a block of the file is not the one that was written."""
Rows = list[tuple[Any, ...]]


def named_queries() -> dict[str, str]:
    """The named queries and their meanings, by name without the @."""
    first_lines = {
        path.stem: path.read_text(encoding="utf-8").partition("\n")[0] for path in sorted(QUERIES.glob("*.sql"))
    }
    return {name: line.removeprefix("--").strip() for name, line in first_lines.items()}


@contextlib.contextmanager
def open_ledger(workspace: Place) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the workspace's ledger, read-only. XmodelError: there is none."""
    root = open_folder(workspace)
    path = root.file(LEDGER)
    if not path.is_file():
        raise XmodelError(
            "there is no ledger yet",
            expected=LEDGER,
            where=root,
            remedy="`xmodel ledger` builds it from manifests and receipts; `xmodel run` starts a workspace",
        )
    with contextlib.closing(duckdb.connect()) as connection:
        try:
            attach(connection, path)
        except duckdb.Error as error:
            raise TransientError(
                "the ledger cannot be opened",
                expected="a file that no other program has open for writing",
                found=str(error).partition("See also")[0].strip(),
                where=path,
                remedy="close that program, or run `xmodel ledger`: it builds a new one in its place",
            ) from None
        try:
            yield connection
        except DAMAGE as error:
            raise XmodelError(
                "the ledger cannot be read",
                expected="the file that `xmodel ledger` built",
                found=str(error).splitlines()[0],
                where=f"{root}/{LEDGER}",
                remedy="delete it; the next command builds it again",
            ) from None


def _text_of(query: str) -> str:
    if not query.startswith("@"):
        return query
    name, known = query[1:], named_queries()
    if name in known:
        return (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    near = nearest(name, list(known))
    raise XmodelError(
        f"there is no query {query}",
        expected=f"one of {', '.join('@' + known_name for known_name in known)}",
        remedy=f"did you mean @{near}?" if near else "`xmodel ledger` lists them",
    )


def run_query(workspace: Place, query: str, parameters: dict[str, Any] | None = None) -> tuple[list[str], Rows]:
    """The columns and rows of SQL or of a named query (`@funnel`); `parameters` fill `$name` in the SQL.

    XmodelError: no ledger, an unknown name, or SQL that DuckDB refuses (its message is quoted).
    """
    text = _text_of(query.strip())
    with open_ledger(workspace) as connection:
        try:
            result = connection.execute(text, parameters or {})
            if result.description is None:
                return [], []
            return [column[0] for column in result.description], result.fetchall()
        except DAMAGE:
            raise
        except duckdb.Error as error:
            raise XmodelError(
                "the ledger refuses this query",
                found=error,
                where=query,
                remedy="`xmodel ledger` lists tables, views and named queries; the ledger is read-only",
            ) from None


def contents(workspace: Place) -> tuple[list[str], Rows]:
    """The ledger's contents: tables and views with their row counts and meanings, then the named queries."""
    rows: Rows = []
    with open_ledger(workspace) as connection:
        for kind, names in (("table", {n: t.meaning for n, t in TABLES.items()}), ("view", VIEWS)):
            for name, meaning in names.items():
                (count,) = connection.execute(f'select count(*) from "{name}"').fetchone() or (0,)
                rows.append((name, kind, count, meaning))
    rows += [(f"@{name}", "query", None, meaning) for name, meaning in named_queries().items()]
    return ["name", "kind", "rows", "meaning"], rows
