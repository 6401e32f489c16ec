"""What a tokenizer is made of: its pieces, the sample it learns from, what is held out of it.

Not knobs, because nothing else is lossless or what the reports do: byte fallback, no normalisation,
digits one by one, white space kept. The facts of a finished tokenizer are read from its artifact.
"""

from typing import Literal

from pydantic import Field, field_validator

from xmodel_core.specs.strict import Strict

LEAST_COVERAGE = 0.98
"""SentencePiece refuses to leave out more."""
SampleLanguage = Literal["zh", "en", "code"]


class TokenizerConfig(Strict):
    """One tokenizer, and how documents are encoded with it."""

    vocab_size: int = Field(gt=300, le=1_000_000)
    """Pieces, all special and byte pieces included. Up to 65,536 a token takes two bytes on disk, then four."""
    model_type: Literal["unigram", "bpe"] = "unigram"
    """SentencePiece's model. The Xmodel reports use unigram."""
    character_coverage: float = Field(default=0.9999, ge=LEAST_COVERAGE, le=1)
    """Share of the sample's characters that get pieces of their own; the rest is written in byte pieces."""
    max_piece_length: int = Field(default=16, ge=1, le=64)
    """Characters of the longest piece."""
    special_tokens: tuple[str, ...] = ("<|im_start|>", "<|im_end|>")
    """Pieces beside <unk>, <s> and </s> that stand for no text: text that spells one never encodes to it."""
    sample_characters: int = Field(default=10_000_000, gt=0)
    """Characters of the sample that the tokenizer learns from, all languages together."""
    sample_shares: dict[SampleLanguage, float] = Field(default={"zh": 0.45, "en": 0.45, "code": 0.1}, min_length=1)
    """Share of the sample's characters per detected language; a language with less text gives all it has."""
    validation_documents: int = Field(default=200, ge=0)
    """Documents per source that are held out of sample and training, by a hash of (source, id); at most a twentieth."""
    seed: int = Field(default=0, ge=0)
    """Which documents the sample draws."""

    @field_validator("sample_shares")
    @classmethod
    def _shares_of_something(cls, shares: dict[str, float]) -> dict[str, float]:
        if min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError("shares are not negative, and one of them is above zero")
        return shares

    @field_validator("special_tokens")
    @classmethod
    def _distinct(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        if len({*tokens, "<unk>", "<s>", "</s>"}) != len(tokens) + 3 or not all(tokens):
            raise ValueError("special tokens are not empty, differ from each other and from <unk>, <s>, </s>")
        return tokens
