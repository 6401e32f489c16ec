"""The trade-off of a vocabulary's size and of its sample's balance: many tokenizers, one table, one picture.

Takes rows of tokenizers of several sizes and Chinese shares, measured on the same unseen text; gives tokens per
Chinese character against tokens per English character, one line per size, one point per share. Which is better
depends on what a model will read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodel_core.errors import XmodelError
from xmodel_core.tokenizer.config import TokenizerConfig

LANGUAGES = ("zh", "en", "code")


@dataclass(frozen=True)
class SweepGrid:
    """The tokenizers of a sweep: every size with every share."""

    vocab_sizes: Sequence[int]
    zh_shares: Sequence[float]
    """Chinese part of the sample's Chinese and English; above 0 and below 1, else XmodelError."""

    def __post_init__(self) -> None:
        if not all(0 < share < 1 for share in self.zh_shares):
            raise XmodelError(
                "a share of Chinese is out of range", expected="above 0 and below 1", found=list(self.zh_shares)
            )

    def configs(self, config: TokenizerConfig) -> list[tuple[float, TokenizerConfig]]:
        """Share and configuration of each tokenizer, by size, then by share."""
        return [
            (share, with_balance(config, size, share))
            for size in sorted(self.vocab_sizes)
            for share in sorted(self.zh_shares)
        ]


def with_balance(config: TokenizerConfig, vocab_size: int, zh_share: float) -> TokenizerConfig:
    """The configuration with another size, and with `zh_share` of what Chinese and English have together given to
    Chinese, the rest to English; inside a language its categories keep their proportions."""
    keys_of = {lang: {key for key in config.sample_shares if key.partition("/")[0] == lang} for lang in ("zh", "en")}
    sums = {lang: sum(config.sample_shares[key] for key in keys) for lang, keys in keys_of.items()}
    both = sum(sums.values())
    shares = dict(config.sample_shares)
    for lang, part in (("zh", zh_share), ("en", 1 - zh_share)):
        for key in keys_of[lang]:
            shares[key] = config.sample_shares[key] / sums[lang] * part * both if sums[lang] else 0.0
    return config.model_copy(update={"vocab_size": vocab_size, "sample_shares": shares})


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line per tokenizer: pieces, zh_share, tokens per character of each language; tab-separated."""
    columns = ("pieces", "zh_share", *LANGUAGES, "tokenizer")
    lines = ["\t".join(columns)]
    for row in rows:
        cells = (row[name] for name in columns)
        lines.append(
            "\t".join("" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw_trade_off(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws a PNG: tokens per Chinese character to the right, per English character upwards; lower left is better."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import colormaps
    from matplotlib import pyplot as plt

    sizes = sorted({row["pieces"] for row in rows})
    figure, axes = plt.subplots(figsize=(8, 6), layout="constrained")
    for number, size in enumerate(sizes):
        line = sorted((row for row in rows if row["pieces"] == size), key=lambda row: row["zh_share"])
        colour = colormaps["viridis"](0.1 + 0.75 * number / max(len(sizes) - 1, 1))
        zh, en = ([row[lang] for row in line] for lang in ("zh", "en"))
        axes.plot(zh, en, "o-", color=colour, label=f"{size:,} pieces", linewidth=1.6, markersize=5)
        for row in line:
            axes.annotate(
                f"{row['zh_share']:.0%}",
                (row["zh"], row["en"]),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=8,
                color=colour,
            )
    axes.set_xlabel("tokens per character, Chinese (fewer is better)")
    axes.set_ylabel("tokens per character, English (fewer is better)")
    axes.set_title(
        "Text that none of them learned from; beside each point the Chinese share of the sample", fontsize=10
    )
    axes.margins(0.08)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)
