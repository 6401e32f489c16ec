"""What a run leaves in the Prefect UI: funnel, balance, fertility, mixture, loss, scores, the report.

Takes labels; gives Prefect artifacts made of the ledger's named queries. Keys name the subject, so the
UI keeps a history of each: how the funnel of one run compares with the last.
"""

from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from xmodel_core.ledger.query import run_query


def _rows(root: Path, query: str, **only: str) -> list[dict[str, Any]]:
    columns, rows = run_query(root, query)
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return [
        {column: value for column, value in row.items() if column not in only}
        for row in found
        if all(row[column] == value for column, value in only.items())
    ]


def _table(key: str, description: str, rows: list[dict[str, Any]]) -> None:
    create_table_artifact(table=rows, key=key, description=description)


def corpus(root: Path, label: str) -> None:
    """The funnel, the drops by reason, and the balance of what is kept."""
    _table("funnel", f"{label}: documents and characters, stage by stage", _rows(root, "@funnel", corpus=label))
    _table("drops", f"{label}: what was dropped, and why", _rows(root, "@drops", corpus=label))
    _table("balance", f"{label}: what is kept, beside the mixture's shares", _rows(root, "@balance", corpus=label))


def tokens(root: Path, label: str) -> None:
    """Tokens per character and bytes per token."""
    _table("fertility", f"{label}: fewer tokens per character is better", _rows(root, "@fertility", tokenizer=label))


def run(root: Path, label: str) -> None:
    """Planned and consumed tokens, and the loss."""
    _table("mixture", f"{label}: planned and consumed tokens", _rows(root, "@mixture", run=label))
    losses = _rows(root, "@loss", run=label)
    highest = max((row["loss"] for row in losses), default=1.0)
    bars = "\n".join(
        f"{row['step']:>8,}  {row['loss']:7.3f}  {'█' * round(40 * row['loss'] / highest)}" for row in losses
    )
    create_markdown_artifact(
        key="loss", description=f"{label}: training loss", markdown=f"# {label}\n\n```\n    step     loss\n{bars}\n```"
    )


def scores(root: Path, label: str) -> None:
    """This run's scores among the published rows."""
    found = _rows(root, "@scores")
    _table("leaderboard", f"{label} among the published rows", [row for row in found if row["run"] in (label, None)])


def report(page: Path) -> None:
    """A link to the page."""
    create_link_artifact(key="report", link=page.as_uri(), link_text=page.parent.name, description="The run's report")
