"""`xmodel hparam-search`: from the river's own text to a page, and its price printed before."""

import json
from pathlib import Path

import pytest

from tests.conftest import Xmodel
from tests.river.conftest import SMALL
from xmodel_core.ledger.query import run_query

MUP = ("model.scale_emb=12", "model.scale_depth=1.4", "model.dim_model_base=96", "model.initializer_range=0.1")
QUICK = ("training.warmup_steps=2", "training.stable_steps=6", "training.decay_steps=2", "search.trials=3")


def settings(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


@pytest.mark.slow
@pytest.mark.xdist_group("river")
def test_a_search_through_the_command(fresh_river: Path, xmodel: Xmodel, xmodel_process: Xmodel) -> None:
    words = ("hparam-search", SMALL, *settings(*MUP, *QUICK, "cluster.workers=1"))
    done = xmodel(*words, "--json", workspace=fresh_river)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 trials of" in done.stderr and "40,960 tokens" in done.stderr
    printed = json.loads(done.stdout)
    assert Path(printed["report_page"]).is_file()
    assert printed["search"] in Path(printed["report_page"]).read_text()
    columns, rows = run_query(fresh_river, "@trials")
    assert {row[columns.index("search")] for row in rows} == {printed["search"]}
    assert sorted(row[columns.index("trial")] for row in rows) == [0, 1, 2, 3]
    best = min((row for row in rows if row[columns.index("trial")]), key=lambda row: row[columns.index("loss")])
    assert best[columns.index("trial")] == printed["best"]["trial"]
    assert not run_query(fresh_river, "@books")[1]

    again = xmodel_process(*words, workspace=fresh_river)
    assert again.returncode == 0 and "search small" not in again.stderr  # found again, not searched again
    assert printed["report_page"] in again.stdout and "dim_model_base" in again.stdout


def test_mistakes_cost_no_time(tmp_path: Path, xmodel: Xmodel) -> None:
    plain = xmodel("hparam-search", SMALL, workspace=tmp_path)
    assert plain.returncode == 1 and "not in muP" in plain.stderr and "Traceback" not in plain.stderr
    none = xmodel("hparam-search", SMALL, *settings(*MUP, "search.trials=0"), workspace=tmp_path)
    assert none.returncode == 1 and "search.trials" in none.stderr and "Traceback" not in none.stderr
    assert not list(tmp_path.iterdir())
