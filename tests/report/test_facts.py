"""The facts add up to the ledger's rows, and every reader gets the same ones."""

from pathlib import Path

import pytest

from flows.commands import summary
from flows.river import ui_artifacts
from xmodel_core.artifacts import Artifact, Store
from xmodel_core.ledger.query import run_query
from xmodel_core.report import facts

Made = tuple[Store, dict[str, Artifact]]
pytestmark = pytest.mark.xdist_group("report")


def test_a_table_leaves_out_what_names_its_subject(made: Made) -> None:
    store, parts = made
    columns, rows = run_query(store.root, "@mixture")
    table = facts.table(store.root, "@mixture", run=parts["run"].label)
    assert table.columns == columns[1:]
    assert [tuple(row.values()) for row in table.rows] == [row[1:] for row in rows]
    assert facts.table(store.root, "@mixture", run="nobody-00000000") == (table.columns, [])


def test_the_funnel_adds_up_over_languages(made: Made) -> None:
    store, parts = made
    flow = facts.funnel(store.root, parts["corpus"].label)
    assert flow.langs == ["zh", "en", "code"]
    for stage in flow.stages:
        rows = [row for row in flow.rows if row["stage"] == stage.stage]
        assert stage.docs_in == sum(row["docs_in"] for row in rows) == stage.docs_out + stage.docs_dropped
        assert sum(stage.docs.values()) == stage.docs_out and sum(stage.chars.values()) == stage.chars_out
    assert sum(flow.chars_read.values()) == flow.stages[0].chars_in
    dropped = sum(reason.docs for reason in facts.drops(store.root, parts["corpus"].label))
    assert dropped == sum(stage.docs_dropped for stage in flow.stages)


def test_ratios_of_fertility_are_of_sums(made: Made) -> None:
    store, parts = made
    languages, sources = facts.fertility(store.root, parts["tokenizer"].label)
    assert [row.lang for row in languages] == ["zh", "en", "code"] and all(row.category for row in sources)
    for language in languages:
        of_it = [row for row in sources if row.lang == language.lang]
        assert language.tokens == sum(row.tokens for row in of_it)
        assert language.bytes == sum(row.bytes or 0 for row in of_it)
        assert language.tokens_per_char == pytest.approx(language.measured["tokens_per_char"], abs=5.1e-5)
        assert language.bytes_per_token == pytest.approx(language.measured["bytes_per_token"], abs=5.1e-5)


def test_shares_of_languages_follow_the_mixture(made: Made) -> None:
    store, parts = made
    mixed = facts.mixture(store.root, parts["run"].label)
    assert mixed.phases == ["stable", "decay"]
    assert mixed.planned == mixed.consumed == sum(source.planned_tokens or 0 for source in mixed.sources)
    shares = facts.language_shares(facts.funnel(store.root, parts["corpus"].label), mixed)
    assert [line.what for line in shares] == ["read", "kept", "planned", "consumed"]
    assert all(sum(line.shares.values()) == pytest.approx(1) for line in shares)


def test_training_is_the_last_step_and_the_median_rate(made: Made) -> None:
    store, parts = made
    run = facts.training(store.root, parts["run"].label)
    assert (run.steps, run.tokens, len(run.metrics)) == (200, 200 * 8192, 200)
    assert run.seconds == pytest.approx(78) and run.rate == pytest.approx(21_000, abs=100)
    assert all(source.last < source.first for source in run.validation if source.first and source.last)


def test_terminal_and_ui_show_the_same_figures(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    store, parts = made
    root, run = store.root, parts["run"].label
    summary.print_queries(root, ["@mixture"], run=run)
    summary.print_balance(root, parts["corpus"].label, {})
    printed = capsys.readouterr().out
    page = ui_artifacts.mixture(root, run).body
    for source in facts.mixture(root, run).sources:
        assert f"{source.planned_tokens:,}" in printed and f"{source.planned_tokens:,}" in page
    for row in facts.balance(root, parts["corpus"].label, {}).rows:
        assert f"{row['docs']:,}" in printed and row["mixture_share"] == 0


def test_nothing_is_known_of_nobody(made: Made) -> None:
    root: Path = Path(str(made[0].root))
    assert facts.funnel(root, "nobody-00000000") == ([], [], [])
    assert facts.drops(root, "nobody-00000000") == []
    assert facts.mixture(root, "nobody-00000000") == ([], [], 0, 0)
    assert facts.training(root, "nobody-00000000").tokens is None
    assert facts.trials(root, "nobody-00000000").best_loss is None
    assert facts.run_of(root, "nobody-00000000")["recipe"] is None
