"""The kinds of personal data, their placeholders, and which of them a corpus masks."""

from typing import Literal, NamedTuple

from xmodel_core.specs.strict import Strict

Kind = Literal["email", "ip", "phone", "id_number", "bank_card", "wechat", "qq"]
KINDS: tuple[Kind, ...] = ("email", "ip", "phone", "id_number", "bank_card", "wechat", "qq")
# Words in angle brackets read like a form with the value left out, in both languages; they are plain ASCII, so any
# tokenizer has pieces for them; and no detector's alphabet holds a bracket, so a placeholder is never masked again.
PLACEHOLDERS: dict[Kind, str] = {kind: f"<{kind.upper()}>" for kind in KINDS}


class MaskConfig(Strict):
    """Which personal data is masked."""

    kinds: tuple[Kind, ...] = KINDS
    """Kinds to mask; what is left out stays in the documents."""


class Edit(NamedTuple):
    """One replacement: the characters [start, end) of the original text."""

    kind: Kind
    start: int
    end: int
