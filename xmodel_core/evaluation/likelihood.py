"""Log-likelihoods of token spans under a model, in fp32: tokens in, numbers out.

Spans of equal tokens are computed once, logits only at scored positions, and a long common prefix of many rows
(few-shot examples) once for all of them, through the model's key-value cache.
Letters of shapes: B batch, T time, D hidden, V vocabulary, N scored positions, n those of one chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from xmodel_core.model.network import KeyValueCache, Xmodel
from xmodel_core.progress import Bar

LOGITS_AT_A_TIME = 2**24
"""64 MiB of fp32 logits at once, whatever the vocabulary."""
MIN_SAVED_TOKENS = 2048
"""A common prefix is computed separately where that saves at least this many tokens: below it, one wide batch of
entire rows is faster than many narrow ones."""


@dataclass(frozen=True)
class Span:
    """`tokens` are the model's input; its last len(targets) positions predict `targets`, which are scored."""

    tokens: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def first_scored(self) -> int:
        """The position that predicts the first target."""
        return len(self.tokens) - len(self.targets)


@dataclass(frozen=True)
class _Row:
    """Spans, by index, with the same tokens; `first_scored` is the earliest of theirs."""

    tokens: tuple[int, ...]
    first_scored: int
    spans: tuple[int, ...]


@dataclass(frozen=True)
class _Group:
    """Rows with a common prefix of `prefix` tokens; 0: no prefix that is worth computing separately."""

    prefix: int
    rows: tuple[_Row, ...]


def _rows(spans: Sequence[Span]) -> list[_Row]:
    by_tokens: dict[tuple[int, ...], list[int]] = {}
    for index, span in enumerate(spans):
        by_tokens.setdefault(span.tokens, []).append(index)
    # Sorted by their tokens, so that rows with a common prefix are neighbours.
    return [
        _Row(tokens, min(spans[index].first_scored for index in indices), tuple(indices))
        for tokens, indices in sorted(by_tokens.items())
    ]


def _common_prefix(one: _Row, other: _Row) -> int:
    """The number of equal leading tokens of two rows before either is scored."""
    most = min(one.first_scored, other.first_scored)
    pairs = zip(one.tokens[:most], other.tokens[:most], strict=True)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), most)


def _groups(rows: Sequence[_Row]) -> list[_Group]:
    """Rows grouped by common prefix: neighbours join a group while that saves more tokens than it gives up."""
    groups, alone, start = [], [], 0
    while start < len(rows):
        prefix, end, saved = rows[start].first_scored, start + 1, 0
        while end < len(rows):
            common = min(prefix, _common_prefix(rows[start], rows[end]))
            if common * (end - start) < max(saved, 1):
                break
            prefix, saved, end = common, common * (end - start), end + 1
        if saved >= MIN_SAVED_TOKENS:
            groups.append(_Group(prefix, tuple(rows[start:end])))
        else:
            alone.extend(rows[start:end])
        start = end
    return [*groups, _Group(0, tuple(alone))]


def _batches(group: _Group, batch_tokens: int) -> list[list[_Row]]:
    """Rows of similar length together, the longest first, so that a batch too large for memory fails at once."""
    batches: list[list[_Row]] = []
    for row in sorted(group.rows, key=lambda row: -len(row.tokens)):
        if batches and len(batches[-1][0].tokens) * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _prefix_cache(model: Xmodel, tokens: tuple[int, ...]) -> KeyValueCache:
    """The keys and values of a common prefix, a batch of one."""
    device = model.output_weight_VD.device
    cache = KeyValueCache(model.config, 1, len(tokens), torch.float32, device)
    model.hidden(torch.tensor([tokens], device=device), cache)
    return cache


