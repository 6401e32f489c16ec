"""What each source of a recipe has, as far as is known: from published figures to counted tokens.

Takes a recipe and a workspace; gives a `SourceEstimate` per source and says what it rests on. Token shards are
counts; a finished corpus and files at hand are estimates by characters; published figures are taken
as they are; of a source about which nothing is known, nothing is claimed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xmodel_core.artifacts import Artifact
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.config import Recipe
from xmodel_core.errors import MissingInput
from xmodel_core.planning.inspect_files import measure
from xmodel_core.specs import Source, list_source
from xmodel_core.specs.sources import RAW_SCHEME

# Characters per token on 85 MB of mixed real text: a unigram of 8,192 pieces trained on it, and the power of the
# number of pieces that leads to what the lab's 32,000 and 65,280 reach on the same text.
CHARS_PER_TOKEN = {"zh": (1.38, 0.07), "en": (2.72, 0.14), "code": (2.6, 0.0), "multi": (2.0, 0.1)}
BYTES_PER_CHAR = {"zh": 2.8, "en": 1.01, "code": 1.01, "multi": 1.9}
TOKENS_PER_DOCUMENT = 1_000  # of web corpora: C4 has about 500, FineWeb-Edu about 1,000, books far more
KEPT = 0.85  # of the characters of raw documents after cleaning and deduplication; curated text keeps more (0.95)
WORLD_TOKENS_PER_DOCUMENT = 283  # of the sample world: 3.4M tokens in 12,000 documents


def chars_per_token(lang: str, vocab_size: int) -> float:
    """About how many characters a token of such a vocabulary covers."""
    at_8192, power = CHARS_PER_TOKEN[lang]
    return at_8192 * (vocab_size / 8192) ** power


@dataclass(frozen=True)
class SourceEstimate:
    """What a source has to give. None: nobody knows."""

    source: Source
    files: int | None
    documents: int | None
    chars: int | None
    tokens: int | None
    basis: str
    """What the figures rest on, in a few words."""
    counted: bool = False
    """Whether tokens and documents are counts rather than estimates."""
    missing: str = ""
    """Why it cannot be built from here; empty where its files are at hand."""

    @property
    def bytes_text(self) -> int:
        """About how many bytes its text has."""
        return round((self.chars or 0) * BYTES_PER_CHAR[self.source.lang])


def _published(source: Source, tokens: int | None, basis: str, vocab_size: int, missing: str) -> SourceEstimate:
    if tokens is None:
        return SourceEstimate(source, None, None, None, None, "nothing published", missing=missing)
    chars = round(tokens * chars_per_token(source.lang, vocab_size))
    return SourceEstimate(source, None, tokens // TOKENS_PER_DOCUMENT, chars, tokens, basis, missing=missing)


def _from_files(source: Source, raw: Artifact | None, vocab_size: int) -> SourceEstimate:
    if is_remote(source.uri):  # a plan uses no network
        return _published(
            source, source.published_tokens, "published", vocab_size, "its files are elsewhere; a run reads them there"
        )
    try:
        listed = list_source(source, raw)
    except MissingInput as error:
        return _published(source, source.published_tokens, "published", vocab_size, error.what)
    files = [Path(file) for _, file, _ in listed.files if isinstance(file, Path)]
    documents, _, chars = measure(source.format, files, source.records, source.text_field)
    tokens = round(KEPT * chars / chars_per_token(source.lang, vocab_size))
    basis = "estimated from its files"
    return SourceEstimate(source, len(files), round(KEPT * documents), round(KEPT * chars), tokens, basis)


def _from_world(source: Source, recipe: Recipe) -> SourceEstimate:
    from xmodel_core.sample_world.stage import SHARES

    assert recipe.sample_world is not None
    documents = round(recipe.sample_world.documents * SHARES.get(source.name, 0))
    tokens = documents * WORLD_TOKENS_PER_DOCUMENT
    chars = round(tokens * chars_per_token(source.lang, recipe.tokenizer.vocab_size))
    return SourceEstimate(source, None, documents, chars, tokens, "estimated from the world's size")


def _from_corpus(source: Source, corpus: Artifact, vocab_size: int) -> SourceEstimate | None:
    manifest = corpus.manifest()
    facts = manifest["facts"]["sources"].get(source.name)
    if facts is None:
        return None
    flow = [row for row in manifest["rows"]["document_flow"] if row["source"] == source.name]
    last = flow[-1]["stage"] if flow else None
    chars = sum(row["chars_out"] for row in flow if row["stage"] == last)
    tokens = round(chars / chars_per_token(source.lang, vocab_size))
    return SourceEstimate(source, None, facts["docs"], chars, tokens, "kept documents are there; tokens estimated")


def estimate_sources(
    recipe: Recipe,
    sources: Sequence[Source],
    world: Artifact | None,
    corpus: Artifact | None,
    shards: dict[str, Artifact],
) -> list[SourceEstimate]:
    """What each source has, by the best that is known of it. None of the artifacts need be there."""
    pieces = recipe.tokenizer.vocab_size
    estimates = []
    for source in sources:
        estimate = _from_corpus(source, corpus, pieces) if corpus else None
        if estimate is not None and source.name in shards:
            facts = shards[source.name].manifest()["facts"]
            counts = (facts["docs"], estimate.chars, facts["train_tokens"])
            estimate = SourceEstimate(source, None, *counts, "token shards", counted=True)
        elif estimate is None and source.uri.startswith(RAW_SCHEME) and (world is None or is_remote(str(world.folder))):
            estimate = _from_world(source, recipe)
        elif estimate is None:
            estimate = _from_files(source, world, pieces)
        estimates.append(estimate)
    return estimates
