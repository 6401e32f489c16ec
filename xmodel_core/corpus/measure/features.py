"""Features that the rules judge by: a few dozen numbers per text, counted from one batch.

Takes a batch and which texts are Chinese; gives float32 columns named in `FEATURES`. Shares are in
0..1. Chinese repetition is counted in twice as many characters as English in words, because a
Chinese word is about two characters long.
"""

from functools import cache

import numpy as np

from xmodel_core.corpus.measure.tally import (
    BULLET,
    COLON,
    DIVIDER,
    ENDS_SENTENCE,
    MARK,
    PARTICLE,
    Limits,
    Vocabulary,
    tally,
    vocabulary,
)
from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text.batch import Array, TextBatch, make_batch
from xmodel_core.corpus.text.rolling_hash import word_hash
from xmodel_core.corpus.text.site_text import DIVIDERS, NOTICES

# Gopher's eight words (Rae et al. 2021, table A1) and the commonest function words beside them.
GOPHER_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
FUNCTION_WORDS = (
    *GOPHER_WORDS,
    "a",
    "in",
    "is",
    "it",
    "for",
    "on",
    "was",
    "as",
    "are",
    "this",
    "you",
    "he",
    "i",
    "not",
)
# Particles and pronouns of modern and classical Chinese prose, in both scripts.
FUNCTION_CHARACTERS = "的一是了在不有和人这這中为為上个個也以到他来來与與及之其而于於者所无無我你大可就会會"
BULLETS = "-*•·‣▪●–—#+○◦"
TOP_NGRAMS, DUPLICATE_NGRAMS = (2, 3, 4), (5, 10)

FEATURES: dict[str, str] = {
    "words": "words: runs of letters and digits, and single Chinese characters",
    "lines": "lines that are not blank",
    "letter_share": "letters of any script, of the characters that are not blank",
    "han_share": "Chinese characters, of the letters",
    "digit_share": "digits, of the characters that are not blank",
    "punctuation_share": "sentence punctuation and brackets, of the characters that are not blank",
    "symbol_share": "symbols and separators of menus, of the characters that are not blank",
    "code_symbol_share": "signs of programming ({}[]=<>_;…), of the characters that are not blank",
    "control_share": "control, private-use and unassigned characters, of all",
    "divider_share": "signs that divide a menu's entries, standing between blanks, per word",
    "notice_line_share": "characters in short lines that hold a notice (cookies, copyright, log in), of those in lines",
    "notice_kinds": "different notices among its words",
    "hash_share": "runs of #, runs of … and lines that end in ..., per word (Gopher's symbol-to-word ratio)",
    "mean_word_length": "characters per word, of words in letters other than Chinese",
    "mixed_word_share": "characters in words that mix letters with digits, of the characters in words",
    "long_word_share": "characters in words of more than 30 characters, of the characters in words",
    "vowel_share": "a e i o u y, of the ASCII letters",
    "function_words": "how many of Gopher's eight words occur",
    "function_word_share": "English function words, of the words",
    "function_character_share": "Chinese function characters, of the Chinese characters",
    "common_han_share": "everyday characters (level 1 of GB 2312 or of Big5), of the Chinese characters",
    "traditional_share": "of the characters that differ between the scripts, those in traditional form",
    "finished_line_share": "lines that end like a sentence",
    "short_line_share": "characters in lines that are short and unfinished, of the characters in lines",
    "ellipsis_line_share": "lines that end in an ellipsis",
    "bullet_line_share": "lines that begin with a bullet",
    "mean_line_length": "characters per line",
    "duplicate_line_share": "lines seen before in this text, other than mere brackets or fences, of the lines",
    "duplicate_line_character_share": "the same in characters",
    "distinct_word_share": "different words, of the words",
    "urls": "occurrences of ://",
    "word_order": "Chinese: repeated pairs of neighbours beyond those expected by chance, in standard deviations",
    **{f"top_{n}gram_share": f"characters in the commonest repeated run of {n} words" for n in TOP_NGRAMS},
    **{f"duplicate_{n}gram_share": f"characters in runs of {n} words seen before" for n in DUPLICATE_NGRAMS},
}
COUNTED_LINE = {"zh": 4, "en": 10}  # characters, at least: a repeated `}` or ``` is no duplicate
SHORT_LINE = {"zh": 12, "en": 30}  # characters: menu entries and headlines
NOTICE_LINE = {"zh": 60, "en": 150}  # characters: a longer line is a paragraph, which may be about cookies
LONG_WORD = 30  # characters
ORDERED_WORDS = 2000  # Chinese characters and words at a text's beginning whose order is measured


@cache
def _known() -> Vocabulary:
    signs = np.zeros(char.CODE_POINTS, np.uint8)
    signs[char.tables().ends_sentence] |= ENDS_SENTENCE
    for characters, sign in (
        (FUNCTION_CHARACTERS, PARTICLE),
        (BULLETS, BULLET),
        (DIVIDERS, DIVIDER),
        ("#…", MARK),  # Chinese writes two … for one ellipsis
        (":", COLON),
    ):
        signs[[ord(character) for character in set(characters)]] |= sign
    return vocabulary(
        [word_hash(word) for word in FUNCTION_WORDS],
        [word_hash(word) for word in GOPHER_WORDS],
        [tuple(map(int, make_batch([notice]).words.hashes)) for notice in NOTICES.split("|")],
        signs,
    )


