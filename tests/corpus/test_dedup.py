"""Copies, exact and near, over all sources: each is found, told with the document that stands for it, and no other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.artifacts import Store
from xmodel_core.corpus.config import CorpusConfig, NearConfig
from xmodel_core.corpus.dedup import exact_copies, near_copies
from xmodel_core.corpus.layout import lay_out
from xmodel_core.corpus.signature import signatures

BANDS, ROWS = 20, 6
Row = dict[str, Any]


def edited(text: str, share: float, other: str) -> str:
    """A text with this share of its sentences, at its end, taken from another text."""
    mine, theirs = text.split(". "), other.split(". ")
    keep = round(len(mine) * (1 - share))
    return ". ".join(mine[:keep] + theirs[: len(mine) - keep])


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
    first, *rest = signatures(lay_out([original, *others]), BANDS * ROWS)
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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=30))
def test_near_copies_are_the_connected_components_and_the_first_stands_for_each(rows: list[list[int]]) -> None:
    # Two bands of two entries at threshold a half: two documents are copies if a band of theirs is equal.
    entries = np.array(rows, np.uint32).reshape(-1, 4)
    found = near_copies(entries, bands=2, threshold=0.5)
    wanted = list(range(len(rows)))
    for _ in rows:
        for a, one in enumerate(rows):
            for b, other in enumerate(rows):
                if one[:2] == other[:2] or one[2:] == other[2:]:
                    wanted[a] = wanted[b] = min(wanted[a], wanted[b])
    assert found.tolist() == wanted


def test_texts_without_words_are_like_no_other() -> None:
    entries = signatures(lay_out(["", "★☆★", "…", ""]), BANDS * ROWS)
    assert near_copies(entries, BANDS, 0.7).tolist() == [0, 1, 2, 3]
