"""Writes a recipe and specs for a person's own files, to be read and edited: the work of `xmodel init`.

Takes paths and a name; gives NAME/recipe.yaml, NAME/sources.yaml and NAME/mixture.yaml. Every size follows from the
amount of text in the files, so that a first run ends within minutes on two cores; a comment beside each number says
what to raise for a better model.
"""

import os
import re
from collections import defaultdict
from pathlib import Path

import click
import yaml

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import count_parameters
from xmodel_core.planning.inspect_files import SourceProfile, inspect_paths
from xmodel_core.planning.supply import KEPT, chars_per_token

MAX_EPOCHS = 4  # seen up to four times, a token is nearly as good as a new one (Muennighoff et al. 2023)
LANGUAGE_WEIGHTS = {"zh": 45.0, "en": 45.0, "multi": 45.0, "code": 10.0}
# Tokens of the first run: eight minutes of fp32 for the model below, at 2,000 tokens a second of one thread (Xeon).
FIRST_RUN_TOKENS = 1_000_000
SEQUENCE_LENGTH = 256
MIN_STEPS = 10


def tokens_of(source: SourceProfile) -> int:
    """About how many tokens a source has after cleaning."""
    return max(round(KEPT * source.chars / chars_per_token(source.lang, 8192)), 1)


