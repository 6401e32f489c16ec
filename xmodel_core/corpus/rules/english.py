"""Rules for English prose: length in words, word shapes, function words (Gopher), and the shared ones."""

import numpy as np

from xmodel_core.corpus.config import EnglishRules
from xmodel_core.corpus.rules.shared import FORM, Columns, is_mathematics, perplexity

GOPHER_MIN_WORDS = 50


def too_short(columns: Columns, rules: EnglishRules) -> np.ndarray:
    """Too few words to say anything."""
    return columns["words"] < rules.min_words


def too_long(columns: Columns, rules: EnglishRules) -> np.ndarray:
    """More words than a document has: a dump."""
    return columns["words"] > rules.max_words


def word_length(columns: Columns, rules: EnglishRules) -> np.ndarray:
    """Words that are too short or too long on average, or runs that are no words."""
    length = columns["mean_word_length"]
    return (
        ((length < rules.min_mean_word_length) & ~is_mathematics(columns, rules))
        | (length > rules.max_mean_word_length)
        | (columns["long_word_share"] > rules.max_long_word_share)
    )


def gibberish(columns: Columns, rules: EnglishRules) -> np.ndarray:
    """Letters that form no English: too few or too many vowels."""
    vowels = columns["vowel_share"]
    unlikely = (vowels < rules.min_vowel_share) | (vowels > rules.max_vowel_share)
    return unlikely & ~is_mathematics(columns, rules)


def no_function_words(columns: Columns, rules: EnglishRules) -> np.ndarray:
    """No the, of, and, to …: keyword lists, names, tables (Gopher's stop words)."""
    share = columns["function_word_share"]
    few = (columns["words"] >= GOPHER_MIN_WORDS) & (columns["function_words"] < rules.min_function_words)
    few &= share < rules.few_function_words_share
    rare = share < rules.min_function_word_share
    return (few | rare) & ~is_mathematics(columns, rules)


RULES = (too_short, too_long, *FORM, word_length, gibberish, no_function_words, perplexity)
"""In this order: the first that drops a document is its reason."""
