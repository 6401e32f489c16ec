"""What the rules judge by: a few dozen numbers per text, counted from one layout.

Takes a layout and which texts are Chinese; gives float32 columns named in `FEATURES`. Shares lie in
0..1. Chinese repetition is counted in twice as many characters as English in words, because a
Chinese word is about two characters long.
"""

from functools import cache

import numpy as np

from xmodel_core.corpus import characters as c
from xmodel_core.corpus.layout import Array, Layout, SliceHashes, lay_out, mix, word_hash

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
# The particles and pronouns that modern and classical Chinese prose cannot do without, in both scripts.
FUNCTION_CHARACTERS = "的一是了在不有和人这這中为為上个個也以到他来來与與及之其而于於者所无無我你大可就会會"
BULLETS = "-*•·‣▪●–—#+○◦"
# What stands between the entries of a menu that was written as one line.
DIVIDERS = ">|»›·•→｜"
# What a site says on every page and no text is about: C4's policy and script notices (Raffel et al. 2020,
# section 2.2), the prompts that RefinedWeb's line rules name (Penedo et al. 2023, appendix G), and their Chinese
# counterparts, among them the registration numbers (ICP 备案) that pages in China must carry.
NOTICES = (
    "javascript|cookie|cookies|privacy policy|terms of use|terms of service|all rights reserved|copyright|sign in"
    "|sign up|log in|login|subscribe|newsletter|powered by|click here|read more|last updated|follow us|contact us"
    "|share this|shopping cart|your cart"
    "|版权所有|保留所有权利|隐私政策|服务条款|使用条款|免责声明|备案号|公网安备|未经授权|转载请注明|请登录|登录|注册"
    "|点击此处|点击这里|点击查看|扫一扫|公众号|上一篇|下一篇|返回顶部|联系我们|关于我们|友情链接|加入收藏|购物车"
    "|技术支持|最后更新|责任编辑|分享到|邮件订阅|版權所有|隱私政策|服務條款|登入|註冊|聯絡我們|關於我們|購物車"
)
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
    "duplicate_line_share": "lines that stood before in this text and are no mere brackets or fences, of the lines",
    "duplicate_line_character_share": "the same in characters",
    "distinct_word_share": "different words, of the words",
    "urls": "occurrences of ://",
    **{f"top_{n}gram_share": f"characters in the commonest repeated run of {n} words" for n in TOP_NGRAMS},
    **{f"duplicate_{n}gram_share": f"characters in runs of {n} words seen before" for n in DUPLICATE_NGRAMS},
}
TELLING_LINE = {"zh": 4, "en": 10}  # characters: a repeated `}` or ``` says nothing about a text
SHORT_LINE = {"zh": 12, "en": 30}  # characters: what a menu entry or a headline has
NOTICE_LINE = {"zh": 60, "en": 150}  # characters: a longer line is a paragraph, which may speak of cookies


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def class_counts(layout: Layout) -> Array:
    """int64 [n, CLASSES]: characters of each class, our own newline behind each text not counted."""
    text = np.repeat(np.arange(layout.texts) * c.CLASSES, np.diff(layout.starts))
    counts = np.bincount(text + layout.classes, minlength=layout.texts * c.CLASSES).reshape(layout.texts, c.CLASSES)
    counts[:, c.NEWLINE] -= 1
    return counts


def _repeats(keys: Array) -> tuple[Array, Array, Array]:
    """(positions sorted by key, start of each run of equal keys among them, length of each run).

    The first position of a run is its first occurrence. Key and position share one uint64, which sorts ten
    times faster than argsort; the 40 and more bits left to the key confuse two of a batch's keys once in thousands.
    """
    bits = np.uint64(max(len(keys).bit_length(), 1))
    positions = np.uint64((1 << int(bits)) - 1)
    packed = np.sort((keys & ~positions) | np.arange(len(keys), dtype=np.uint64))
    order = (packed & positions).astype(np.int64)
    high = packed >> bits
    begins = np.flatnonzero(np.concatenate(([True], high[1:] != high[:-1]))) if len(keys) else order
    return order, begins, np.diff(np.append(begins, len(keys)))


