"""The page: everything the ledger knows about a run, self-contained, the same bytes for the same rows."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from xmodel_core.artifacts import Artifact, Identity, Store
from xmodel_core.errors import XmodelError
from xmodel_core.ledger.build import refresh
from xmodel_core.ledger.query import run_query
from xmodel_core.report import figures, stage
from xmodel_core.report.facts import Subject
from xmodel_core.report.render import render

Made = tuple[Store, dict[str, Artifact]]
pytestmark = pytest.mark.xdist_group("report")
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """What a browser would fetch, the text it would show, and whether tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def page_of(made: Made) -> str:
    store, parts = made
    return (stage.run("quickstart", parts, store).path / "index.html").read_text(encoding="utf-8")


def test_the_page_fetches_nothing_and_is_well_formed(made: Made) -> None:
    reader = read(page_of(made))
    assert all(address.startswith("#") for address in reader.addresses)
    assert not {"script", "link", "iframe", "img"} & set(reader.tags)
    assert "@import" not in reader.text and not re.search(r"url\((?!#)", reader.text)
    assert reader.tags.count("svg") == 4  # river, training, validation, scores


def test_the_page_shows_what_the_ledger_knows(made: Made) -> None:
    store, parts = made
    text = read(page_of(made)).text
    kept = run_query(store.root, "select sum(docs_out) from funnel where stage = 'mask'")[1][0][0]
    planned = run_query(store.root, "select sum(planned_tokens) from mixture")[1][0][0]
    for shown in (
        f"{kept:,}",
        f"{planned:,}",
        "6.32 M",
        "1.64 M",
        "near_copy",
        "百科",
        "the books close",
        "all 2 gates passed",
    ):
        assert shown in text
    assert all(artifact.label in text for artifact in parts.values())
    assert "0.830" in text and "0.612" in text and "a report, table 3" in text
    assert "1 min 18 s training" in text  # 200 rows of 0.39 s


def test_the_figures_keep_chinese_as_text(made: Made) -> None:
    assert re.search(r"<text[^>]*>[^<]*百科</text>", page_of(made))


def test_the_same_rows_give_the_same_bytes(made: Made) -> None:
    store, parts = made
    subject = Subject(**{part: artifact.label for part, artifact in parts.items()})
    assert render(store.root, subject) == page_of(made)


def test_ids_of_figures_never_meet(made: Made) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page_of(made))
    assert len(ids) == len(set(ids))


def test_a_report_is_written_once(made: Made) -> None:
    store, parts = made
    first = stage.run("quickstart", parts, store)
    assert store.find(stage.identity("quickstart", parts)) == first
    written = (first.path / "index.html").stat().st_mtime_ns
    assert stage.run("quickstart", parts, store) == first
    assert (first.path / "index.html").stat().st_mtime_ns == written
    without = {part: artifact for part, artifact in parts.items() if part != "evaluation"}
    assert stage.identity("quickstart", without).fingerprint != first.fingerprint


def test_what_belongs_to_a_run_is_found(made: Made) -> None:
    store, parts = made
    assert stage.inputs_of(store) == parts
    assert stage.inputs_of(store, parts["run"].label) == parts
    with pytest.raises(XmodelError, match="no finished run quickstat"):
        stage.inputs_of(store, "quickstat")
    with pytest.raises(XmodelError, match="no finished run yet"):
        stage.inputs_of(Store(store.root / "empty"))


def test_books_that_do_not_close_are_shown(fresh: Made) -> None:
    store, _ = fresh
    row = {"corpus": "broken-00000000", "stage": "read", "source": "s<b>", "lang": "en", "docs_in": 7, "docs_out": 6}
    store.build(Identity("corpus", "broken", 1, {}, {})).commit({"document_flow": [row]})
    refresh(store.root)
    text = read(page_of(fresh)).text
    assert "the books do not close" in text
    assert "broken-00000000 · read · s<b> · en" in text  # as text: what comes from data is escaped


def test_a_run_that_measured_little_still_gives_a_page(tmp_path: Path) -> None:
    refresh(tmp_path)
    page = render(tmp_path, Subject(corpus="a", tokenizer="b", plan="c", run="d"))
    assert "This run has not been evaluated" in read(page).text


def test_figures_stand_gaps_and_names_that_look_like_formulas() -> None:
    metrics = [
        {
            "step": step,
            "phase": "a$b$",
            "loss": float("nan") if step == 3 else 5.0 - step,
            "lr": None,
            "tokens_per_second": None,
        }
        for step in range(1, 5)
    ]
    assert "a$b$" in figures.training(metrics)
    rows = [{"step": 1, "source": f"源{n}$x_", "lang": "zh", "bits_per_byte": 1.0} for n in range(40)]
    assert "源0$x_" in figures.validation(rows)
    assert figures.river([{"stage": "read", "lang": "zh", "docs_in": 0, "docs_out": 0, "chars_in": 0, "chars_out": 0}])
