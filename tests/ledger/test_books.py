"""The books: a balanced workspace gives no row; each thing that can be wrong gives one that names it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xmodel_core.artifacts import Store
from xmodel_core.ledger.build import refresh
from xmodel_core.ledger.query import run_query


def unbalanced(root: Path) -> list[tuple[Any, ...]]:
    refresh(root)
    columns, rows = run_query(root, "@books")
    assert columns == ["what", "where_", "expected", "found", "difference"]
    return rows


def test_balanced_books_are_empty(books, tmp_path: Path) -> None:
    books.write(tmp_path)
    assert unbalanced(tmp_path) == []


def _change(table: str, index: int, **values: int) -> Callable[[Any], None]:
    return lambda books: getattr(books, table)[index].update(values)


def _set(table: str, key: str, value: Any) -> Callable[[Any], None]:
    return lambda books: getattr(books, table).update({key: value})


VIOLATIONS = {
    "a document lost inside a stage": (
        _change("flow", 2, docs_dropped=1),
        {("documents in = out + dropped", 10, 9), ("documents dropped = sum over reasons", 1, 2)},
    ),
    "characters lost inside a stage": (
        _change("flow", 3, chars_removed_in_kept=0),
        {("characters in = out + dropped + removed in kept", 800, 805)},
    ),
    "documents lost between two stages": (
        _change("flow", 3, docs_in=7, docs_out=7),
        {
            ("documents out of exact = in of mask", 8, 7),
            ("documents out of the last stage = documents kept", 7, 8),
        },
    ),
    "characters lost between two stages": (
        _change("flow", 6, chars_in=395, chars_out=385),
        {("characters out of exact = in of mask", 400, 395)},
    ),
    "a source's language missing from a stage": (
        lambda books: books.flow.pop(6) and books.flow.append({**books.flow[4], "stage": "mask", "lang": "code"}),
        {
            ("documents out of exact = in of mask", 4, 0),
            ("characters out of exact = in of mask", 400, 0),
            ("documents out of exact = in of mask", 0, 4),
            ("characters out of exact = in of mask", 0, 400),
        },
    ),
    "a drop without a reason": (
        lambda books: books.drops.pop(0),
        {("documents dropped = sum over reasons", 1, 0)},
    ),
    "a reason without a drop": (
        lambda books: books.drops.append({**books.drops[1], "stage": "near", "reason": "near_copy"}),
        {("documents dropped = sum over reasons", 0, 2), ("characters dropped = sum over reasons", 0, 200)},
    ),
    "dropped characters recorded wrong": (
        _change("drops", 1, chars=100),
        {("characters dropped = sum over reasons", 200, 100)},
    ),
    "a kept document not encoded": (
        _set("encoded", "news", {"documents-00000": (3, 300)}),
        {("documents kept = documents encoded", 4, 3)},
    ),
    "more documents written than the last stage let out": (
        lambda books: (_set("kept", "news", 5)(books), _set("encoded", "news", {"documents-00000": (5, 300)})(books)),
        {("documents out of the last stage = documents kept", 4, 5)},
    ),
    "tokens lost after encoding": (
        _set("encoded", "news", {"documents-00000": (4, 290)}),
        {
            ("train tokens counted = train tokens in shards", 300, 290),
            ("train tokens of shards = supply of the plan", 290, 300),
        },
    ),
    "held-out tokens counted as supply": (
        _set("supply", "wiki", 790),
        {("train tokens of shards = supply of the plan", 700, 790)},
    ),
    "planned tokens not consumed": (
        lambda books: books.consumed.pop(),
        {("tokens planned = tokens consumed", 256, 128)},
    ),
    "a source consumed that nobody planned": (
        lambda books: books.consumed.append((2, "poems", 64)),
        {("tokens planned = tokens consumed", 0, 64)},
    ),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_each_violation_is_caught(name: str, books, tmp_path: Path) -> None:
    break_it, expected = VIOLATIONS[name]
    break_it(books)
    books.write(tmp_path)
    rows = unbalanced(tmp_path)
    assert {(what, expected, actual) for what, _, expected, actual, _ in rows} == expected
    assert all(difference == actual - wanted for *_, wanted, actual, difference in rows)
    assert all(where for _, where, *_ in rows)


def test_a_run_that_is_not_finished_owes_nothing(books, tmp_path: Path) -> None:
    books.runs[0]["status"] = "running"
    books.consumed.pop()
    books.write(tmp_path)
    assert unbalanced(tmp_path) == []


def test_a_corpus_without_shards_owes_nothing(books, tmp_path: Path) -> None:
    books._corpus(Store(tmp_path))
    assert unbalanced(tmp_path) == []