def vocabulary_size(sources: list[SourceProfile]) -> int:
    """Pieces of the tokenizer: one for 200 characters of text (text that repeats itself supports no more), with room
    for each distinct character; 512 to 8,192."""
    by_text = sum(source.chars for source in sources) // 200
    by_characters = len(frozenset().union(*(source.characters for source in sources))) + 512
    return min(max(-(-max(by_text, by_characters) // 512) * 512, 512), 8192)


def batch_and_steps(sources: list[SourceProfile]) -> tuple[int, int]:
    """Tokens per step, and steps of the first run: the tokens that eight minutes allow, or less where there is less."""
    # Half of what the epochs allow: if more is dropped than expected, the run still finds enough.
    tokens = min(FIRST_RUN_TOKENS, MAX_EPOCHS // 2 * sum(tokens_of(source) for source in sources))
    batch = next((size for size in (8, 4) if tokens >= 100 * size * SEQUENCE_LENGTH), 1) * SEQUENCE_LENGTH
    return batch, max(tokens // batch, MIN_STEPS)


def token_shares(sources: list[SourceProfile]) -> dict[str, float]:
    """Percent of tokens per source: languages balanced, each source of a language by its size."""
    by_lang: dict[str, list[SourceProfile]] = defaultdict(list)
    for source in sources:
        by_lang[source.lang].append(source)
    supply = {lang: sum(map(tokens_of, of_lang)) for lang, of_lang in by_lang.items()}
    batch, steps = batch_and_steps(sources)
    run_tokens = batch * steps
    share: dict[str, float] = {}
    for _ in by_lang:  # a language with too little text gives what it has, the others share the rest
        open_weight = sum(LANGUAGE_WEIGHTS[lang] for lang in by_lang if lang not in share)
        rest = 100 - sum(share.values())
        asked = {lang: rest * LANGUAGE_WEIGHTS[lang] / open_weight for lang in by_lang if lang not in share}
        limit = {lang: 100 * MAX_EPOCHS * supply[lang] / run_tokens for lang in asked}
        capped = {lang: limit[lang] for lang in asked if limit[lang] < asked[lang]}
        share |= capped or asked
        if not capped:
            break
    return {source.name: share[source.lang] * tokens_of(source) / supply[source.lang] for source in sources}


def _plain(text: str) -> str:
    """A string as YAML reads it back: quoted where it would be taken for something else."""
    return yaml.safe_dump(text, allow_unicode=True, width=10_000).removesuffix("...\n").strip()


def _size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:.0f} bytes"


def _uri(uri: str, folder: Path) -> str:
    """Relative to the spec where both are under one folder that is not the root: the two can then be moved together."""
    common = Path(os.path.commonpath([uri, folder]))
    return os.path.relpath(uri, folder) if len(common.parts) > 1 else uri


SOURCES_HEADER = """\
# The sources of {name}: where your documents are and what they contain. Everything here is read off a sample
# of each source's records; change what is wrong. The fields are explained in datasets_spec/README.md.
#
#   lang      zh, en, code, or multi (declares nothing). Documents that are clearly in another language are dropped.
#   category  what kind of text: web, book, encyclopedia, academic, news, law, math, code, social, sft …
#             Mixtures and reports group by it.
#   license   what the publisher allows. It was not looked up: fill it in before you share a model.
#   records   text (the default), or what instruction data is: alpaca (prompt and answer) or sharegpt (turns).
#   id_field  the field that names a document; null: documents are named file:row.
#   policy    which quality rules judge it: prose (the default) or code.
#
# Of two copies of a document, the one from the source listed first here is kept.
{left_out}description: {description}
sources:
"""

MIXTURE_HEADER = """\
# The share of training tokens that each source gives. The numbers are weights: only their ratios count; as written
# they add up to 100. Chinese and English get equal shares where there is enough text, code a smaller one; within a
# language each source's share follows its size. Rare, good text deserves more than that.
#
#   max_epochs  how often its documents are seen at most, over the whole run. Up to {max_epochs} times they are nearly
#               as good as new ones.
#
# A key may also be a language and category, like zh/web: it is split among its sources by their size.
description: {description}
phases:   # named after the schedule's phases in the recipe
"""


def _source_entry(source: SourceProfile, folder: Path) -> str:
    files = f"{source.files} file{'s' if source.files != 1 else ''}"
    size = f"about {source.documents:,} documents, {_size(source.bytes_text)} of text, {files}"
    lines = [
        f"  - name: {_plain(source.name)}   # {size}",
        f"    lang: {source.lang}",
        f"    category: {source.category}",
        "    license: unknown   # please fill in",
        f"    uri: {_plain(_uri(source.uri, folder))}",
    ]
    if source.mixed:
        languages = ", ".join(f"{share:.0%} {lang}" for lang, share in source.mixed.items() if share >= 0.01)
        reason = "as its records or its name say" if source.lang != "multi" else "multi keeps them all"
        lines[1] += f"   # mixed: {languages}; {reason}"
    if source.format != "jsonl":
        lines.append(f"    format: {source.format}")
    if source.records != "text":
        lines.append(f"    records: {source.records}   # instruction data: prompts and answers become text")
    note = f"   # {source.text_note}" if source.text_note else ""
    if source.text_field != {"alpaca": "output", "sharegpt": "conversations"}.get(source.records, "text"):
        lines.append(f"    text_field: {_plain(source.text_field)}{note}")
    if source.id_field != "id":
        lines.append(f"    id_field: {'null' if source.id_field is None else _plain(source.id_field)}")
    if source.lang == "code":
        lines.append("    policy: code")
    if source.unreadable:
        lines.append(f"    # of the records looked at, these are set aside: {source.unreadable}")
    return "\n".join(lines) + "\n"


def _phases(sources: list[SourceProfile]) -> str:
    shares = token_shares(sources)
    lines = ["  - name: stable", "    sources: &shares"]
    for lang in dict.fromkeys(
        source.lang for source in sorted(sources, key=lambda source: -LANGUAGE_WEIGHTS[source.lang])
    ):
        of_lang = [source for source in sources if source.lang == lang]
        lines.append(f"      # {lang}: {sum(shares[source.name] for source in of_lang):.1f} %")
        for source in of_lang:
            # Four digits, so that a tiny source does not round to nothing.
            share = f"{{weight: {shares[source.name]:.4g}, max_epochs: {MAX_EPOCHS}}}"
            lines.append(f"      {_plain(source.name)}: {share}   # about {tokens_of(source):,} tokens")
    lines += [
        "  - name: decay   # the last fifth, where a model learns most from the best text",
        "    sources: *shares   # the same again; or write other shares here",
    ]
    return "\n".join(lines) + "\n"


RECIPE = """\
# {name}: from your documents to an evaluated model. Written by `xmodel init`; yours to edit.
#
#   xmodel plan {name}/recipe.yaml    what it would build, and about how long that takes
#   xmodel run {name}/recipe.yaml     everything; run again after a change and only what depends on it is built again
#
# `extends: xmodel2-nano` and the like start from a published recipe instead. Any field can be changed for one run:
#   xmodel run {name}/recipe.yaml --set training.peak_lr=0.005
name: {name}
description: {description}
sources: [sources.yaml]     # which documents, from where
mixture: mixture.yaml       # how much of each the model sees

tokenizer:
  vocab_size: {vocabulary}            # pieces; more text supports more: 32,000 from about a gigabyte on
  character_coverage: 0.995    # rarer characters are spelled in bytes: nothing is lost, pieces go to what is common
  sample_characters: 6_000_000 # how much text the tokenizer learns from
  sample_shares: {{{sample}}}   # its own shares: changing the mixture does not touch it

model:                        # Xmodel-2's block in its smallest size: {parameters:,} parameters
  hidden_size: 192            # width; 256, 384, 512, 768 … are larger models, and cost their square
  intermediate_size: 512      # width of the feed-forward network, about 2.7 times hidden_size
  num_hidden_layers: 6
  num_attention_heads: 6      # hidden_size / num_attention_heads is the size of a head
  num_key_value_heads: 1      # heads share keys and values; must divide num_attention_heads
  max_position_embeddings: 256
  initializer_range: 0.1      # this and the next three: muP, so that a learning rate found on a small model fits a
  scale_emb: 12.0             # larger one; with a larger hidden_size leave them as they are
  scale_depth: 1.4
  dim_model_base: 192

training:                     # {total:,} steps of {batch:,} tokens: {tokens:,} tokens
  schedule: wsd               # warm-up, then constant, then a decay at the end, where the loss falls most
  warmup_steps: {warmup}
  stable_steps: {stable}           # more steps are a better model; {most:,} would see everything {epochs} times
  decay_steps: {decay}
  decay_shape: linear
  peak_lr: 0.01               # with muP the same for every width
  global_batch_tokens: {batch}   # tokens per step
  sequence_length: 256        # tokens that the model sees at once
  micro_batch_sequences: {micro}    # sequences at a time; less needs less memory and changes nothing else
  precision: fp32             # on a GPU: bf16
  compile: false              # true: fused kernels, faster after a minute of compiling; pays from some ten minutes on
  threads_per_worker: 1       # CPU threads; on a quiet machine two are a third faster, on a busy one slower. Stated,
                              # not detected, because sums in another order differ in the last digits
  checkpoint_every_steps: {every}   # a killed run continues from the newest
  validate_every_steps: {every}
  validation_tokens: {validation}     # held-out tokens of each source in a validation; more are surer, and slower

# What the model is asked when it is done. With a folder of benchmarks (<benchmark>/<split>.jsonl):
# evaluation:
#   suites: [commonsense, chinese]
#   data: ../bench
#   sample_limit: 200         # questions per task
"""


def _recipe(name: str, sources: list[SourceProfile]) -> str:
    batch, total = batch_and_steps(sources)
    supply = sum(tokens_of(source) for source in sources)
    warmup, decay = total // 20, total // 5
    langs = {"zh": 0.45, "en": 0.45, "code": 0.1}
    sample = {lang: share for lang, share in langs.items() if any(source.lang in (lang, "multi") for source in sources)}
    model = ModelConfig(
        hidden_size=192, intermediate_size=512, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=1
    )
    pieces = vocabulary_size(sources)
    return RECIPE.format(
        name=name,
        description=_description(sources),
        vocabulary=pieces,
        sample=", ".join(f"{lang}: {share}" for lang, share in sample.items()),
        parameters=count_parameters(model, pieces).total,
        total=total,
        batch=batch,
        tokens=total * batch,
        micro=min(batch // SEQUENCE_LENGTH, 8),
        warmup=warmup,
        stable=total - warmup - decay,
        decay=decay,
        most=MAX_EPOCHS * supply // batch,
        epochs=MAX_EPOCHS,
        every=max(total // 2, 1),
        # A validation of all sources costs about as much as a fiftieth of the training.
        validation=max(1, total * batch // 20 // len(sources) // SEQUENCE_LENGTH) * SEQUENCE_LENGTH,
    )


def _description(sources: list[SourceProfile]) -> str:
    langs = ", ".join(dict.fromkeys(source.lang for source in sources))
    documents, size = sum(source.documents for source in sources), sum(source.bytes_text for source in sources)
    return f"About {documents:,} documents, {_size(size)} of text in {len(sources)} sources ({langs})."


def write_specs(paths: list[Path], name: str, into: Path | None = None) -> list[Path]:
    """Writes NAME/recipe.yaml, sources.yaml and mixture.yaml under `into` (default: the working folder) and returns
    their paths.

    XmodelError: a name that is taken or not allowed, a missing path, an empty folder, nothing that can be read."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise XmodelError("not a valid recipe name", expected="letters, digits, . _ -", found=repr(name))
    folder = (into or Path.cwd()).resolve() / name
    if folder.exists():
        remedy = "choose another --name, or move the existing folder away"
        raise XmodelError(f"{name} already exists", expected="an unused name", where=folder, remedy=remedy)
    sources, left_out = inspect_paths(paths)
    for line in left_out:
        click.echo(f"left out: {line}", err=True)
    notes = "".join(f"#   {line}\n" for line in left_out)
    description = _description(sources)
    mixture = _phases(sources)
    texts = {
        "recipe.yaml": _recipe(name, sources),
        "sources.yaml": SOURCES_HEADER.format(
            name=name, description=description, left_out=f"#\n# Left out:\n{notes}" if notes else ""
        )
        + "".join(_source_entry(source, folder) for source in sources),
        "mixture.yaml": MIXTURE_HEADER.format(description=description, max_epochs=MAX_EPOCHS) + mixture,
    }
    folder.mkdir(parents=True)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in texts]