def _hidden(model: Xmodel, batch: Sequence[_Row], prefix: int, prefix_cache: KeyValueCache | None) -> torch.Tensor:
    """Hidden states of the rows after their common prefix, `[batch, time, hidden]`. Padding is on the right, where the
    earlier positions of a causal model do not attend to it."""
    device = model.output_weight_VD.device
    width = len(batch[0].tokens) - prefix
    padded = [list(row.tokens[prefix:]) + [0] * (width - len(row.tokens) + prefix) for row in batch]
    tokens_BT = torch.tensor(padded, device=device)
    if prefix_cache is None:
        return model.hidden(tokens_BT)
    cache = KeyValueCache(model.config, len(batch), prefix + width, torch.float32, device)
    cache.keys_LBGSK[:, :, :, :prefix] = prefix_cache.keys_LBGSK
    cache.values_LBGSK[:, :, :, :prefix] = prefix_cache.values_LBGSK
    cache.seen = prefix
    return model.hidden(tokens_BT, cache)


def _score_batch(
    model: Xmodel, hidden_BTD: torch.Tensor, batch: Sequence[_Row], prefix: int, spans: Sequence[Span]
) -> dict[int, tuple[float, bool]]:
    """Index of each span of a batch → the sum of its targets' log-probabilities, and whether each target is the most
    likely token."""
    device = hidden_BTD.device
    scored = [(place, index) for place, row in enumerate(batch) for index in row.spans]
    rows_N: list[int] = []
    times_N: list[int] = []
    targets_N: list[int] = []
    for place, index in scored:
        span = spans[index]
        rows_N += [place] * len(span.targets)
        times_N += range(span.first_scored - prefix, len(span.tokens) - prefix)
        targets_N += span.targets
    hidden_ND = hidden_BTD[torch.tensor(rows_N, device=device), torch.tensor(times_N, device=device)]
    targets_N1 = torch.tensor(targets_N, device=device)[:, None]
    at_a_time = max(1, LOGITS_AT_A_TIME // len(model.output_weight_VD))
    parts, is_greedy = [], []
    for start in range(0, len(targets_N), at_a_time):
        logits_nV = functional.linear(hidden_ND[start : start + at_a_time], model.output_weight_VD)
        targets_n1 = targets_N1[start : start + at_a_time]
        parts.append((logits_nV.gather(1, targets_n1) - logits_nV.logsumexp(1, keepdim=True)).double())
        is_greedy.append(logits_nV.argmax(1, keepdim=True) == targets_n1)
    lengths = [len(spans[index].targets) for _, index in scored]
    sums = [float(part.sum()) for part in torch.cat(parts)[:, 0].cpu().split(lengths)]
    greedy = [bool(part.all()) for part in torch.cat(is_greedy)[:, 0].cpu().split(lengths)]
    return {index: score for (_, index), score in zip(scored, zip(sums, greedy, strict=True), strict=True)}


def tokens_to_compute(spans: Sequence[Span]) -> int:
    """The number of tokens, without padding, that the model computes for these spans: the unit of progress."""
    return sum(
        group.prefix + sum(len(row.tokens) - group.prefix for row in group.rows) for group in _groups(_rows(spans))
    )


@torch.inference_mode()
def log_likelihoods(
    model: Xmodel, spans: Sequence[Span], batch_tokens: int, bar: Bar | None = None
) -> list[tuple[float, bool]]:
    """Per span, in order: the log-probability of its targets given the tokens before them, in nats, and whether greedy
    decoding gives them. `batch_tokens` limits a forward pass, padding included; `bar` advances by tokens."""
    scores: dict[int, tuple[float, bool]] = {}
    for group in _groups(_rows(spans)):
        cache = _prefix_cache(model, group.rows[0].tokens[: group.prefix]) if group.prefix else None
        if bar is not None and group.prefix:
            bar.advance(group.prefix)
        for batch in _batches(group, batch_tokens):
            hidden_BTD = _hidden(model, batch, group.prefix, cache)
            scores.update(_score_batch(model, hidden_BTD, batch, group.prefix, spans))
            if bar is not None:
                bar.advance(sum(len(row.tokens) - group.prefix for row in batch))
    return [scores[index] for index in range(len(spans))]
