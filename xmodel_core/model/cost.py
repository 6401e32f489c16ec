"""The cost of a model and the peak of a GPU: parameters, FLOPs per token, FLOP/s. Counted here and nowhere else.

Takes a shape, a vocabulary and a sequence length, or a GPU's name; gives exact counts, and FLOP/s for MFU. Peaks are
dense bf16 tensor-core figures of NVIDIA's data sheets, never the doubled ones "with sparsity": Xmodel-LM's code divides
by 1513e12, the H100 PCIe's sparse number, which halves its MFU.
"""

from dataclasses import dataclass

from xmodel_core.model.config import ModelConfig


@dataclass(frozen=True)
class ParameterCounts:
    """The number of weights of a shape; a tied embedding counts once."""

    total: int
    embedding: int

    @property
    def non_embedding(self) -> int:
        """Without the input embedding and the untied output projection."""
        return self.total - self.embedding


def count_parameters(config: ModelConfig, vocab_size: int) -> ParameterCounts:
    """Exact counts for a vocabulary, equal to the sizes of the tensors that are trained."""
    width, heads, shared = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    attention = width * (heads + 2 * shared) * config.head_dim + heads * config.head_dim * width
    feed_forward = 3 * width * config.intermediate_size
    layer = attention + feed_forward + 2 * width
    embedding = vocab_size * width * (1 if config.tie_word_embeddings else 2)
    return ParameterCounts(total=embedding + config.num_hidden_layers * layer + width, embedding=embedding)


def flops_per_token(config: ModelConfig, vocab_size: int, sequence_length: int, *, causal: bool = False) -> float:
    """Training FLOPs (forward and backward) per token: 6N + 12·L·H·Q·T, as Xmodel-LM's code counts them.

    N is every parameter, L layers, H query heads, Q the head size, T the sequence length. That is the
    full-attention count of PaLM, Appendix B; `causal` halves the attention's part, which is what a
    kernel that skips the masked half does.
    """
    attention = 12 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * sequence_length
    return 6 * count_parameters(config, vocab_size).total + attention / (2 if causal else 1)


DENSE_BF16_PEAKS = (
    # (words of the GPU's name, FLOP/s); the first match counts
    ("B200", 2250e12),
    ("H200 NVL", 835e12),
    ("H200", 989e12),
    ("GH200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("H800 PCIe", 756e12),
    ("H800", 989e12),
    ("H20", 148e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
)


def dense_bf16_peak(gpu: str) -> float | None:
    """FLOP/s of one GPU by its name; None where it is not in the table, which includes every CPU."""
    # Whole words: an L4 is not an L40.
    words = gpu.replace("-", " ").split()
    for name, peak in DENSE_BF16_PEAKS:
        if all(word in words for word in name.split()):
            return peak
    return None