def _within(text: Array, hashes: Array) -> Array:
    """Hashes that are equal only within one text."""
    return mix(hashes + text.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


class _Runs:
    """Repetition among the words of a batch's texts."""

    def __init__(self, layout: Layout, unit: Array) -> None:
        words = layout.words
        self.layout, self.unit = layout, unit[words.text]
        self.hashes = SliceHashes(words.hashes)
        self.lengths = np.concatenate(([0], np.cumsum(words.ends - words.starts)))
        self.characters = layout.per_text(words.text, (words.ends - words.starts).astype(float))

    def _ngrams(self, n: int) -> tuple[Array, Array, Array]:
        """(first word, word after the last, key) of every run of n units that lies inside one text."""
        text = self.layout.words.text
        begins = np.arange(len(text))
        ends = begins + n * self.unit
        inside = (ends <= len(text)) & (text[np.minimum(ends, len(text)) - 1] == text)
        begins, ends = begins[inside], ends[inside]
        return begins, ends, _within(text[begins], self.hashes.of(begins, ends))

    def top(self, n: int) -> Array:
        """Share of the characters that the commonest run covers; 0 where nothing repeats."""
        begins, ends, keys = self._ngrams(n)
        order, runs, lengths = _repeats(keys)
        again = lengths > 1
        first = order[runs[again]]
        covered = lengths[again] * (self.lengths[ends[first]] - self.lengths[begins[first]])
        most = np.zeros(self.layout.texts)
        np.maximum.at(most, self.layout.words.text[begins[first]], covered)
        return np.minimum(_ratio(most, self.characters), 1)

    def duplicate(self, n: int) -> Array:
        """Share of the characters that lie in a run seen before, each counted once."""
        begins, ends, keys = self._ngrams(n)
        order, runs, _ = _repeats(keys)
        repeated = np.ones(len(keys), bool)
        repeated[order[runs]] = False
        cover = np.zeros(len(self.unit) + 1, np.int32)
        np.add.at(cover, begins[repeated], 1)
        np.add.at(cover, ends[repeated], -1)
        covered = np.cumsum(cover)[:-1] > 0
        words = self.layout.words
        return _ratio(
            self.layout.per_text(words.text[covered], (words.ends - words.starts)[covered].astype(float)),
            self.characters,
        )


def _distinct(layout: Layout) -> Array:
    order, runs, _ = _repeats(_within(layout.words.text, layout.words.hashes))
    return layout.per_text(layout.words.text[order[runs]])


def _phrases(phrases: tuple[tuple[int, ...], ...], layout: Layout) -> tuple[Array, Array]:
    """Phrases, given as hashes of words: which lines hold one (bool per line), how many kinds a text holds [n]."""
    words, lines = layout.words, np.zeros(len(layout.lines), bool)
    kinds = np.zeros(layout.texts)
    for first, *rest in phrases:
        at = np.flatnonzero(words.hashes == np.uint64(first))
        for offset, word in enumerate(rest, start=1):
            at = at[at + offset < len(words)]
            at = at[words.hashes[at + offset] == np.uint64(word)]
        line = np.searchsorted(layout.lines.starts, words.starts[at], "right") - 1
        whole = words.ends[at + len(rest)] <= layout.lines.ends[line]  # not one that the next line, or text, ends
        at, line = at[whole], line[whole]
        lines[line] = True
        kinds[np.unique(words.text[at])] += 1
    return lines, kinds


@cache
def _notices() -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, lay_out([notice]).words.hashes)) for notice in NOTICES.split("|"))


