"""The artifacts of the Prefect UI show the ledger's figures; their tables are whole and their pictures parse."""

import base64
import re
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.river import ui_artifacts
from xmodel_core.artifacts import Artifact, Identity, Store
from xmodel_core.ledger.build import refresh

Row = dict[str, Any]
# Source and language: documents that come, go as copies, go for quality; characters per document.
RIVER = {
    ("百科", "zh"): (5000, 500, 300, 600),
    ("wiki|en", "en"): (3000, 0, 100, 1500),
    ("odd", "other"): (10, 0, 10, 9),
}
PLANNED = {"百科": 1_048_576, "wiki|en": 524_288}


def flow(corpus: str) -> tuple[list[Row], list[Row]]:
    flows, drops = [], []
    for (source, lang), (came, copies, bad, chars) in RIVER.items():
        for stage, reason, gone in (("exact", "exact_copy", copies), ("quality", "too_short", bad)):
            row = {"corpus": corpus, "stage": stage, "source": source, "lang": lang}
            docs = {"docs_in": came, "docs_out": came - gone, "docs_dropped": gone}
            left = {"chars_in": came * chars, "chars_out": (came - gone) * chars, "chars_dropped": gone * chars}
            flows.append(row | docs | left | {"chars_removed_in_kept": 0})
            if gone:
                drops.append(row | {"reason": reason, "docs": gone, "chars": gone * chars})
            came -= gone
    return flows, drops


def part(run: Path, table: str, rows: list[Row]) -> None:
    path = run / "metrics" / table / "00000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def build(root: Path) -> dict[str, Artifact]:
    store = Store(root)
    made: dict[str, Artifact] = {}
    identity = Identity("corpus", "tiny", 1, {}, {})
    flows, drops = flow(identity.label)
    facts = {"sources": {source: {"documents_digest": f"d-{source}", "docs": 1} for source, _ in RIVER}}
    made["corpus"] = store.build(identity).commit({"document_flow": flows, "document_drops": drops}, facts)
    made["tokenizer"] = store.build(Identity("tokenizer", "tiny", 1, {}, {})).commit()
    shards = {}
    for source, lang in (("百科", "zh"), ("wiki|en", "en")):
        row = {"tokenizer": made["tokenizer"].label, "source": source, "lang": lang, "category": "encyclopedia"}
        sizes = {"chars": 1_000_000, "bytes": 3_000_000, "tokens": 620_000 if lang == "zh" else 250_000}
        facts = {"documents_digest": f"d-{source}", "train_tokens": sizes["tokens"]}
        built = store.build(Identity("shards", source, 1, {}, {}))
        shards[source] = built.commit({"tokenizer_fertility": [row | sizes]}, facts)
    plan = Identity("plans", "tiny", 1, {}, {source: one.fingerprint for source, one in shards.items()})
    rows = [
        {"plan": plan.label, "phase": "stable", "source": source, "lang": "zh" if source == "百科" else "en"}
        | {"weight": tokens / sum(PLANNED.values()), "supply_tokens": 2 * tokens, "planned_tokens": tokens}
        for source, tokens in PLANNED.items()
    ]
    made["plan"] = store.build(plan).commit({"mixture": rows})
    identity = Identity("runs", "tiny", 1, {}, {"plan": made["plan"].fingerprint})
    run = store.build(identity)
    part(
        run.folder.path, "runs", [{"run": identity.label, "plan": plan.label, "status": "finished", "parameters": 1000}]
    )
    eaten = [{"run": identity.label, "step": 20, "source": s, "tokens": t, "epochs": 0.5} for s, t in PLANNED.items()]
    part(run.folder.path, "consumed", eaten)
    losses = [7.25 if step == 1 else float("nan") if step == 9 else 3 + 4 / step for step in range(1, 21)]
    metrics = [
        {"run": identity.label, "step": step, "phase": "stable", "tokens": 1024 * step, "loss": value, "lr": 3e-5}
        for step, value in enumerate(losses, start=1)
    ]
    part(run.folder.path, "train_metrics", metrics)
    made["run"] = run.commit()
    own = {"model": "tiny", "run": identity.label, "step": 20, "suite": "exams", "task": "exam", "metric": "acc"}
    evals = [own | {"filter": "none", "shots": 5, "value": 0.4567, "stderr": 0.05, "n": 100}]
    published = [
        {"model": model, "parameters": 1, "suite": "exams", "task": "exam", "metric": "acc", "shots": 5}
        | {"value": value, "source": "a report"}
        for model, value in (("Model A", 0.5), ("Model B", 0.25))
    ]
    tables = {"evals": evals, "published": published}
    made["evaluation"] = store.build(Identity("evaluations", "tiny", 1, {}, {"run": made["run"].fingerprint})).commit(
        tables
    )
    refresh(root)
    return made


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def made(root: Path) -> dict[str, Artifact]:
    return build(root)


