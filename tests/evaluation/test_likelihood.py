"""Log-likelihoods equal those of one request at a time, whatever is batched, merged or shared."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.evaluation import likelihood
from xmodel_core.evaluation.likelihood import Span, log_likelihoods, tokens_to_compute
from xmodel_core.model.network import Xmodel

pytestmark = pytest.mark.xdist_group("evaluation")  # one process makes the session fixtures and imports the harness


TIE = 1e-4
"""Log-probabilities nearer than this: which is the larger depends on a processor's last bits."""


def one_at_a_time(model: Xmodel, span: Span) -> tuple[float, bool | None]:
    """The plain definition: all logits, log-softmax, the targets' sum. Greedy is None where a target is tied."""
    with torch.no_grad():
        log_probs_TV = model(torch.tensor([span.tokens]))[0].float().log_softmax(-1)
    scored = log_probs_TV[len(span.tokens) - len(span.targets) :]
    total = sum(float(row[target]) for row, target in zip(scored, span.targets, strict=True))
    greedy: bool | None = True
    for row, target in zip(scored, span.targets, strict=True):
        ahead = float(row[target] - torch.cat((row[:target], row[target + 1 :])).max())
        if ahead < -TIE:
            return total, False
        greedy = None if ahead < TIE else greedy
    return total, greedy


def assert_as_one_at_a_time(model: Xmodel, spans: list[Span], batch_tokens: int) -> None:
    for (value, greedy), span in zip(log_likelihoods(model, spans, batch_tokens), spans, strict=True):
        expected, expected_greedy = one_at_a_time(model, span)
        assert value == pytest.approx(expected, abs=1e-4)
        assert expected_greedy in (greedy, None)


def questions(shared: int, count: int, choices: int, draw: random.Random) -> list[Span]:
    """Few-shot questions: `shared` tokens that all begin with, then a question, then a choice of 1 to 4 tokens."""
    beginning = [draw.randrange(300) for _ in range(shared)]
    spans = []
    for _ in range(count):
        context = beginning + [draw.randrange(300) for _ in range(draw.randrange(1, 12))]
        for _ in range(choices):
            choice = [draw.randrange(300) for _ in range(draw.randrange(1, 5))]
            spans.append(Span(tuple(context + choice)[:-1], tuple(choice)))
    return spans


@settings(max_examples=30)
@given(
    st.lists(
        st.lists(st.integers(0, 5), min_size=2, max_size=20).flatmap(
            lambda tokens: st.tuples(st.just(tokens), st.integers(1, len(tokens) - 1))
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 100),
)
def test_any_spans_in_any_batches(model: Xmodel, drawn: list[tuple[list[int], int]], batch_tokens: int) -> None:
    spans = [Span(tuple(tokens[:-1]), tuple(tokens[-scored:])) for tokens, scored in drawn]
    assert_as_one_at_a_time(model, spans, batch_tokens)


@pytest.mark.parametrize("worth_sharing", [1, 10, 200])
def test_a_shared_beginning_is_computed_once_and_changes_nothing(
    model: Xmodel, worth_sharing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "MIN_SAVED_TOKENS", worth_sharing)
    draw = random.Random(worth_sharing)
    spans = [*questions(30, 5, 4, draw), *questions(25, 4, 2, draw), *questions(0, 3, 4, draw)]
    draw.shuffle(spans)
    assert tokens_to_compute(spans) < 0.75 * sum(len(span.tokens) for span in spans)
    assert_as_one_at_a_time(model, spans, 128)


def test_choices_of_one_token_cost_one_row(model: Xmodel) -> None:
    context = (5, 6, 7, 8)
    spans = [Span(context, (target,)) for target in (10, 11, 12, 13)]
    assert tokens_to_compute(spans) == len(context)
    assert_as_one_at_a_time(model, spans, 64)


def test_greedy_is_true_where_it_is(model: Xmodel) -> None:
    tokens = [3, 4, 5]
    with torch.no_grad():
        for _ in range(3):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    right, wrong = Span(tuple(tokens[:-1]), tuple(tokens[3:])), Span(tuple(tokens[:-1]), (*tokens[3:5], 9))
    assert [greedy for _, greedy in log_likelihoods(model, [right, wrong], 64)] == [True, tokens[-1] == 9]


def test_few_logits_at_a_time(model: Xmodel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "LOGITS_AT_A_TIME", 1000)  # about three positions of this vocabulary
    assert_as_one_at_a_time(model, questions(10, 4, 3, random.Random(0)), 256)
