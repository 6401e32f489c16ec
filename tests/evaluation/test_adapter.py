"""The harness's interface to a checkpoint: how strings are split, truncated, scored and continued."""

import math
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance

from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.adapter import CheckpointLM
from xmodel_core.model.network import Xmodel
from xmodel_core.tokenizer.tokenizer import Tokenizer

pytestmark = pytest.mark.xdist_group("evaluation")  # one process makes the session fixtures and imports the harness


@pytest.fixture(scope="session")
def adapter(model: Xmodel, tokenizer: Tokenizer) -> CheckpointLM:
    return CheckpointLM(model, tokenizer, 256, "test")


def requests(kind: str, *arguments: tuple) -> list[Instance]:
    return [Instance(kind, {}, one, 0) for one in arguments]  # type: ignore[arg-type]


class Merging:
    """A tokenizer of letters in which `ab` and `cd` are pieces: 红 + 色 may merge likewise."""

    eos_id = 0
    pieces = ("ab", "cd", "abc")

    def encode(self, text: str) -> list[int]:
        ids, place = [], 0
        while place < len(text):
            piece = next((p for p in sorted(self.pieces, key=len)[::-1] if text.startswith(p, place)), text[place])
            ids.append(1000 + self.pieces.index(piece) if piece in self.pieces else ord(piece))
            place += len(piece)
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        return "".join(self.pieces[t - 1000] if t >= 1000 else chr(t) for t in tokens)


@given(
    st.text(alphabet="The coat of 小安的红色.", max_size=20), st.text(alphabet=" red红色的.", min_size=1, max_size=10)
)
def test_nothing_is_lost_between_context_and_continuation(
    adapter: CheckpointLM, tokenizer: Tokenizer, context: str, continuation: str
) -> None:
    before, after = adapter.encode_pair(context, continuation)
    assert before and after
    start = 1 if before[0] == tokenizer.eos_id else 0
    assert tokenizer.decode([*before[start:], *after]) == context + continuation


def test_spaces_at_the_end_of_the_context_move_to_the_continuation(adapter: CheckpointLM, tokenizer: Tokenizer) -> None:
    assert adapter.encode_pair("The coat is ", "red") == adapter.encode_pair("The coat is", " red")
    assert tokenizer.decode(adapter.encode_pair("The coat is ", "red")[1]) == " red"


def test_an_empty_context_is_a_documents_beginning(adapter: CheckpointLM, tokenizer: Tokenizer) -> None:
    before, after = adapter.encode_pair("", "小安")
    assert before == [tokenizer.eos_id]
    assert tokenizer.decode(after) == "小安"


def test_a_choice_that_merges_with_the_context_is_still_scored(model: Xmodel) -> None:
    adapter = CheckpointLM(model, Merging(), 64, "test")
    assert adapter.encode_pair("xa", "b") == ([ord("x")], [1000])
    assert adapter.encode_pair("a", "b") == ([0], [1000])
    # The convention itself: split at the context's count where something is left.
    assert adapter.encode_pair("xa", "bd") == ([ord("x"), ord("a")], [ord("d")])


def test_a_long_context_is_cut_on_the_left(model: Xmodel, tokenizer: Tokenizer) -> None:
    adapter = CheckpointLM(model, tokenizer, 256, "test")
    ending = "The coat of Anna is"
    long = "The coat of Boris is green today. " * 20 + ending
    before, after = adapter.encode_pair(long, " red")
    kept = [*before, *after][-(adapter.max_length + 1) :]
    with torch.no_grad():
        log_probs_TV = model(torch.tensor([kept[:-1]]))[0].log_softmax(-1)
    expected = sum(float(row[token]) for row, token in zip(log_probs_TV[-len(after) :], after, strict=True))
    [(value, _)] = adapter.loglikelihood(requests("loglikelihood", (long, " red")))
    assert value == pytest.approx(expected, abs=1e-4)
    assert adapter.truncated_requests == 1


def test_rolling_scores_each_token_once(adapter: CheckpointLM, model: Xmodel, tokenizer: Tokenizer) -> None:
    text = "The coat of Anna is red today. 小安的外套今天是红色的。" * 8
    tokens = [tokenizer.eos_id, *tokenizer.encode(text)]
    assert len(tokens) > 2 * adapter.max_length
    expected, width = 0.0, adapter.max_length
    with torch.no_grad():
        for end in range(len(tokens), 1, -width):  # windows from the end; each predicts what those before it did not
            window = tokens[max(0, end - 1 - width) : end]
            log_probs_TV = model(torch.tensor([window[:-1]]))[0].log_softmax(-1)
            scored = min(width, end - 1)
            expected += sum(
                float(log_probs_TV[i, window[i + 1]]) for i in range(len(window) - 1 - scored, len(window) - 1)
            )
    [value] = adapter.loglikelihood_rolling(requests("loglikelihood_rolling", (text,)))
    assert value == pytest.approx(expected, abs=1e-3)


def test_all_continuations_together_are_certain(adapter: CheckpointLM, tokenizer: Tokenizer) -> None:
    """Over the whole vocabulary the probabilities of one next token add up to 1."""
    spans = [([5, 6, 7], [token]) for token in range(tokenizer.vocab_size)]
    assert math.fsum(math.exp(value) for value, _ in adapter._score(spans)) == pytest.approx(1.0, abs=1e-5)


def test_generation_is_greedy_and_ends_at_a_stop(adapter: CheckpointLM, model: Xmodel, tokenizer: Tokenizer) -> None:
    context = "The coat of Anna is"
    [free] = adapter.generate_until(requests("generate_until", (context, {"max_gen_toks": 12, "until": []})))
    tokens = tokenizer.encode(context)
    with torch.no_grad():
        for _ in range(12):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert tokenizer.eos_id not in tokens
    assert tokenizer.decode(tokens).startswith(context + free) and free
    stop = free[len(free) // 2]
    settings = {"max_gen_toks": 12, "until": [stop, "never"], "do_sample": False, "temperature": 0.0}
    [stopped] = adapter.generate_until(requests("generate_until", (context, settings)))
    assert stopped == free[: free.index(stop)]


def test_a_prompt_that_is_cut_counts_as_truncated(model: Xmodel, tokenizer: Tokenizer) -> None:
    adapter = CheckpointLM(model, tokenizer, 256, "test")
    settings = {"max_gen_toks": 8, "until": []}
    adapter.generate_until(requests("generate_until", ("The coat of Anna is", settings)))
    assert adapter.truncated_requests == 0
    adapter.generate_until(requests("generate_until", ("The coat of Anna is red today. " * 30, settings)))
    assert adapter.truncated_requests == 1


def test_sampled_answers_are_refused(adapter: CheckpointLM) -> None:
    with pytest.raises(XmodelError, match="sampled"):
        adapter.generate_until(requests("generate_until", ("The", {"do_sample": True, "temperature": 0.7})))