def table(page: ui_artifacts.Page, number: int = 0) -> list[Row]:
    """The cells of a Markdown table, read as GitHub's dialect has it."""
    assert isinstance(page.body, str)
    blocks = [block for block in page.body.split("\n\n") if block.startswith("|")]
    lines = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in blocks[number].splitlines()
    ]
    assert len({len(line) for line in lines}) == 1
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def picture(markdown: str) -> ET.Element:
    image = re.search(r"!\[[^\]]+\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert image
    return ET.fromstring(base64.b64decode(image[1]))


def words(svg: ET.Element) -> list[str]:
    return [text.text or "" for text in svg.iter("{http://www.w3.org/2000/svg}text")]


def test_the_trials_of_a_search_stand_with_the_best_first(tmp_path: Path) -> None:
    identity = Identity("searches", "tiny", 1, {}, {})
    losses = {0: 4.25, 1: 4.5, 2: None, 3: 4.125}
    rows = [
        {"search": identity.label, "trial": trial, "peak_lr": 0.01, "loss": loss, "diverged": loss is None}
        for trial, loss in losses.items()
    ]
    Store(tmp_path).build(identity).commit({"trials": rows})
    refresh(tmp_path)
    page = ui_artifacts.trials(tmp_path, identity.label)
    assert page.description == f"loss 4.125, best of 3 trials, 1 diverged: {identity.label}"
    assert isinstance(page.body, list)
    assert [row["trial"] for row in page.body] == [3, 0, 1, 2]


def test_the_funnel_adds_languages_up_stage_by_stage(root: Path, made: dict[str, Artifact]) -> None:
    page = ui_artifacts.funnel(root, made["corpus"].label)
    assert page.description == "7,100 of 8,010 documents kept (88.6 %)"
    exact, quality = table(page)
    assert exact == {"stage": "exact", "docs in": "8,010", "docs dropped": "500", "docs out": "7,510"} | {
        "chars out": "7,200,090",
        "zh": "4,500",
        "en": "3,000",
        "other": "10",
    }
    assert (quality["docs in"], quality["docs out"], quality["other"]) == ("7,510", "7,100", "0")
    assert isinstance(page.body, str)
    labels = words(picture(page.body))
    assert {"zh", "en", "other", "exact", "quality", "7,510", "7,100"} == set(labels)


def test_drops_name_every_reason_once(root: Path, made: dict[str, Artifact]) -> None:
    page = ui_artifacts.drops(root, made["corpus"].label)
    assert page.description == "910 documents dropped for 2 reasons"
    copies, short = table(page)
    assert (copies["reason"], copies["docs"], copies["zh"], copies["en"]) == ("exact_copy", "500", "500", "0")
    assert (short["reason"], short["docs"], short["zh"], short["other"]) == ("too_short", "410", "300", "10")


def test_the_balance_stands_beside_the_mixture(root: Path, made: dict[str, Artifact]) -> None:
    page = ui_artifacts.balance(root, made["corpus"].label, {"百科": 2 / 3})
    assert page.description == "zh 36.7 %, en 63.3 % of the characters kept"
    rows = {row["source"]: row for row in table(page)}
    assert {name: row["mixture share"] for name, row in rows.items()} == {"百科": "66.7 %", "wiki|en": "0.0 %"}
    assert rows["百科"]["docs"] == "4,200"


def test_fertility_begins_with_the_languages(root: Path, made: dict[str, Artifact]) -> None:
    page = ui_artifacts.fertility(root, made["tokenizer"].label)
    assert page.description == "zh 0.6200, en 0.2500 tokens per character"
    assert [row["lang"] for row in table(page)] == ["zh", "en"]
    assert {row["source"]: row["tokens"] for row in table(page, 1)} == {"百科": "620,000", "wiki|en": "250,000"}


def test_the_mixture_compares_what_was_planned_and_consumed(root: Path, made: dict[str, Artifact]) -> None:
    page = ui_artifacts.mixture(root, made["run"].label)
    assert page.description == "1,572,864 of 1,572,864 tokens consumed"
    assert [(row["source"], row["consumed tokens"]) for row in table(page)] == [
        ("百科", "1,048,576"),
        ("wiki|en", "524,288"),
    ]


def test_the_loss_is_drawn_and_a_step_that_is_no_number_does_not_spoil_it(
    root: Path, made: dict[str, Artifact]
) -> None:
    page = ui_artifacts.loss(root, made["run"].label)
    assert page.description == "loss 7.250 → 3.200 in 20 steps"
    assert {row["lr"] for row in table(page)} == {"3e-05"}
    assert "nan" in {row["loss"] for row in table(page)}
    assert isinstance(page.body, str)
    labels = words(picture(page.body))
    assert {"20 steps", "3.200"} <= set(labels)
    assert not any("nan" in word for word in labels)


def test_the_leaderboard_puts_ours_among_the_published(root: Path, made: dict[str, Artifact]) -> None:
    page = ui_artifacts.leaderboard(root, made["run"].label)
    assert page.description == f"1 score among 2 published: {made['run'].label}"
    assert isinstance(page.body, list)
    assert {row["model"]: (row["value"], row["source"]) for row in page.body} == {
        f"{made['run'].label}, step 20": (0.4567, "this workspace"),
        "Model A": (0.5, "a report"),
        "Model B": (0.25, "a report"),
    }


def test_the_report_is_named_by_its_path() -> None:
    page = ui_artifacts.report_path("/work space/reports/tiny-12345678/index.html")
    assert page.description.startswith("tiny-12345678")
    assert isinstance(page.body, str)
    assert "\n/work space/reports/tiny-12345678/index.html\n" in page.body


def test_an_unknown_label_gives_pages_without_figures(root: Path, made: dict[str, Artifact]) -> None:
    balance = partial(ui_artifacts.balance, mixture_shares={})
    for page in (
        ui_artifacts.funnel,
        ui_artifacts.drops,
        balance,
        ui_artifacts.fertility,
        ui_artifacts.mixture,
        ui_artifacts.loss,
    ):
        body = page(root, "nobody-00000000").body
        assert isinstance(body, str)
        assert "Nothing." in body


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=30))
def test_every_loss_lies_inside_its_picture(losses: list[float]) -> None:
    svg = picture(
        ui_artifacts.loss_curve([{"step": step, "loss": value} for step, value in enumerate(losses, start=1)])
    )
    line = svg.find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == len(losses)
    assert all(0 <= x <= float(svg.attrib["width"]) and 0 <= y <= float(svg.attrib["height"]) for x, y in points)
    heights = [y for _, (_, y) in sorted(zip(losses, points, strict=True))]
    assert heights == sorted(heights, reverse=True)
    assert len(words(svg)) <= 20


@given(
    st.lists(
        st.fixed_dictionaries({"zh": st.integers(0, 10**12), "en": st.integers(0, 10**12)}), min_size=1, max_size=8
    )
)
def test_bars_never_leave_their_picture(stages: list[dict[str, int]]) -> None:
    lines = [
        {"stage": f"s{i}", "docs_in": sum(kept.values()), "docs_out": sum(kept.values()), **kept}
        for i, kept in enumerate(stages)
    ]
    svg = picture(ui_artifacts.bars(lines, ["zh", "en"]))
    for bar in list(svg.iter("{http://www.w3.org/2000/svg}rect"))[1:]:
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= float(svg.attrib["width"])
        assert float(bar.attrib["y"]) + float(bar.attrib["height"]) <= float(svg.attrib["height"])
