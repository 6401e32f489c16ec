"""Tokenizers compared: every text is counted once, under the right kind; sweeps of sizes and balances."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from xmodel_core.artifacts import Artifact, Store
from xmodel_core.cluster import Cluster, ClusterConfig
from xmodel_core.errors import XmodelError
from xmodel_core.specs import Source
from xmodel_core.tokenizer import comparison
from xmodel_core.tokenizer.comparison import open_tokenizer
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.stage import encode_source, report_tokenizer, sweep_tokenizers, train_tokenizer
from xmodel_core.tokenizer.sweep import SweepGrid, with_balance
from xmodel_core.tokenizer.tokenizer import Tokenizer

pytestmark = pytest.mark.xdist_group("tokenizer")
CONFIG = TokenizerConfig(
    vocab_size=450, sample_characters=30_000, validation_documents=4, held_out_sources=("elsewhere",)
)
SOURCES = [
    Source(name=name, lang="multi", category=category, license="CC0-1.0", uri="nowhere")
    for name, category in (("mixed", "web"), ("elsewhere", "book"))
]


@pytest.fixture
def corpus(make_corpus: Any, documents: Any) -> Artifact:
    return make_corpus(
        {
            "mixed": [documents("en", 150), documents("zh", 250) + documents("code", 40)],
            "elsewhere": [documents("zh", 30, seed=1) + documents("en", 30, seed=1)],
        }
    )


def test_two_tokenizers_on_the_same_text(corpus: Artifact, tmp_path: Path, documents: Any) -> None:
    store = Store(tmp_path / "built")
    trained = train_tokenizer("small", corpus, SOURCES, CONFIG, store)
    other = train_tokenizer("other", corpus, SOURCES, CONFIG.model_copy(update={"vocab_size": 380}), store)
    against = [other.path / "tokenizer.model", trained.path / "tokenizer.json"]
    report = report_tokenizer("small", corpus, SOURCES, trained, against, store)
    rows = report.manifest()["rows"]["tokenizer_comparison"]
    names = [trained.label, *(open_tokenizer(path)[0] for path in against)]
    assert {row["tokenizer"] for row in rows} == set(names)
    assert {row["pieces"] for row in rows if row["tokenizer"] == names[1]} == {380}

    own = [row for row in rows if row["tokenizer"] == trained.label]
    texts = [text for lang, n in (("en", 150), ("zh", 250), ("code", 40)) for _, text, _ in documents(lang, n)]
    assert sum(row["chars"] for row in own if row["source"] == "mixed") == sum(map(len, texts))
    assert {row["text"] for row in own if row["source"] == "mixed"} == {"learned_from", "unseen_document"}
    assert {(row["text"], row["category"]) for row in own if row["source"] == "elsewhere"} == {
        ("unseen_source", "book")
    }
    learned = sum(row["chars"] for row in own if row["text"] == "learned_from")
    assert learned == sum(share["characters"] for share in trained.manifest()["facts"]["sample"].values())
    ours = Tokenizer.load(trained)
    elsewhere = [text for _, text, _ in documents("zh", 30, seed=1)]
    (row,) = [row for row in own if (row["source"], row["lang"]) == ("elsewhere", "zh")]
    assert row["tokens"] == sum(map(len, ours.encode(elsewhere)))
    assert row["docs_changed"] == row["unknown_tokens"] == 0

    # The exported tokenizer.json is the same tokenizer.
    counts = [
        {
            (row["source"], row["lang"], row["text"]): [row[m] for m in comparison.MEASURES]
            for row in rows
            if row["tokenizer"] == name
        }
        for name in (names[0], names[2])
    ]
    assert counts[0] == counts[1]
    facts = report.manifest()["facts"]
    assert all(row["exact"] for row in facts["code"]) and len(facts["code"]) == 3 * len(comparison.CODE)
    assert len(facts["longest_pieces"][names[0]][0]) > 5
    assert facts["longest_pieces"][names[0]] == facts["longest_pieces"][names[2]]


def test_shards_count_what_was_not_learned_from(corpus: Artifact, tmp_path: Path) -> None:
    store = Store(tmp_path / "built")
    trained = train_tokenizer("small", corpus, SOURCES, CONFIG, store)
    compared = report_tokenizer("small", corpus, SOURCES, trained, [], store).manifest()["rows"]["tokenizer_comparison"]
    for source in SOURCES:
        alone = Cluster(ClusterConfig(workers=1))
        shards = encode_source(source, corpus, trained, CONFIG, store, alone)
        rows = [row for receipt in shards.receipts().values() for row in receipt.rows["tokenizer_fertility"]]
        for unseen, column in ((True, "unseen_tokens"), (False, "tokens")):
            of_source = [row for row in compared if row["source"] == source.name]
            wanted = sum(row["tokens"] for row in of_source if not unseen or row["text"] != "learned_from")
            assert sum(row[column] for row in rows) == wanted > 0
        assert sum(row["byte_tokens"] for row in rows) == sum(
            row["byte_tokens"] for row in compared if row["source"] == source.name
        )


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(XmodelError, match="a tokenizer cannot be read"):
        open_tokenizer(tmp_path / "tokenizer.json")


def test_a_sweep_shows_what_each_choice_costs(corpus: Artifact, tmp_path: Path) -> None:
    store = Store(tmp_path / "built")
    swept = sweep_tokenizers("small", corpus, SOURCES, CONFIG, SweepGrid([450, 380], [0.8, 0.2]), store)
    table = swept.manifest()["facts"]["trade_off"]
    assert [(row["pieces"], row["zh_share"]) for row in table] == [(380, 0.2), (380, 0.8), (450, 0.2), (450, 0.8)]
    of = {(row["pieces"], row["zh_share"]): row for row in table}
    for share in (0.2, 0.8):
        assert of[450, share]["zh"] <= of[380, share]["zh"] and of[450, share]["en"] <= of[380, share]["en"]
    lines = (swept.path / "trade_off.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["pieces", "zh_share", "zh", "en", "code", "tokenizer"] and len(lines) == 5
    assert imread(swept.path / "trade_off.png").shape[:2] == (900, 1200)
    assert {row["text"] for receipt in swept.receipts().values() for row in receipt.rows["tokenizer_comparison"]} == {
        "unseen_document",
        "unseen_source",
    }
    assert sweep_tokenizers("small", corpus, SOURCES, CONFIG, SweepGrid([380, 450], [0.2, 0.8]), store) == swept


def test_a_balance_keeps_categories_in_proportion() -> None:
    shares = {"zh": 0.3, "zh/law": 0.1, "en": 0.4, "code": 0.2}
    moved = with_balance(CONFIG.model_copy(update={"sample_shares": shares}), 500, 0.25)
    assert moved.vocab_size == 500
    assert moved.sample_shares == pytest.approx({"zh": 0.15, "zh/law": 0.05, "en": 0.6, "code": 0.2})
