"""The audit finds what a stream is, and what is wrong with it."""

from typing import Any

import numpy as np
import pytest

from tests.training.made_shards import Numbered, random_lengths
from xmodel_core.errors import XmodelError
from xmodel_core.training.loader import PhaseOrder, TokenStream
from xmodel_core.training.order.audit import Audit, audit
from xmodel_core.training.order.documents import TokenRanges
from xmodel_core.training.order.shares import Shares

PHASES = [PhaseOrder("stable", 30, 16, 8, (180, 60)), PhaseOrder("decay", 20, 32, 8, (100, 60))]


def stream(packing: Any = "concat") -> TokenStream:
    lengths = {"a": random_lengths(1, [40, 35], 20), "b": [[7, 0, 600]]}
    return TokenStream(PHASES, {name: Numbered(its) for name, its in lengths.items()}, 0, packing, 64 * 20)


def audited(tokens: TokenStream, steps: int = 50) -> Audit:
    (*_, (_, found)) = audit(tokens, steps)
    assert found is not None
    return found


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
def test_it_counts_every_document_and_sums_the_stream(packing: str) -> None:
    tokens = stream(packing)
    found = audited(tokens)
    assert (found.steps, found.tokens, found.sha256) == (50, tokens.tokens_after(50), tokens.digest(50))
    read, consumed = tokens.read_tokens(50), tokens.consumed(50)
    for one in found.sources:
        assert one.tokens == len(tokens.tokens[one.source])
        assert one.read_tokens == read[one.source]
        assert one.whole_epochs == one.read_tokens // one.tokens > 0
        assert one.padding_tokens == consumed[one.source] - one.read_tokens
        assert one.largest_deviation < 1
    assert found.sources[1].documents == 2
    assert audited(tokens, 7).sha256 == tokens.digest(7)


def test_a_token_that_comes_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = stream()
    packing: Any = tokens.packed["a"]
    real = packing.sequence
    monkeypatch.setattr(packing, "sequence", lambda phase, k: real(phase, 3 if (phase, k) == (0, 5) else k))
    with pytest.raises(XmodelError, match="before the epoch's end") as error:
        audited(tokens)
    assert "a" in str(error.value)


def test_a_stretch_over_a_document_s_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = stream()
    packing: Any = tokens.packed["b"]
    monkeypatch.setattr(packing, "sequence", lambda phase, k: TokenRanges(np.array([16 * k]), np.array([16])))
    with pytest.raises(XmodelError, match="crosses the end of a document"):
        audited(tokens, 1)


def test_a_share_that_is_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    late = lambda self, step: (np.zeros(8, np.int64), np.arange(8 * step - 8, 8 * step))  # noqa: E731
    monkeypatch.setattr(Shares, "of_step", late)
    with pytest.raises(XmodelError, match="more than a sequence off"):
        audited(stream(), 10)
