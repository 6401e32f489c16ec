"""Log-likelihoods of token spans under a model, in fp32: tokens in, numbers out.

Rows of equal tokens are computed once, logits only where something is scored, and a long beginning
that many rows share (few-shot examples) once for all of them, through the model's key-value cache.
Letters of shapes: B batch, T time, D hidden, V vocabulary, N scored positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from xmodel_core.model.network import KeyValueCache, Xmodel
from xmodel_core.progress import Bar

LOGITS_AT_A_TIME = 2**24
"""64 MiB of fp32 logits at once, whatever the vocabulary."""
WORTH_SHARING_TOKENS = 2048
"""A shared beginning is computed apart where that saves at least so many tokens: below it, one wide batch of
whole rows is faster than many narrow ones."""


@dataclass(frozen=True)
class Span:
    """`tokens` are fed to the model; its last len(targets) positions are asked for `targets`."""

    tokens: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def first_scored(self) -> int:
        """The position that predicts the first target."""
        return len(self.tokens) - len(self.targets)


@dataclass(frozen=True)
class _Row:
    """Spans over the same tokens: `first_scored` is the earliest of theirs."""

    tokens: tuple[int, ...]
    first_scored: int
    spans: tuple[int, ...]


@dataclass(frozen=True)
class _Group:
    """Rows whose first `shared` tokens are the same; 0: they share nothing worth computing apart."""

    shared: int
    rows: tuple[_Row, ...]


def _rows(spans: Sequence[Span]) -> list[_Row]:
    by_tokens: dict[tuple[int, ...], list[int]] = {}
    for index, span in enumerate(spans):
        by_tokens.setdefault(span.tokens, []).append(index)
    # In the order of their tokens, so that rows with a common beginning stand together.
    return [
        _Row(tokens, min(spans[index].first_scored for index in indices), tuple(indices))
        for tokens, indices in sorted(by_tokens.items())
    ]


def _common(one: _Row, other: _Row) -> int:
    """How many tokens two rows share before either is scored."""
    most = min(one.first_scored, other.first_scored)
    pairs = zip(one.tokens[:most], other.tokens[:most], strict=True)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), most)


def _groups(rows: Sequence[_Row]) -> list[_Group]:
    """Neighbours are joined while joining saves more tokens than it gives up."""
    groups, alone, start = [], [], 0
    while start < len(rows):
        shared, end, saved = rows[start].first_scored, start + 1, 0
        while end < len(rows):
            common = min(shared, _common(rows[start], rows[end]))
            if common * (end - start) < max(saved, 1):
                break
            shared, saved, end = common, common * (end - start), end + 1
        if saved >= WORTH_SHARING_TOKENS:
            groups.append(_Group(shared, tuple(rows[start:end])))
        else:
            alone.extend(rows[start:end])
        start = end
    return [*groups, _Group(0, tuple(alone))]


def _batches(group: _Group, batch_tokens: int) -> list[list[_Row]]:
    """Rows of similar length together, the longest first: an over-large batch fails at once, not at the end."""
    batches: list[list[_Row]] = []
    for row in sorted(group.rows, key=lambda row: -len(row.tokens)):
        if batches and len(batches[-1][0].tokens) * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _first_part(model: Xmodel, tokens: tuple[int, ...]) -> KeyValueCache:
    """The keys and values of a shared beginning."""
    device = model.output_weight_VD.device
    cache = KeyValueCache(model.config, 1, len(tokens), torch.float32, device)
    model.hidden(torch.tensor([tokens], device=device), cache)
    return cache


def _hidden(model: Xmodel, batch: Sequence[_Row], shared: int, first: KeyValueCache | None) -> torch.Tensor:
    """Hidden states of the rows behind their shared beginning: (B, T, D). Padding stands on the right, where a
    causal model's earlier positions cannot see it."""
    device = model.output_weight_VD.device
    width = len(batch[0].tokens) - shared
    padded = [list(row.tokens[shared:]) + [0] * (width - len(row.tokens) + shared) for row in batch]
    tokens_BT = torch.tensor(padded, device=device)
    if first is None:
        return model.hidden(tokens_BT)
    cache = KeyValueCache(model.config, len(batch), shared + width, torch.float32, device)
    cache.keys_LBGSK[:, :, :, :shared] = first.keys_LBGSK
    cache.values_LBGSK[:, :, :, :shared] = first.values_LBGSK
    cache.seen = shared
    return model.hidden(tokens_BT, cache)


def _answers(
    model: Xmodel, hidden_BTD: torch.Tensor, batch: Sequence[_Row], shared: int, spans: Sequence[Span]
) -> dict[int, tuple[float, bool]]:
    """Of each span of a batch: its index, the sum of its targets' log-probabilities, whether each is the likeliest."""
    device = hidden_BTD.device
    asked = [(place, index) for place, row in enumerate(batch) for index in row.spans]
    rows_N: list[int] = []
    times_N: list[int] = []
    targets_N: list[int] = []
    for place, index in asked:
        span = spans[index]
        rows_N += [place] * len(span.targets)
        times_N += range(span.first_scored - shared, len(span.tokens) - shared)
        targets_N += span.targets
    hidden_ND = hidden_BTD[torch.tensor(rows_N, device=device), torch.tensor(times_N, device=device)]
    wanted_N1 = torch.tensor(targets_N, device=device)[:, None]
    at_a_time = max(1, LOGITS_AT_A_TIME // len(model.output_weight_VD))
    parts, likeliest = [], []
    for start in range(0, len(targets_N), at_a_time):
        logits_nV = functional.linear(hidden_ND[start : start + at_a_time], model.output_weight_VD)
        wanted_n1 = wanted_N1[start : start + at_a_time]
        parts.append((logits_nV.gather(1, wanted_n1) - logits_nV.logsumexp(1, keepdim=True)).double())
        likeliest.append(logits_nV.argmax(1, keepdim=True) == wanted_n1)
    lengths = [len(spans[index].targets) for _, index in asked]
    sums = [float(part.sum()) for part in torch.cat(parts)[:, 0].cpu().split(lengths)]
    greedy = [bool(part.all()) for part in torch.cat(likeliest)[:, 0].cpu().split(lengths)]
    return {index: answer for (_, index), answer in zip(asked, zip(sums, greedy, strict=True), strict=True)}


def tokens_to_compute(spans: Sequence[Span]) -> int:
    """How many tokens the model will read for these spans, padding aside: the measure of progress."""
    return sum(
        group.shared + sum(len(row.tokens) - group.shared for row in group.rows) for group in _groups(_rows(spans))
    )


@torch.inference_mode()
def log_likelihoods(
    model: Xmodel, spans: Sequence[Span], batch_tokens: int, bar: Bar | None = None
) -> list[tuple[float, bool]]:
    """Of each span, in order: the natural log of the probability of its targets after the tokens before them,
    and whether greedy decoding would give just them. `bar` advances by tokens."""
    answers: dict[int, tuple[float, bool]] = {}
    for group in _groups(_rows(spans)):
        first = _first_part(model, group.rows[0].tokens[: group.shared]) if group.shared else None
        if bar is not None and group.shared:
            bar.advance(group.shared)
        for batch in _batches(group, batch_tokens):
            hidden_BTD = _hidden(model, batch, group.shared, first)
            answers.update(_answers(model, hidden_BTD, batch, group.shared, spans))
            if bar is not None:
                bar.advance(sum(len(row.tokens) - group.shared for row in batch))
    return [answers[index] for index in range(len(spans))]
