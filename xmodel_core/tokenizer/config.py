"""What a tokenizer is made of: its pieces, the sample it learns from, what is held out of it.

Not knobs, because nothing else is lossless or what the reports do: byte fallback, no normalisation,
digits one by one, white space kept. The facts of a finished tokenizer are read from its artifact.
"""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from xmodel_core.specs.strict import Strict

LEAST_COVERAGE = 0.98
"""SentencePiece refuses to leave out more."""
SHARE = re.compile(r"(zh|en|code)(/\w[\w-]*)?")


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
    reserved_tokens: int = Field(default=0, ge=0, le=1000)
    """Special pieces without a meaning yet, <|reserved_0|> and on: a finished model can be taught new ones."""
    sample_characters: int = Field(default=10_000_000, gt=0)
    """Characters of the sample that the tokenizer learns from, all languages together."""
    sample_shares: dict[str, float] = Field(default={"zh": 0.45, "en": 0.45, "code": 0.1}, min_length=1)
    """Share of the sample's characters per detected language, or per language and source's category (zh/encyclopedia;
    the language alone is then the rest of it). What has less text gives all it has; the share of what has none goes
    to the rest of its language, and of a language that has none to the others. No mixture weight touches it."""
    held_out_sources: tuple[str, ...] = ()
    """Sources that the sample leaves out whole, so that the report tells how text from elsewhere fares."""
    validation_documents: int = Field(default=200, ge=0)
    """Documents per source that are held out of sample and training, by a hash of (source, id); at most a twentieth."""
    seed: int = Field(default=0, ge=0)
    """Which documents the sample draws."""

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """The special tokens, then the reserved ones: the ids after </s>, in order."""
        return (*self.special_tokens, *(f"<|reserved_{number}|>" for number in range(self.reserved_tokens)))

    @field_validator("sample_shares")
    @classmethod
    def _shares_of_something(cls, shares: dict[str, float]) -> dict[str, float]:
        for key in shares:
            if not SHARE.fullmatch(key):
                raise ValueError(f"a share is of zh, en or code, or of one and a category (zh/encyclopedia), not {key}")
        if min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError("shares are not negative, and one of them is above zero")
        return shares

    @model_validator(mode="after")
    def _distinct(self) -> "TokenizerConfig":
        tokens = self.control_tokens
        if len({*tokens, "<unk>", "<s>", "</s>"}) != len(tokens) + 3 or not all(tokens):
            raise ValueError("special tokens are not empty, differ from each other and from <unk>, <s>, </s>")
        return self