def features(layout: Layout, counts: Array, chinese: Array) -> dict[str, Array]:
    """float32 [n] for each of FEATURES. `counts` are the class counts, `chinese` marks Chinese texts."""
    words, lines, per_text = layout.words, layout.lines, layout.per_text
    inked = counts[:, c.CONTROL :].sum(1)
    letters = counts[:, c.VOWEL : c.HAN_RARE + 1].sum(1)
    han = counts[:, c.HAN : c.HAN_RARE + 1].sum(1)
    words_count, lines_count = per_text(words.text), per_text(lines.text)

    is_word = layout.classes[words.starts] <= c.WORD_LAST
    lettered = is_word & (layout.classes[words.starts] != c.DIGIT)
    word_lengths = (words.ends - words.starts).astype(float)
    of_gopher = [np.uint64(word_hash(word)) for word in GOPHER_WORDS]
    seen = [np.bincount(words.text[words.hashes == word], minlength=layout.texts) > 0 for word in of_gopher]
    functional = np.isin(words.hashes, np.array([word_hash(word) for word in FUNCTION_WORDS], np.uint64))
    particles = np.isin(layout.codes[words.starts], np.array([ord(x) for x in FUNCTION_CHARACTERS], np.uint32))

    digits = np.concatenate(([0], np.cumsum(layout.classes == c.DIGIT)))
    digits_in_word = digits[words.ends] - digits[words.starts]
    mixed = is_word & (digits_in_word > 0) & (digits_in_word < word_lengths)

    line_lengths = (lines.ends - lines.starts).astype(float)
    last, first = layout.codes[lines.ends - 1], layout.codes[lines.starts]
    before_last = layout.codes[np.maximum(lines.ends - 2, 0)]
    line_is_chinese = layout.classes[lines.starts] >= c.SINGLE_FIRST
    line_is_chinese &= layout.classes[lines.starts] <= c.SINGLE_LAST
    finished = c.tables().ends_sentence[last]
    ellipsis = (last == ord("…")) | ((last == ord(".")) & (before_last == ord(".")))
    short = ~finished & (line_lengths < np.where(chinese, SHORT_LINE["zh"], SHORT_LINE["en"])[lines.text])
    line_characters = per_text(lines.text, line_lengths)
    order, runs, _ = _repeats(_within(lines.text, lines.hashes))
    again = np.ones(len(lines), bool)
    again[order[runs]] = False
    again &= line_lengths >= np.where(line_is_chinese, TELLING_LINE["zh"], TELLING_LINE["en"])

    notice = line_lengths < np.where(chinese, NOTICE_LINE["zh"], NOTICE_LINE["en"])[lines.text]
    lines_with_notice, notice_kinds = _phrases(_notices(), layout)
    notice &= lines_with_notice

    text_of = np.repeat(np.arange(layout.texts), np.diff(layout.starts))
    blank = layout.classes <= c.SPACE
    dividers = np.isin(layout.codes, np.array([ord(x) for x in DIVIDERS], np.uint32))
    dividers &= np.roll(blank, 1) & np.roll(blank, -1)
    hashes = layout.codes == ord("#")
    dots = layout.codes == ord("…")  # Chinese writes two of them for one ellipsis
    hashes_and_dots = (hashes & ~np.roll(hashes, 1)) | (dots & ~np.roll(dots, 1))
    slashes = layout.codes == ord("/")
    url = (layout.codes == ord(":")) & np.roll(slashes, -1) & np.roll(slashes, -2)
    vowels = counts[:, c.VOWEL]
    both = counts[:, c.HAN_SIMPLIFIED] + counts[:, c.HAN_TRADITIONAL]
    runs_of_words = _Runs(layout, np.where(chinese, 2, 1))

    columns = {
        "words": words_count,
        "lines": lines_count,
        "letter_share": _ratio(letters, inked),
        "han_share": _ratio(han, letters),
        "digit_share": _ratio(counts[:, c.DIGIT], inked),
        "punctuation_share": _ratio(counts[:, c.TERMINAL : c.BRACKET + 1].sum(1), inked),
        "symbol_share": _ratio(counts[:, c.SYMBOL : c.SEPARATOR + 1].sum(1), inked),
        "code_symbol_share": _ratio(counts[:, c.CODE_SYMBOL], inked),
        "control_share": _ratio(counts[:, c.CONTROL], inked),
        "divider_share": _ratio(per_text(text_of[dividers]), words_count),
        "notice_line_share": _ratio(per_text(lines.text[notice], line_lengths[notice]), line_characters),
        "notice_kinds": notice_kinds,
        "hash_share": _ratio(per_text(text_of[hashes_and_dots]) + per_text(lines.text[ellipsis]), words_count),
        "mean_word_length": _ratio(
            per_text(words.text[lettered], word_lengths[lettered]), per_text(words.text[lettered])
        ),
        "mixed_word_share": _ratio(
            per_text(words.text[mixed], word_lengths[mixed]), per_text(words.text, word_lengths)
        ),
        "long_word_share": _ratio(
            per_text(words.text, np.where(is_word & (word_lengths > 30), word_lengths, 0.0)),
            per_text(words.text, word_lengths),
        ),
        "vowel_share": _ratio(vowels, vowels + counts[:, c.CONSONANT]),
        "function_words": np.sum(seen, axis=0),
        "function_word_share": _ratio(per_text(words.text[functional]), words_count),
        "function_character_share": _ratio(per_text(words.text[particles]), han),
        "common_han_share": _ratio(han - counts[:, c.HAN_RARE], han),
        "traditional_share": _ratio(counts[:, c.HAN_TRADITIONAL], both),
        "finished_line_share": _ratio(per_text(lines.text[finished]), lines_count),
        "short_line_share": _ratio(per_text(lines.text[short], line_lengths[short]), line_characters),
        "ellipsis_line_share": _ratio(per_text(lines.text[ellipsis]), lines_count),
        "bullet_line_share": _ratio(
            per_text(lines.text[np.isin(first, np.array([ord(x) for x in BULLETS], np.uint32))]), lines_count
        ),
        "mean_line_length": _ratio(line_characters, lines_count),
        "duplicate_line_share": _ratio(per_text(lines.text[again]), lines_count),
        "duplicate_line_character_share": _ratio(per_text(lines.text[again], line_lengths[again]), line_characters),
        "distinct_word_share": _ratio(_distinct(layout), words_count),
        "urls": per_text(text_of[url]),
        **{f"top_{n}gram_share": runs_of_words.top(n) for n in TOP_NGRAMS},
        **{f"duplicate_{n}gram_share": runs_of_words.duplicate(n) for n in DUPLICATE_NGRAMS},
    }
    assert columns.keys() == FEATURES.keys()
    return {name: values.astype(np.float32) for name, values in columns.items()}
