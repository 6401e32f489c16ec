"""Copies, exact and near, over all sources: each is found and points at the one that is kept, and no other is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opencc import OpenCC

from xmodel_core.artifacts import Store
from xmodel_core.corpus.config import CorpusConfig, NearConfig, ScanConfig
from xmodel_core.corpus.copies.dedup import candidates, clusters, exact_copies
from xmodel_core.corpus.measure.scan import text_hashes
from xmodel_core.corpus.measure.signature import NO_KEY, key_names, near_keys, signatures
from xmodel_core.corpus.text.batch import make_batch

BANDS, ROWS = 20, 6
Row = dict[str, Any]


def edited(text: str, share: float, other: str) -> str:
    """A text with this share of its sentences, at its end, taken from another text."""
    own, theirs = text.split(". "), other.split(". ")
    keep = round(len(own) * (1 - share))
    return ". ".join(own[:keep] + theirs[: len(own) - keep])


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return {tuple(words[begin : begin + size]) for begin in range(len(words) - size + 1)}


def likeness(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def judged(corpus: Callable[..., Any], tmp_path: Path, jsonl: Callable, source: Callable, **texts: list[str]) -> Any:
    """The corpus of sources given as lists of texts, ids a0, a1 … b0 …; a source named zh… declares Chinese."""
    sources = []
    for name, entries in texts.items():
        (tmp_path / name).mkdir()
        records = [{"id": f"{name}{number}", "text": entry} for number, entry in enumerate(entries)]
        (tmp_path / name / "x.jsonl").write_bytes(jsonl(records))
        sources.append(source(tmp_path / name, lang="zh" if name.startswith("zh") else "en"))
    return corpus(sources, Store(tmp_path / "store"))


def verdicts(made: Any) -> dict[str, tuple[str | None, str | None]]:
    """id → (reason, source:id of the document that stands for it)"""
    return {
        row["id"]: (row["reason"], row["kept_id"] and f"{row['kept_source']}:{row['kept_id']}")
        for row in made.decisions
    }


def test_exact_copies_go_wherever_they_stand_and_the_first_stays(tmp_path: Path, text, jsonl, source, corpus) -> None:
    one, two = text("en", 8, 1), text("en", 8, 2)
    spaced = f"  {one} \n".replace("\n\n", " \n\n\n ").replace(" a ", "  a\t")
    made = judged(corpus, tmp_path, jsonl, source, a=[two, one, one], b=[spaced, text("en", 8, 3)], c=[two])
    copy = "exact_copy"
    assert verdicts(made) == {
        "a0": (None, None),
        "a1": (None, None),
        "a2": (copy, "a:a1"),
        "b0": (copy, "a:a1"),
        "b1": (None, None),
        "c0": (copy, "a:a0"),
    }
    assert {row["id"]: row["cluster_size"] for row in made.rows("documents")} == {"a0": 2, "a1": 3, "b1": 1}
    assert {row["id"]: row["text"] for row in made.rows("documents")}["a1"] == one


def test_the_copy_that_stays_is_one_that_its_source_admits(tmp_path: Path, text, jsonl, source, corpus) -> None:
    chinese, english = text("zh", 8), text("en", 8)
    made = judged(corpus, tmp_path, jsonl, source, a=[chinese, english], zh=[english, chinese])
    assert verdicts(made) == {
        "a0": ("exact_copy", "zh:zh1"),
        "a1": (None, None),
        "zh0": ("exact_copy", "a:a1"),
        "zh1": (None, None),
    }


def test_copies_of_what_nobody_keeps_stand_behind_the_first(tmp_path: Path, jsonl, source, corpus) -> None:
    made = judged(corpus, tmp_path, jsonl, source, a=["Far too short."], b=["Far too short."])
    assert verdicts(made) == {"a0": ("too_short", None), "b0": ("exact_copy", "a:a0")}


def test_a_planted_near_copy_is_found_and_a_related_document_is_not(
    tmp_path: Path, text, jsonl, source, corpus
) -> None:
    original = text("en", 40, 1).replace("\n\n", " ")
    other = text("en", 40, 2).replace("\n\n", " ")
    near, related = edited(original, 0.08, other), edited(original, 0.6, other)
    assert likeness(original, near) > 0.8
    assert 0.2 < likeness(original, related) < 0.5
    quoted = f'{text("en", 30, 4)} "{". ".join(original.split(". ")[:8])}"'
    made = judged(corpus, tmp_path, jsonl, source, a=[original, related], b=[near, quoted], c=[original.upper()])
    assert verdicts(made) == {
        "a0": (None, None),
        "a1": (None, None),
        "b0": ("near_copy", "a:a0"),
        "b1": (None, None),
        "c0": ("near_copy", "a:a0"),
    }
    assert [(row["source"], row["id"], row["kept_id"]) for row in made.samples("near_copy")] == [
        ("b", "b0", "a0"),
        ("c", "c0", "a0"),
    ]


def test_chinese_near_copies_are_found_through_punctuation_and_width(
    tmp_path: Path, text, jsonl, source, corpus
) -> None:
    original = text("zh", 30, 1)
    near = original.replace("，", ",").replace("。", "．") + "记者在１９９８年报道。"
    made = judged(corpus, tmp_path, jsonl, source, zh=[near, text("zh", 30, 2)], zhb=[original])
    assert verdicts(made) == {"zh0": (None, None), "zh1": (None, None), "zhb0": ("near_copy", "zh:zh0")}


def test_whoever_is_a_copy_points_at_a_document_that_is_kept(tmp_path: Path, text, jsonl, source, corpus) -> None:
    original = text("en", 40, 1).replace("\n\n", " ")
    near = edited(original, 0.05, text("en", 40, 2))
    # b0 is a near copy of a0, and b1 and c0 are exact copies of b0.
    made = judged(corpus, tmp_path, jsonl, source, a=[original], b=[near, near], c=[near, text("en", 9, 3)])
    assert verdicts(made) == {
        "a0": (None, None),
        "b0": ("near_copy", "a:a0"),
        "b1": ("exact_copy", "a:a0"),
        "c0": ("exact_copy", "a:a0"),
        "c1": (None, None),
    }
    assert {row["id"]: row["cluster_size"] for row in made.rows("documents")} == {"a0": 4, "c1": 1}


def test_the_threshold_decides_what_is_near(tmp_path: Path, text, jsonl, source, corpus) -> None:
    original = text("en", 60, 1).replace("\n\n", " ")
    (tmp_path / "a").mkdir()
    records = [{"id": "a", "text": original}, {"id": "b", "text": edited(original, 0.08, text("en", 9, 2))}]
    (tmp_path / "a" / "x.jsonl").write_bytes(jsonl(records))
    kept = {
        threshold: sum(
            row["kept"]
            for row in corpus(
                [source(tmp_path / "a")],
                Store(tmp_path / "store"),
                CorpusConfig(near=NearConfig(jaccard_threshold=threshold)),
            ).decisions
        )
        for threshold in (0.7, 1.0)
    }
    assert kept == {0.7: 1, 1.0: 2}


def test_the_signature_s_share_of_equal_entries_estimates_likeness(text) -> None:
    original = text("en", 60, 1).replace("\n\n", " ")
    others = [edited(original, share / 10, text("en", 60, 2)) for share in range(10)]
    first, *rest = signatures(make_batch([original, *others]), BANDS * ROWS)
    for other, signature in zip(others, rest, strict=True):
        # 120 entries: one standard deviation is at most 0.046.
        assert abs((first == signature).mean() - likeness(original, other)) < 0.16


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), max_size=40))
def test_of_equal_texts_the_best_then_the_first_survives(documents: list[tuple[int, int]]) -> None:
    hashes = np.array([[key, key * 7] for key, _ in documents], np.uint64).reshape(-1, 2)
    ranks = np.array([rank for _, rank in documents], np.int8)
    wanted = [
        min((rank, place) for place, (other, rank) in enumerate(documents) if other == key)[1] for key, _ in documents
    ]
    assert exact_copies(hashes, ranks).tolist() == wanted


@settings(max_examples=100)
@given(st.data(), st.integers(1, 30))
def test_clusters_are_the_connected_components_and_the_first_stands_for_each(data: st.DataObject, total: int) -> None:
    place = st.integers(0, total - 1)
    pairs = data.draw(st.lists(st.tuples(place, place).map(sorted), max_size=40))
    wanted = list(range(total))
    for _ in pairs:
        for a, b in pairs:
            wanted[a] = wanted[b] = min(wanted[a], wanted[b])
    assert clusters(total, np.array(pairs, np.int64).reshape(-1, 2)).tolist() == wanted


spaced = st.text(st.sampled_from("中a \n\u3000"), max_size=5)


@given(st.lists(spaced, min_size=8, max_size=40))
def test_texts_that_differ_in_blanks_only_have_one_hash(texts: list[str]) -> None:
    hashes = text_hashes(make_batch(texts))
    # Words that blanks divide stay divided.
    read = [" ".join(text.split()) for text in texts]
    assert [[one == other for other in hashes] for one in hashes] == [[a == b for b in read] for a in read]


@given(st.lists(st.sampled_from([NO_KEY, 1, 2, 1 << 40, (1 << 40) + 1, 1 << 63, 2**64 - 1]).map(int), max_size=30))
def test_candidates_connect_exactly_those_with_an_equal_key(keys: list[int]) -> None:
    pairs = candidates(np.array(keys, np.uint64))
    assert (pairs[:, 0] < pairs[:, 1]).all() and len(np.unique(pairs, axis=0)) == len(pairs) <= 2 * len(keys)
    wanted = [place if key == NO_KEY else keys.index(key) for place, key in enumerate(keys)]
    assert clusters(len(keys), pairs).tolist() == wanted


@pytest.mark.parametrize("method", ["minhash", "simhash"])
def test_texts_without_words_are_like_no_other_and_equal_ones_share_every_key(
    method: Literal["minhash", "simhash"], text
) -> None:
    keys = near_keys(make_batch(["", "★☆★", text("en"), text("en").upper(), text("zh")]), ScanConfig(near_keys=method))
    assert keys.shape == (5, 20) == (5, len(key_names(ScanConfig(near_keys=method))))
    assert (keys[:2] == NO_KEY).all() and (keys[2:] != NO_KEY).all()
    assert (keys[2] == keys[3]).all() and not (keys[2] == keys[4]).any()


def test_simhash_brings_the_very_near_together(text) -> None:
    original = text("en", 60, 1).replace("\n\n", " ")
    near, related = (edited(original, share, text("en", 60, 2)) for share in (0.02, 0.6))
    keys = near_keys(make_batch([original, near, related]), ScanConfig(near_keys="simhash"))
    assert (keys[0] == keys[1]).any() and not (keys[0] == keys[2]).any()


def test_similarity_is_measured_not_estimated(tmp_path: Path, text, jsonl, source, corpus) -> None:
    original, other = text("en", 60, 1).replace("\n\n", " "), text("en", 60, 2).replace("\n\n", " ")
    texts = [original, *(edited(original, share / 20, other) for share in range(1, 8)), original.upper()]
    made = judged(corpus, tmp_path, jsonl, source, a=texts[:4], b=texts[4:])
    rows = pq.read_table(made.pairs.path / "pairs.parquet").to_pylist()
    assert len(rows) >= 10
    for row in rows:
        assert row["jaccard"] == np.float32(likeness(texts[row["a"]], texts[row["b"]])) >= 0.5
    assert {path.name for path in made.pairs.path.iterdir()} >= {"pairs.parquet", "manifest.json"}
    assert not list(made.pairs.path.glob("shingles-*"))


def test_traditional_and_simplified_copies_are_near(tmp_path: Path, text, jsonl, source, corpus) -> None:
    simplified = text("zh", 30, 1)
    traditional = OpenCC("s2t").convert(simplified)
    made = judged(corpus, tmp_path, jsonl, source, zh=[simplified, traditional])
    assert traditional != simplified
    assert verdicts(made)["zh1"] == ("near_copy", "zh:zh0")
    assert [row["text"] for row in made.samples("near_copy")] == [traditional]
