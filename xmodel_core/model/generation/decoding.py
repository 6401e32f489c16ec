"""Batched decoding: prompts of any length in, one token per row and step out.

The cache is padded on the left: all rows end at the same column, so that a step writes one column and nothing moves; a
mask hides the padding of shorter rows. A finished row leaves the batch.
Letters of shapes as in network.py; a step has no time dimension, T is 1.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xmodel_core.errors import XmodelError
from xmodel_core.model.generation.packed_linear import pack_projections
from xmodel_core.model.generation.sampling import Sampler, Sampling
from xmodel_core.model.network import KeyValueCache, Xmodel


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Decoding:
    """The state of continuing one or more prompts. XmodelError where one is empty or fills the model's context.

    `cache`: only for a single prompt, the keys and values of its first `cache.seen` tokens; its length must hold the
    prompt and the new tokens, or the context."""

    def __init__(
        self,
        model: Xmodel,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        sampling: Sampling,
        cache: KeyValueCache | None = None,
    ) -> None:
        context = model.config.max_position_embeddings
        for prompt in prompts:
            if not 0 < len(prompt) < context:
                raise XmodelError(
                    "a prompt of the wrong length",
                    expected=f"1 to {context - 1} tokens, the model's context",
                    found=f"{len(prompt)} tokens",
                    remedy="shorten the prompt",
                )
        self.model = model
        self.rows = list(range(len(prompts)))
        """Indices of the prompts still being continued, in the order of the batch."""
        self.room = [min(max_new_tokens, context - len(prompt)) for prompt in prompts]
        """How many more tokens each prompt may get."""
        self.sampler = Sampler(sampling, prompts, model.vocab_size)
        device, dtype = model.output_weight_VD.device, model.output_weight_VD.dtype
        longest = max(map(len, prompts))
        if cache is None:
            cache = KeyValueCache(model.config, len(prompts), longest + max(self.room), dtype, device)
        self.cache = cache
        starts = [longest - len(prompt) for prompt in prompts]
        self.starts_B = torch.tensor(starts, device=device)
        self.padded = any(starts)
        self.projections = pack_projections(model, len(prompts), max(self.room))
        self.hidden_BD: Tensor | None = self._prefill(prompts, longest)
        self.tokens_B = self.starts_B  # until the first step

    @torch.inference_mode()
    def _prefill(self, prompts: Sequence[Sequence[int]], longest: int) -> Tensor:
        """Fills the cache with the prompts, those of one length at a time; gives their last hidden states,
        `[batch, hidden]`."""
        device = self.starts_B.device
        if not self.padded:
            tokens_BT = torch.tensor([prompt[self.cache.seen :] for prompt in prompts], device=device)
            return self.model.hidden(tokens_BT, self.cache)[:, -1]
        weight_VD = self.model.output_weight_VD
        hidden_BD = weight_VD.new_empty((len(prompts), weight_VD.shape[1]))
        for length in sorted(set(map(len, prompts))):
            rows = [row for row, prompt in enumerate(prompts) if len(prompt) == length]
            unpadded = KeyValueCache(self.model.config, len(rows), length, weight_VD.dtype, device)
            tokens_BT = torch.tensor([prompts[row] for row in rows], device=device)
            hidden_BD[rows] = self.model.hidden(tokens_BT, unpadded)[:, -1]
            self.cache.keys_LBGSK[:, rows, :, longest - length : longest] = unpadded.keys_LBGSK
            self.cache.values_LBGSK[:, rows, :, longest - length : longest] = unpadded.values_LBGSK
        self.cache.seen = longest
        return hidden_BD

    @torch.inference_mode()
    def step(self) -> list[int]:
        """The next token of each of `rows`. To be called while there are rows, and each has room."""
        hidden_BD = self._hidden(self.tokens_B) if self.hidden_BD is None else self.hidden_BD
        self.hidden_BD = None
        self.tokens_B = self.sampler.choose(self.projections.output(hidden_BD))
        for row in self.rows:
            self.room[row] -= 1
        return self.tokens_B.tolist()

    def _hidden(self, tokens_B: Tensor) -> Tensor:
        """`Xmodel.hidden` for one new token per row, `[batch]` → `[batch, hidden]`, without what only training and
        prompts need."""
        with _threads(self.projections.block_threads):
            return self._apply_blocks(tokens_B)

    def _apply_blocks(self, tokens_B: Tensor) -> Tensor:
        model, cache, config = self.model, self.cache, self.model.config
        batch, end = len(tokens_B), cache.seen + 1
        heads, kv_heads, half = config.num_attention_heads, config.num_key_value_heads, config.head_dim // 2
        positions_B = cache.seen - self.starts_B
        cos_B1K, sin_B1K = model.cos_SK[positions_B, None], model.sin_SK[positions_B, None].clone()
        sin_B1K[..., :half].neg_()  # rotate's minus sign, for the first half
        mask_B11S = None
        if self.padded:
            mask_B11S = (torch.arange(end, device=tokens_B.device) >= self.starts_B[:, None])[:, None, None]
        x_BD = model.model.embed_tokens(tokens_B)
        if config.scale_emb is not None:
            x_BD = x_BD * config.scale_emb
        blocks: list[Any] = list(model.model.layers)  # Block: a ModuleList is not typed by its elements
        for layer, (block, project) in enumerate(zip(blocks, self.projections.blocks, strict=True)):
            qkv_BNK = project.qkv(block.input_layernorm(x_BD)).view(batch, -1, config.head_dim)
            qk_BNK = qkv_BNK[:, : heads + kv_heads]
            rotated_BNK = torch.addcmul(qk_BNK * cos_B1K, qk_BNK.roll(half, -1), sin_B1K).to(x_BD.dtype)
            keys_BGSK, values_BGSK = cache.extend(
                layer, rotated_BNK[:, heads:, None], qkv_BNK[:, heads + kv_heads :, None]
            )
            # The queries that share a key take the place of a sequence's queries: one new token attends to everything.
            y_BGQK = functional.scaled_dot_product_attention(
                rotated_BNK[:, :heads].reshape(batch, kv_heads, heads // kv_heads, config.head_dim),
                keys_BGSK,
                values_BGSK,
                attn_mask=mask_B11S,
                scale=config.attention_multiplier,
            )
            attended_BD = project.o(y_BGQK.reshape(batch, -1))
            x_BD = torch.add(x_BD, attended_BD, alpha=config.residual_scale)
            gate_up_BF = project.gate_up(block.post_attention_layernorm(x_BD))
            gate_BF, up_BF = gate_up_BF.chunk(2, -1)
            fed_BD = project.down(functional.silu(gate_BF) * up_BF)
            x_BD = torch.add(x_BD, fed_BD, alpha=config.residual_scale)
        cache.seen = end
        x_BD = model.model.norm(x_BD)
        return x_BD if config.dim_model_base is None else x_BD / config.width_multiplier

    @torch.inference_mode()
    def finish(self, finished: set[int]) -> None:
        """Takes these prompts, by their indices, out of the batch."""
        kept = [place for place, row in enumerate(self.rows) if row not in finished]
        self.rows = [self.rows[place] for place in kept]
        if self.rows:
            self.tokens_B, self.starts_B = self.tokens_B[kept], self.starts_B[kept]
            self.cache.keep(kept)
            self.sampler.keep(kept)