def _ratio(part: Array, total: Array) -> Array:
    return np.divide(part, total, out=np.zeros(len(part)), where=total > 0)


def _word_order(counted: Array) -> Array:
    """Repeated pairs of neighbouring words, beyond those of the same words in random order, in standard deviations.

    Text repeats its words, and a Chinese word is two characters side by side. With p the share of equal pairs among all
    pairs of n words, two pairs of neighbours are equal with probability p² in random order; their number is about
    Poisson-distributed, so its deviation is the square root of its mean (plus one, for means near 0).
    """
    n = counted["ordered_words"].astype(float)
    p = _ratio(2 * counted["equal_words"], n * (n - 1))
    expected = (n - 1) * (n - 2) / 2 * p**2
    return (counted["equal_neighbours"] - expected) / np.sqrt(expected + 1)


def features(batch: TextBatch, chinese: Array) -> dict[str, Array]:
    """float32 [n] for each of FEATURES. `chinese`, bool [n], says which texts are Chinese."""
    counts = batch.counts
    inked = counts[:, char.CONTROL :].sum(1)
    letters = counts[:, char.VOWEL : char.HAN_RARE + 1].sum(1)
    han = counts[:, char.HAN : char.HAN_RARE + 1].sum(1)
    both = counts[:, char.HAN_SIMPLIFIED] + counts[:, char.HAN_TRADITIONAL]
    vowels = counts[:, char.VOWEL]
    words, lines = np.diff(batch.words.slices.offsets), np.diff(batch.lines.slices.offsets)
    limits = Limits(
        short_line=np.where(chinese, SHORT_LINE["zh"], SHORT_LINE["en"]),
        notice_line=np.where(chinese, NOTICE_LINE["zh"], NOTICE_LINE["en"]),
        unit=np.where(chinese, 2, 1),
        counted_line=COUNTED_LINE["en"],
        counted_line_chinese=COUNTED_LINE["zh"],
        long_word=LONG_WORD,
        ordered=np.where(chinese, ORDERED_WORDS, 0),
    )
    counted, covered = tally(batch, _known(), limits, TOP_NGRAMS, DUPLICATE_NGRAMS)
    word_characters, line_characters = counted["word_characters"], counted["line_characters"]
    tops, duplicates = covered[:, : len(TOP_NGRAMS)].T, covered[:, len(TOP_NGRAMS) :].T

    columns = {
        "words": words,
        "lines": lines,
        "letter_share": _ratio(letters, inked),
        "han_share": _ratio(han, letters),
        "digit_share": _ratio(counts[:, char.DIGIT], inked),
        "punctuation_share": _ratio(counts[:, char.TERMINAL : char.BRACKET + 1].sum(1), inked),
        "symbol_share": _ratio(counts[:, char.SYMBOL : char.SEPARATOR + 1].sum(1), inked),
        "code_symbol_share": _ratio(counts[:, char.CODE_SYMBOL], inked),
        "control_share": _ratio(counts[:, char.CONTROL], inked),
        "divider_share": _ratio(counted["dividers"], words),
        "notice_line_share": _ratio(counted["notice_characters"], line_characters),
        "notice_kinds": counted["notice_kinds"],
        "hash_share": _ratio(counted["marks"] + counted["ellipsis_lines"], words),
        "mean_word_length": _ratio(counted["lettered_characters"], counted["lettered_words"]),
        "mixed_word_share": _ratio(counted["mixed_characters"], word_characters),
        "long_word_share": _ratio(counted["long_characters"], word_characters),
        "vowel_share": _ratio(vowels, vowels + counts[:, char.CONSONANT]),
        "function_words": counted["function_kinds"],
        "function_word_share": _ratio(counted["function_words"], words),
        "function_character_share": _ratio(counted["particles"], han),
        "common_han_share": _ratio(han - counts[:, char.HAN_RARE], han),
        "traditional_share": _ratio(counts[:, char.HAN_TRADITIONAL], both),
        "finished_line_share": _ratio(counted["finished_lines"], lines),
        "short_line_share": _ratio(counted["short_characters"], line_characters),
        "ellipsis_line_share": _ratio(counted["ellipsis_lines"], lines),
        "bullet_line_share": _ratio(counted["bullet_lines"], lines),
        "mean_line_length": _ratio(line_characters, lines),
        "duplicate_line_share": _ratio(counted["duplicate_lines"], lines),
        "duplicate_line_character_share": _ratio(counted["duplicate_characters"], line_characters),
        "distinct_word_share": _ratio(counted["distinct_words"], words),
        "urls": counted["urls"],
        "word_order": _word_order(counted),
        **{
            f"top_{n}gram_share": np.minimum(_ratio(part, word_characters), 1)
            for n, part in zip(TOP_NGRAMS, tops, strict=True)
        },
        **{
            f"duplicate_{n}gram_share": _ratio(part, word_characters)
            for n, part in zip(DUPLICATE_NGRAMS, duplicates, strict=True)
        },
    }
    assert columns.keys() == FEATURES.keys()
    return {name: values.astype(np.float32) for name, values in columns.items()}
