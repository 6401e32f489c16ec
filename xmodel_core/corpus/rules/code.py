"""Rules for programs: length, lines, letters. Repeated lines, brackets and signs are a program's nature,
so the rules for prose stay away from it (StarCoder, arXiv 2305.06161, section 3, is the model)."""

import numpy as np

from xmodel_core.corpus.config import CodeRules
from xmodel_core.corpus.rules.shared import Columns


def too_short(columns: Columns, rules: CodeRules) -> np.ndarray:
    """A fragment."""
    return columns["words"] < rules.min_words


def long_lines(columns: Columns, rules: CodeRules) -> np.ndarray:
    """Minified or generated code."""
    return columns["mean_line_length"] > rules.max_mean_line_length


def few_letters(columns: Columns, rules: CodeRules) -> np.ndarray:
    """Tables of figures."""
    return columns["letter_share"] < rules.min_letter_share


def encoded_data(columns: Columns, rules: CodeRules) -> np.ndarray:
    """Long runs of letters and digits: base64, hexadecimal."""
    return columns["long_word_share"] > rules.max_long_word_share


def broken_decoding(columns: Columns, rules: CodeRules) -> np.ndarray:
    """Control characters: a binary file."""
    return columns["control_share"] > rules.max_control_share


def repeated_lines(columns: Columns, rules: CodeRules) -> np.ndarray:
    """The same lines again and again, beyond brackets."""
    return columns["duplicate_line_share"] > rules.max_duplicate_line_share


RULES = (too_short, broken_decoding, few_letters, encoded_data, long_lines, repeated_lines)
"""In this order: the first that drops a document is its reason."""
