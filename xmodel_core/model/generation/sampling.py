"""How the next token is chosen from logits: greedy, or sampled after temperature, top-k and top-p.

Takes logits of several rows; gives a token for each. Meaning and order of the settings are those of transformers'
logits processors: repetition penalty, temperature, top-k, top-p.
Letters of shapes: B batch, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """The settings; the defaults are greedy decoding. At temperature 0 only the repetition penalty acts."""

    temperature: float = 0.0
    """Logits are divided by it before a token is sampled; 0: the most likely token each time."""
    top_k: int = 0
    """Only the k most likely tokens, and ties with the last of them, may be sampled; 0: all."""
    top_p: float = 1.0
    """Only the smallest set of most likely tokens whose probabilities reach p may be sampled (Holtzman et al. 2019,
    section 3.1)."""
    repetition_penalty: float = 1.0
    """Logits of tokens already in the row, its prompt included, are divided by it where positive, multiplied where
    negative (CTRL, Keskar et al. 2019, section 4.1)."""
    seed: int = 0
    """Row i samples with seed + i, whatever the other rows are: alone it samples the same with that seed."""


def process_logits(logits_BV: Tensor, seen_BV: Tensor | None, sampling: Sampling) -> Tensor:
    """Logits `[batch, vocabulary]` after penalty, temperature, top-k and top-p, in that order; tokens that may not be
    sampled have -inf. `seen_BV`: true for the tokens already in each row, where there is a penalty."""
    if seen_BV is not None:
        penalty = sampling.repetition_penalty
        penalised_BV = torch.where(logits_BV < 0, logits_BV * penalty, logits_BV / penalty)
        logits_BV = torch.where(seen_BV, penalised_BV, logits_BV)
    if sampling.temperature == 0:
        return logits_BV
    logits_BV = logits_BV / sampling.temperature
    if 0 < sampling.top_k < logits_BV.shape[1]:
        threshold_B1 = logits_BV.topk(sampling.top_k).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < threshold_B1, -torch.inf)
    if sampling.top_p < 1:
        sorted_BV, tokens_BV = logits_BV.sort(dim=-1)
        removed_BV = sorted_BV.softmax(-1).cumsum(-1) <= 1 - sampling.top_p
        removed_BV[:, -1] = False  # the most likely token always stays
        logits_BV = logits_BV.masked_fill(removed_BV.scatter(1, tokens_BV, removed_BV), -torch.inf)
    return logits_BV


class Sampler:
    """Chooses tokens for rows that may leave. Each row samples from its own generator, on the CPU in fp32, so that its
    tokens depend neither on the device nor on the other rows."""

    def __init__(self, sampling: Sampling, prompts: Sequence[Sequence[int]], vocab_size: int) -> None:
        self.sampling = sampling
        self.generators = [torch.Generator().manual_seed(sampling.seed + row) for row in range(len(prompts))]
        self.seen_BV = None
        if sampling.repetition_penalty != 1:
            self.seen_BV = torch.zeros((len(prompts), vocab_size), dtype=torch.bool)
            for row, prompt in enumerate(prompts):
                self.seen_BV[row, torch.tensor(prompt)] = True

    def choose(self, logits_BV: Tensor) -> Tensor:
        """The next token of each row, `[batch]`, on the device of the logits, `[batch, vocabulary]`."""
        device = logits_BV.device
        if self.sampling.temperature == 0 and self.seen_BV is None:
            return logits_BV.argmax(-1)
        logits_BV = process_logits(logits_BV.float().cpu(), self.seen_BV, self.sampling)
        if self.sampling.temperature == 0:
            tokens_B1 = logits_BV.argmax(-1, keepdim=True)
        else:  # inverse transform sampling: one number in [0, 1) a row, located among the cumulative probabilities
            uniform = [torch.rand(1, dtype=torch.float64, generator=generator) for generator in self.generators]
            sums_BV = logits_BV.softmax(-1).cumsum(-1, dtype=torch.float64)
            tokens_B1 = torch.searchsorted(sums_BV, torch.stack(uniform) * sums_BV[:, -1:], right=True)
        if self.seen_BV is not None:
            self.seen_BV.scatter_(1, tokens_B1, True)
        return tokens_B1[:, 0].to(device)

    def keep(self, rows: list[int]) -> None:
        """Drops all rows but these."""
        self.generators = [self.generators[row] for row in rows]
        if self.seen_BV is not None:
            self.seen_BV = self.seen_BV[rows]
