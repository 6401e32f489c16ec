"""The labelled documents: what was read and judged before any rule was asked is what the rules decide."""

from pathlib import Path

import numpy as np
import pytest
from datatrove.data import Document

from tests.corpus.real_documents import Label, declared, half_of, read_labels, real_documents
from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.decide.decisions import ADMITTED
from xmodel_core.corpus.measure.features import FEATURES
from xmodel_core.corpus.measure.scan import Scan
from xmodel_core.corpus.rules import KEPT, judge

# What was measured (docs/quality.md), less a small margin: a share of the weights of the documents to keep, and shares
# of the documents to drop.
LEAST = {
    "clean kept, weighted": 0.985,
    "clean kept, as labelled": 0.87,
    "wrong language dropped": 0.88,
    "gibberish and repetition dropped": 0.8,
}


def test_labels_are_whole() -> None:
    labels = read_labels()
    assert len({label.key for label in labels}) == len(labels) >= 400
    assert {label.verdict for label in labels} == {"keep", "drop"}
    assert all(label.half == half_of(*label.key) and label.weight >= 1 for label in labels)
    chinese = sum(label.lang == "zh" for label in labels)
    assert 0.4 < chinese / len(labels) < 0.6


def dropped(labels: list[Label], documents: dict[str, dict[str, str]]) -> set[tuple[str, str]]:
    """The keys of the documents that the language check or a rule drops, copies judged one by one."""
    texts = [Document(text=documents[label.source][label.id], id=label.id) for label in labels]
    rows = [document.metadata for document in Scan().run(texts)]
    gone = set()
    for label, row in zip(labels, rows, strict=True):
        source = declared(label.source)
        columns = {name: np.array([row[name]]) for name in FEATURES}
        policy = "code" if source == "code" else "prose"
        reason = judge(columns, np.array([row["lang"]], object), policy, CorpusConfig())[0]
        if row["lang"] not in ADMITTED[source] or reason != KEPT:
            gone.add(label.key)
    return gone


@pytest.mark.slow
@pytest.mark.shared_data
def test_language_and_rules_decide_as_was_labelled(shared_data: Path) -> None:
    labels = [label for label in read_labels() if not label.source.startswith("web_")]
    gone_keys = dropped(labels, real_documents(shared_data, web=False))

    def share(some: list[Label], gone: bool, weighted: bool = False) -> float:
        weights = [label.weight if weighted else 1.0 for label in some]
        right = [weight for label, weight in zip(some, weights, strict=True) if (label.key in gone_keys) == gone]
        return sum(right) / sum(weights)

    clean = [label for label in labels if label.verdict == "keep"]
    bad = {kind: [x for x in labels if x.verdict == "drop" and x.kind == kind] for kind in {x.kind for x in labels}}
    measured = {
        "clean kept, weighted": share(clean, gone=False, weighted=True),
        "clean kept, as labelled": share(clean, gone=False),
        "wrong language dropped": share(bad["wrong_language"], gone=True),
        "gibberish and repetition dropped": share(bad["gibberish"] + bad["repetition"], gone=True),
    }
    print(measured)
    assert {name: value for name, value in measured.items() if value < LEAST[name]} == {}
