"""Rules for Chinese prose: length in characters, everyday and function characters, and the shared ones.

Chinese has no spaces, so nothing is counted in words; gibberish shows in rare characters (random or
wrongly decoded text) and in prose without 的, 一, 是, 不 or, in classical texts, 之, 其, 而.
"""

import numpy as np

from xmodel_core.corpus.config import ChineseRules
from xmodel_core.corpus.rules.shared import FORM, Columns, perplexity


def too_short(columns: Columns, rules: ChineseRules) -> np.ndarray:
    """Too few characters to say anything: headlines, titles."""
    return columns["words"] < rules.min_characters


def too_long(columns: Columns, rules: ChineseRules) -> np.ndarray:
    """More characters than a document has: a dump."""
    return columns["words"] > rules.max_characters


def few_chinese_characters(columns: Columns, rules: ChineseRules) -> np.ndarray:
    """Hardly any Chinese among the letters."""
    return columns["han_share"] < rules.min_han_share


def punctuation(columns: Columns, rules: ChineseRules) -> np.ndarray:
    """More punctuation than text."""
    return columns["punctuation_share"] > rules.max_punctuation_share


def gibberish(columns: Columns, rules: ChineseRules) -> np.ndarray:
    """Rare characters throughout (UTF-8 read as GBK, random characters), or the same few again and again."""
    different = columns["distinct_word_share"] * columns["words"]
    few = (columns["words"] >= rules.function_characters_from) & (different < rules.min_different_characters)
    return (columns["common_han_share"] < rules.min_common_han_share) | few


def no_function_characters(columns: Columns, rules: ChineseRules) -> np.ndarray:
    """A long text without particles and pronouns: keyword lists, names, tables."""
    share = columns["function_character_share"]
    unpunctuated = columns["punctuation_share"] < rules.min_punctuation_share
    few = (share < rules.min_function_character_share) | (unpunctuated & (share < rules.unpunctuated_function_share))
    return (columns["words"] >= rules.function_characters_from) & few


def random_order(columns: Columns, rules: ChineseRules) -> np.ndarray:
    """Characters in random order: no word ever repeats. Verse repeats none either, but has short lines."""
    long = (columns["words"] >= rules.order_from) & (columns["mean_line_length"] > rules.verse_line_characters)
    return long & (columns["word_order"] < rules.min_word_order)


RULES = (
    too_short,
    too_long,
    few_chinese_characters,
    punctuation,
    *FORM,
    gibberish,
    no_function_characters,
    random_order,
    perplexity,
)
"""In this order: the first that drops a document is its reason."""
