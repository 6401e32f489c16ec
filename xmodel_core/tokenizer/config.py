"""The tokenizer's configuration: its pieces, the sample it learns from, what is held out of it.

Not configurable, because anything else would lose text or differ from the Xmodel reports: byte fallback, no
normalisation, digits one by one, white space kept. The facts of a finished tokenizer are read from its artifact.
"""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from xmodel_core.specs.strict import Strict

LEAST_COVERAGE = 0.98
"""SentencePiece accepts no less."""
SHARE = re.compile(r"(zh|en|code)(/\w[\w-]*)?")


class TokenizerConfig(Strict):
    """How one tokenizer is trained and documents are encoded with it."""

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
    """Special pieces without a meaning yet, from <|reserved_0|>: a finished model can be taught to use them."""
    sample_characters: int = Field(default=10_000_000, gt=0)
    """Characters of the sample that the tokenizer learns from, all languages together."""
    sample_shares: dict[str, float] = Field(default={"zh": 0.45, "en": 0.45, "code": 0.1}, min_length=1)
    """Share of the sample's characters per detected language, or per language and source's category (zh/encyclopedia;
    the language alone is then the rest of it). A share with too little text gives all it has; that of a category
    without any goes to the rest of its language, that of a language without any to the others. No mixture weight
    changes it."""
    held_out_sources: tuple[str, ...] = ()
    """Sources that the sample leaves out entirely, so that `tokenizer-report` measures text from elsewhere."""
    validation_documents: int = Field(default=200, ge=0)
    """Documents per source that are held out of sample and training, by a hash of (source, id); at most a twentieth."""
    seed: int = Field(default=0, ge=0)
    """Seed of the hash by which the sample draws documents."""

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """The special tokens, then the reserved ones: the ids after </s>, in order."""
        return (*self.special_tokens, *(f"<|reserved_{number}|>" for number in range(self.reserved_tokens)))

    @field_validator("sample_shares")
    @classmethod
    def _shares_of_something(cls, shares: dict[str, float]) -> dict[str, float]:
        for key in shares:
            if not SHARE.fullmatch(key):
                raise ValueError(
                    f"a share's key is zh, en or code, or one of them and a category (zh/encyclopedia), not {key}"
                )
        if min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError("shares must not be negative, and at least one must be above zero")
        return shares

    @model_validator(mode="after")
    def _distinct(self) -> "TokenizerConfig":
        tokens = self.control_tokens
        if len({*tokens, "<unk>", "<s>", "</s>"}) != len(tokens) + 3 or not all(tokens):
            raise ValueError(
                "special tokens must not be empty, and must differ from each other and from <unk>, <s>, </s>"
            )
        return self
