"""Rules that Chinese and English share, each with its own language's thresholds.

Takes columns and thresholds; gives masks of drops. They judge form, not words: repetition inside a
document (Gopher), pages without sentences (FineWeb, Gopher), and the traces of a broken decoding.
"""

from collections.abc import Mapping

import numpy as np

from xmodel_core.corpus.config import ChineseRules, EnglishRules

Columns = Mapping[str, np.ndarray]
Prose = EnglishRules | ChineseRules


def is_mathematics(columns: Columns, rules: Prose) -> np.ndarray:
    """Figures and signs throughout, but no keys or random strings."""
    formulas = columns["digit_share"] + columns["code_symbol_share"]
    limits = rules.formulas
    return (formulas >= limits.min_share) & (columns["mixed_word_share"] <= limits.max_mixed_word_share)


def _allowance(columns: Columns, rules: Prose, short_allowance: float) -> np.ndarray:
    """Factors of the limits on repetition: larger for short documents and mathematics, infinite for documents that are
    too short to judge."""
    limits, words = rules.repetition, columns["words"]
    short = np.where(words < limits.short_below_words, short_allowance, 1.0)
    short[words < limits.min_words] = np.inf
    return short * np.where(is_mathematics(columns, rules), rules.formulas.repetition_allowance, 1.0)


def repeated_lines(columns: Columns, rules: Prose) -> np.ndarray:
    """Lines seen before in the document, by number or by length."""
    limits = rules.repetition
    allowance = _allowance(columns, rules, limits.short_allowance)
    return (columns["duplicate_line_share"] > allowance * limits.max_duplicate_line_share) | (
        columns["duplicate_line_character_share"] > allowance * limits.max_duplicate_line_character_share
    )


def repeated_phrase(columns: Columns, rules: Prose) -> np.ndarray:
    """One phrase of two to four words makes up much of the text."""
    limits = rules.repetition
    allowance = _allowance(columns, rules, limits.short_allowance)
    return (
        (columns["top_2gram_share"] > allowance * limits.max_top_2gram_share)
        | (columns["top_3gram_share"] > allowance * limits.max_top_3gram_share)
        | (columns["top_4gram_share"] > allowance * limits.max_top_4gram_share)
    )


def repeated_passages(columns: Columns, rules: Prose) -> np.ndarray:
    """Runs of five, or of ten, words seen before in the document."""
    limits = rules.repetition
    some, passages = (
        _allowance(columns, rules, allowance) for allowance in (limits.short_allowance, limits.short_passage_allowance)
    )
    return (columns["duplicate_5gram_share"] > some * limits.max_duplicate_5gram_share) | (
        columns["duplicate_10gram_share"] > passages * limits.max_duplicate_10gram_share
    )


def menu(columns: Columns, rules: Prose) -> np.ndarray:
    """Entries instead of sentences, in short lines or between dividers: navigation, contents, tag lists."""
    limits = rules.layout
    equations = is_mathematics(columns, rules) & (columns["code_symbol_share"] >= rules.formulas.min_sign_share)
    in_lines = (
        (columns["lines"] >= limits.min_lines)
        & (columns["short_line_share"] > limits.max_short_line_share)
        & (columns["finished_line_share"] < limits.min_finished_line_share)
        & (columns["function_word_share"] < limits.max_function_word_share)
        & ~equations
    )
    return in_lines | (columns["divider_share"] > limits.max_dividers_per_word)


def site_notices(columns: Columns, rules: Prose) -> np.ndarray:
    """A page of the site's standing notices: cookies, terms, copyright, log in, share."""
    limits = rules.layout
    return (columns["notice_line_share"] > limits.max_notice_line_share) & (
        columns["notice_kinds"] >= limits.min_notice_kinds
    )


def bullet_list(columns: Columns, rules: Prose) -> np.ndarray:
    """Nearly every line begins with a bullet and ends without a stop."""
    limits = rules.layout
    return (
        (columns["lines"] >= limits.min_lines)
        & (columns["bullet_line_share"] > limits.max_bullet_line_share)
        & (columns["finished_line_share"] < limits.min_finished_line_share)
    )


def cut_off_lines(columns: Columns, rules: Prose) -> np.ndarray:
    """Lines that end in an ellipsis: lists of teasers."""
    limits = rules.layout
    return (columns["lines"] >= limits.min_lines) & (columns["ellipsis_line_share"] > limits.max_ellipsis_line_share)


def link_list(columns: Columns, rules: Prose) -> np.ndarray:
    """More addresses than words to explain them."""
    return columns["urls"] > rules.layout.max_urls_per_word * columns["words"]


def symbols(columns: Columns, rules: Prose) -> np.ndarray:
    """Symbols and menu separators instead of words, or # and … after every few."""
    hashes = columns["hash_share"]
    many = (hashes > rules.max_hash_share) & (hashes * columns["words"] >= rules.min_hashes - 0.5)  # a rounded count
    return (columns["symbol_share"] > rules.max_symbol_share) | many


def few_letters(columns: Columns, rules: Prose) -> np.ndarray:
    """Figures and signs instead of letters: tables, scores, encoded data. Mathematics needs fewer."""
    least = np.where(is_mathematics(columns, rules), rules.formulas.min_letter_share, rules.min_letter_share)
    return columns["letter_share"] < least


def broken_decoding(columns: Columns, rules: Prose) -> np.ndarray:
    """Control and private-use characters: bytes that were read in a wrong encoding."""
    return columns["control_share"] > rules.max_control_share


def perplexity(columns: Columns, rules: Prose) -> np.ndarray:
    """Unlike what the language's model was trained on: characters or words in no order (Xmodel-LM's filter; neither
    its model nor its threshold is published)."""
    if rules.max_perplexity is None:
        return np.zeros(len(columns["words"]), bool)
    return (columns["words"] >= rules.perplexity_from) & (columns["perplexity"] > rules.max_perplexity)


FORM = (
    broken_decoding,
    symbols,
    few_letters,
    menu,
    site_notices,
    bullet_list,
    cut_off_lines,
    link_list,
    repeated_lines,
    repeated_phrase,
    repeated_passages,
)
"""In this order: the first that drops a document is its reason."""
