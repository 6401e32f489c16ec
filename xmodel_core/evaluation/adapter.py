"""A checkpoint behind lm-evaluation-harness's model interface: strings in, numbers and strings out.

Takes the harness's requests; gives log-likelihoods, whether greedy decoding agrees, and greedy continuations. Follows
the harness's own conventions for causal models, so that scores are comparable with published ones.
"""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.likelihood import Span, log_likelihoods, tokens_to_compute
from xmodel_core.model.generation.detokenize import Tokenizer
from xmodel_core.model.generation.generate import continue_tokens
from xmodel_core.model.network import Xmodel
from xmodel_core.progress import track

DEFAULT_NEW_TOKENS = 256
"""The harness's own default for tasks without `max_gen_toks`."""


class CheckpointLM(LM):
    """A model and its tokenizer behind the harness's three methods; `label` names the progress bar."""

    def __init__(self, model: Xmodel, tokenizer: Tokenizer, batch_tokens: int, label: str) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens
        self.label = label
        self.max_length = model.config.max_position_embeddings
        self.truncated_requests = 0

    def encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokens of a context and of its continuation, by the harness's convention.

        The two are encoded together and split at the context's token count. Apart, a SentencePiece model with a
        dummy prefix (the released Xmodel tokenizers have one) would put a word boundary before the continuation;
        for Chinese, written without spaces, that is another string. Spaces that end the context move to the
        continuation, since a word's piece begins with its space. An empty context is the beginning of a document: an
        end-of-document token.
        """
        stripped = context.rstrip()
        continuation = context[len(stripped) :] + continuation
        if not stripped:
            return [self.tokenizer.eos_id], self.tokenizer.encode(continuation)
        before = self.tokenizer.encode(stripped)
        both = self.tokenizer.encode(stripped + continuation)
        if len(both) > len(before):
            return before, both[len(before) :]
        # A Chinese choice may merge with the context into fewer pieces than the context alone has, and the split
        # would leave nothing to score: then everything after the last common piece is scored.
        common = next((i for i, (a, b) in enumerate(zip(before, both, strict=False)) if a != b), len(both) - 1)
        return ([self.tokenizer.eos_id, *both[:common]] if common == 0 else both[:common]), both[common:]

    def _spans(self, before: list[int], after: list[int]) -> list[Span]:
        """The model's input for one request: one span, truncated on the left where it is longer than the model's
        context; several, each token scored once, where the scored part alone is longer."""
        if len(before) + len(after) > self.max_length + 1:
            self.truncated_requests += 1
        tokens, spans = [*before, *after], []
        for end in range(len(tokens), len(before), -self.max_length):
            scored = min(self.max_length, end - len(before))
            inputs = tokens[max(0, end - 1 - self.max_length) : end - 1]
            spans.append(Span(tuple(inputs), tuple(tokens[end - scored : end])))
        return spans

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        spans = [self._spans(before, after) for before, after in pairs]
        flat = [span for of_request in spans for span in of_request]
        with track(self.label, tokens_to_compute(flat), "tokens") as bar:
            span_scores = iter(log_likelihoods(self.model, flat, self.batch_tokens, bar))
        scores = []
        for of_request in spans:
            parts = [next(span_scores) for _ in of_request]
            scores.append((sum(value for value, _ in parts), all(greedy for _, greedy in parts)))
        return scores

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Per (context, continuation): the continuation's log-probability, and whether greedy decoding gives it."""
        return self._score([self.encode_pair(*request.args) for request in requests])

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """The log-probability of each entire text, as a document of its own."""
        texts = [self.tokenizer.encode(request.args[0]) for request in requests]
        return [value for value, _ in self._score([([self.tokenizer.eos_id], text) for text in texts])]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The greedy continuation of each context, up to the first of its stopping strings."""
        with track(self.label, len(requests), "answers") as bar:
            answers = []
            for request in requests:
                answers.append(self._continue(*request.args))
                bar.advance()
        return answers

    def _continue(self, context: str, settings: dict[str, Any]) -> str:
        if settings.get("do_sample") and settings.get("temperature", 1.0) > 0:
            raise XmodelError(
                "a task asks for sampled answers",
                expected="greedy decoding",
                found=settings,
                remedy="leave the task out of evaluation.tasks",
            )
        until = settings.get("until") or []
        stops = [until] if isinstance(until, str) else until
        max_new_tokens = min(int(settings.get("max_gen_toks", DEFAULT_NEW_TOKENS)), self.max_length - 1)
        tokens = self.tokenizer.encode(context) or [self.tokenizer.eos_id]
        room = self.max_length - max_new_tokens
        if len(tokens) > room:
            self.truncated_requests += 1
            tokens = tokens[-room:]
        pieces = continue_tokens(self.model, self.tokenizer, [tokens], max_new_tokens, stops=stops)
        return "".join(piece.text for piece in pieces)
