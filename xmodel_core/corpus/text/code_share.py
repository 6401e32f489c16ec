"""How much of a text is a program: the share of its lines that only a program has.

Takes a batch and the kinds of its words; gives a share per text, in characters. Lines are judged by their
`LineFeatures`: a line of a program is recognised by what prose does not have, so a comment or a broken line counts
only where the rest is a program.
"""

import numpy as np

from xmodel_core.corpus.text.batch import TextBatch
from xmodel_core.corpus.text.code_lines import (
    ASSIGNMENT,
    BRACKETS,
    BRANCH,
    CALL,
    COMMENT,
    DECLARATION,
    DEFINITION,
    ENTITY,
    FENCE,
    IMPORT,
    INDENTED,
    JUMP,
    SEEN,
    STATEMENT,
    TEX,
    measure_lines,
)

Array = np.ndarray

CHECKED_CHARACTERS = 20_000  # of a text
CHECKED_LINE_CHARACTERS = 4000  # of a long line
LONG_LINE_CHARACTERS, FEW_LINES = 200, 3  # longer lines, and texts of fewer, are judged by their words and idioms
# Flags of lines that only a program has; prose that mentions `code` in passing has none of them.
_STRONG = BRACKETS | COMMENT | DEFINITION | IMPORT | BRANCH | JUMP | DECLARATION | STATEMENT
_WEAK = ASSIGNMENT | CALL  # lines that a program has too, counted only beside strong ones


def code_shares(batch: TextBatch, kinds: Array, wanted: Array) -> Array:
    """float64 [n]: of the characters in the lines of each wanted text, those in lines of a program; 0 for the others.
    `kinds` is uint16 [words], `wanted` bool [n]; only the first CHECKED_CHARACTERS of a text count."""
    features = measure_lines(batch, kinds, wanted, CHECKED_CHARACTERS, CHECKED_LINE_CHARACTERS)
    flags, sums = features.flags, batch.lines.sums
    size = features.sizes
    # A fence itself is no evidence: the lines inside are judged one by one.
    counted = (flags & SEEN != 0) & (flags & FENCE == 0)
    lines = sums(flags & SEEN != 0)
    few = np.repeat(lines <= FEW_LINES, np.diff(batch.lines.slices.offsets))
    beginning = np.minimum(size, CHECKED_LINE_CHARACTERS)
    inside = (size > LONG_LINE_CHARACTERS) | few
    inside &= features.keywords >= 1 + beginning // 400
    inside &= features.keywords + features.idioms >= np.maximum(3, beginning / 40)
    judged = counted & ~inside & (size <= LONG_LINE_CHARACTERS) & (flags & TEX == 0)
    strong = counted & inside | judged & (flags & ENTITY == 0) & (flags & _STRONG != 0)
    weak = judged & ~strong & (flags & _WEAK != 0)
    indented = judged & ~strong & ~weak & (flags & INDENTED != 0)

    strong_lines = sums(strong)
    program = sums(strong * size) + sums(weak * size)
    # Docstrings and broken lines, where the rest is a program.
    program += np.where(strong_lines >= 0.1 * lines, sums(indented * size), 0)
    total = sums(counted * size)
    return np.divide(program, total, out=np.zeros(len(total)), where=(total > 0) & (strong_lines > 0))
