"""What a vocabulary's size and the sample's balance cost each language: many tokenizers, one table, one picture.

Takes rows of tokenizers of several sizes and Chinese shares, measured on the same unseen text; gives the trade-off:
tokens per Chinese character against tokens per English character, one line a size, one point a share. Which is
better depends on what a model will read; the picture shows what each choice buys.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xmodel_core.tokenizer.config import TokenizerConfig

LANGUAGES = ("zh", "en", "code")


def with_balance(config: TokenizerConfig, vocab_size: int, zh_share: float) -> TokenizerConfig:
    """The configuration with another size, and with Chinese so large a share of what Chinese and English have together;
    inside a language its categories keep their proportions."""
    of = {lang: {key for key in config.sample_shares if key.partition("/")[0] == lang} for lang in ("zh", "en")}
    sums = {lang: sum(config.sample_shares[key] for key in keys) for lang, keys in of.items()}
    both = sum(sums.values())
    shares = dict(config.sample_shares)
    for lang, part in (("zh", zh_share), ("en", 1 - zh_share)):
        for key in of[lang]:
            shares[key] = config.sample_shares[key] / sums[lang] * part * both if sums[lang] else 0.0
    return config.model_copy(update={"vocab_size": vocab_size, "sample_shares": shares})


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line a tokenizer: pieces, zh_share, tokens per character of each language; tab-separated."""
    columns = ("pieces", "zh_share", *LANGUAGES, "tokenizer")
    lines = ["\t".join(columns)]
    for row in rows:
        cells = (row[name] for name in columns)
        lines.append(
            "\t".join("" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw_trade_off(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A PNG: Chinese to the right, English upwards, fewer tokens per character towards the lower left."""
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
