"""The scan's compiled loops give what a plain numpy twin gives: words, lines, hashes, counts, features, signatures."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.corpus.measure import features
from xmodel_core.corpus.measure.signature import SHINGLE_WORDS, signatures
from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text import site_text
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.corpus.text.compiled import Compiled
from xmodel_core.corpus.text.rolling_hash import SliceHashes, mix, word_hash

Array = np.ndarray
ENTRIES = 120


# The twin: flat arrays and numpy, several times the memory and a tenth of the speed, each step in sight.


@dataclass(frozen=True)
class Plain:
    """Texts laid out one after another, a newline behind each; words and lines as (starts, ends, text, hashes)."""

    texts: int
    starts: Array
    codes: Array
    classes: Array
    words: tuple[Array, Array, Array, Array]
    lines: tuple[Array, Array, Array, Array]

    def sums(self, text: Array, weights: Array | None = None) -> Array:
        return np.bincount(text, weights, minlength=self.texts).astype(np.float64)

    @property
    def counts(self) -> Array:
        text = np.repeat(np.arange(self.texts) * char.CLASSES, np.diff(self.starts))
        counts = np.bincount(text + self.classes, minlength=self.texts * char.CLASSES).reshape(self.texts, char.CLASSES)
        counts[:, char.NEWLINE] -= 1
        return counts


def plain(texts: Sequence[str]) -> Plain:
    table = char.tables()
    starts = np.concatenate(([0], np.cumsum([len(text) + 1 for text in texts])))
    codes = np.frombuffer(("\n".join(texts) + "\n").encode("utf-32-le"), np.uint32)
    classes = table.classes[codes]
    hashes = SliceHashes(table.folded[codes].astype(np.uint64))

    def spans(begins: Array, ends: Array) -> tuple[Array, Array, Array, Array]:
        return begins, ends, np.searchsorted(starts, begins, "right") - 1, hashes.of(begins, ends)

    joins = (classes >= char.WORD_FIRST) & (classes <= char.WORD_LAST)
    single = (classes >= char.SINGLE_FIRST) & (classes <= char.SINGLE_LAST)
    words = spans(
        np.flatnonzero(joins & ~np.roll(joins, 1) | single), np.flatnonzero(joins & ~np.roll(joins, -1) | single) + 1
    )
    inked = np.flatnonzero(classes > char.SPACE)
    line = np.cumsum(classes == char.NEWLINE)[inked]
    first = np.ones(len(inked), bool)
    first[1:] = line[1:] != line[:-1]
    last = np.roll(first, -1)
    return Plain(len(texts), starts, codes, classes, words, spans(inked[first], inked[last] + 1))


def ratio(part: Array, total: Array) -> Array:
    return np.divide(part, total, out=np.zeros(len(part)), where=total > 0)


def grouped(text: Array, hashes: Array) -> tuple[Array, Array]:
    """(position of the first that is equal and in the same text, how many are) for each hash."""
    keys = mix(hashes + text.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    _, first, group, size = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    return first[group], size[group]


def plain_features(batch: Plain, chinese: Array) -> dict[str, Array]:
    counts, sums = batch.counts, batch.sums
    starts, ends, text, hashes = batch.words
    lengths = (ends - starts).astype(float)
    inked, letters = counts[:, char.CONTROL :].sum(1), counts[:, char.VOWEL : char.HAN_RARE + 1].sum(1)
    han, vowels = counts[:, char.HAN : char.HAN_RARE + 1].sum(1), counts[:, char.VOWEL]
    words, characters = sums(text), sums(text, lengths)
    kind = batch.classes[starts]
    joined = kind <= char.WORD_LAST
    lettered = joined & (kind != char.DIGIT)
    digits = np.concatenate(([0], np.cumsum(batch.classes == char.DIGIT)))
    digits = digits[ends] - digits[starts]
    mixed = joined & (digits > 0) & (digits < lengths)
    kinds = [
        np.bincount(text[hashes == np.uint64(word_hash(w))], minlength=batch.texts) > 0 for w in features.GOPHER_WORDS
    ]
    functional = np.isin(hashes, np.array([word_hash(word) for word in features.FUNCTION_WORDS], np.uint64))

    def one_of(codes: Array, wanted: str) -> Array:
        return np.isin(codes, np.array([ord(character) for character in wanted], np.uint32))

    line_starts, line_ends, line_text, line_hashes = batch.lines
    line_lengths = (line_ends - line_starts).astype(float)
    lines, line_characters = sums(line_text), sums(line_text, line_lengths)
    last, before_last = batch.codes[line_ends - 1], np.concatenate(([0], batch.codes))[line_ends - 1]
    finished = char.tables().ends_sentence[last]
    ellipsis = (last == ord("…")) | ((last == ord(".")) & (before_last == ord(".")))
    short = ~finished & (
        line_lengths < np.where(chinese, features.SHORT_LINE["zh"], features.SHORT_LINE["en"])[line_text]
    )
    line_kind = batch.classes[line_starts]
    line_is_chinese = (line_kind >= char.SINGLE_FIRST) & (line_kind <= char.SINGLE_LAST)
    again = grouped(line_text, line_hashes)[0] != np.arange(len(line_text))
    again &= line_lengths >= np.where(line_is_chinese, features.COUNTED_LINE["zh"], features.COUNTED_LINE["en"])

    noticed, notice_kinds = np.zeros(len(line_text), bool), np.zeros(batch.texts)
    for notice in site_text.NOTICES.split("|"):
        phrase = plain([notice]).words[3]
        at = np.arange(len(hashes) - len(phrase) + 1)
        for offset, word in enumerate(phrase):
            at = at[hashes[at + offset] == word]
        line = np.searchsorted(line_starts, starts[at], "right") - 1
        in_one_line = ends[at + len(phrase) - 1] <= line_ends[line]
        noticed[line[in_one_line]] = True
        notice_kinds[np.unique(text[at[in_one_line]])] += 1
    noticed &= line_lengths < np.where(chinese, features.NOTICE_LINE["zh"], features.NOTICE_LINE["en"])[line_text]

    of_text = np.repeat(np.arange(batch.texts), np.diff(batch.starts))
    blank, codes = batch.classes <= char.SPACE, batch.codes
    dividers = one_of(codes, site_text.DIVIDERS) & np.roll(blank, 1) & np.roll(blank, -1)
    marks = one_of(codes, "#…") & (codes != np.roll(codes, 1))
    urls = (codes == ord(":")) & np.roll(codes == ord("/"), -1) & np.roll(codes == ord("/"), -2)

    unit = np.where(chinese, 2, 1)[text]
    slices, before = SliceHashes(hashes), np.concatenate(([0], np.cumsum(ends - starts)))

    def runs(n: int) -> tuple[Array, Array, Array, Array]:
        begin = np.arange(len(text))
        end = begin + n * unit
        inside = (end <= len(text)) & (text[np.minimum(end, len(text)) - 1] == text)
        begin, end = begin[inside], end[inside]
        return begin, end, *grouped(text[begin], slices.of(begin, end))

    def top(n: int) -> Array:
        begin, end, _, size = runs(n)
        most = np.zeros(batch.texts)
        np.maximum.at(most, text[begin[size > 1]], (size * (before[end] - before[begin]))[size > 1])
        return np.minimum(ratio(most, characters), 1)

    def duplicate(n: int) -> Array:
        begin, end, first, _ = runs(n)
        seen = first != np.arange(len(begin))
        cover = np.zeros(len(text) + 1, np.int64)
        np.add.at(cover, begin[seen], 1)
        np.add.at(cover, end[seen], -1)
        covered = np.cumsum(cover)[:-1] > 0
        return ratio(sums(text[covered], lengths[covered]), characters)

    def order(words_in_order: Array) -> float:
        pairs = [Counter(words_in_order.tolist()), Counter(pairwise(words_in_order.tolist()))]
        equal, again = (sum(count * (count - 1) // 2 for count in counted.values()) for counted in pairs)
        n = len(words_in_order)
        chance = (n - 1) * (n - 2) / 2 * (2 * equal / (n * (n - 1))) ** 2 if n > 1 else 0
        return (again - chance) / np.sqrt(chance + 1)

    return {
        "words": words,
        "lines": lines,
        "letter_share": ratio(letters, inked),
        "han_share": ratio(han, letters),
        "digit_share": ratio(counts[:, char.DIGIT], inked),
        "punctuation_share": ratio(counts[:, char.TERMINAL : char.BRACKET + 1].sum(1), inked),
        "symbol_share": ratio(counts[:, char.SYMBOL : char.SEPARATOR + 1].sum(1), inked),
        "code_symbol_share": ratio(counts[:, char.CODE_SYMBOL], inked),
        "control_share": ratio(counts[:, char.CONTROL], inked),
        "divider_share": ratio(sums(of_text[dividers]), words),
        "notice_line_share": ratio(sums(line_text[noticed], line_lengths[noticed]), line_characters),
        "notice_kinds": notice_kinds,
        "hash_share": ratio(sums(of_text[marks]) + sums(line_text[ellipsis]), words),
        "mean_word_length": ratio(sums(text[lettered], lengths[lettered]), sums(text[lettered])),
        "mixed_word_share": ratio(sums(text[mixed], lengths[mixed]), characters),
        "long_word_share": ratio(sums(text, np.where(joined & (lengths > 30), lengths, 0.0)), characters),
        "vowel_share": ratio(vowels, vowels + counts[:, char.CONSONANT]),
        "function_words": np.sum(kinds, axis=0),
        "function_word_share": ratio(sums(text[functional]), words),
        "function_character_share": ratio(sums(text[one_of(codes[starts], features.FUNCTION_CHARACTERS)]), han),
        "common_han_share": ratio(han - counts[:, char.HAN_RARE], han),
        "traditional_share": ratio(
            counts[:, char.HAN_TRADITIONAL], counts[:, char.HAN_SIMPLIFIED] + counts[:, char.HAN_TRADITIONAL]
        ),
        "finished_line_share": ratio(sums(line_text[finished]), lines),
        "short_line_share": ratio(sums(line_text[short], line_lengths[short]), line_characters),
        "ellipsis_line_share": ratio(sums(line_text[ellipsis]), lines),
        "bullet_line_share": ratio(sums(line_text[one_of(codes[line_starts], features.BULLETS)]), lines),
        "mean_line_length": ratio(line_characters, lines),
        "duplicate_line_share": ratio(sums(line_text[again]), lines),
        "duplicate_line_character_share": ratio(sums(line_text[again], line_lengths[again]), line_characters),
        "distinct_word_share": ratio(sums(text[grouped(text, hashes)[0] == np.arange(len(text))]), words),
        "urls": sums(of_text[urls]),
        "word_order": np.array(
            [order(hashes[text == index][:2000]) if chinese[index] else 0.0 for index in range(batch.texts)]
        ),
        **{f"top_{n}gram_share": top(n) for n in features.TOP_NGRAMS},
        **{f"duplicate_{n}gram_share": duplicate(n) for n in features.DUPLICATE_NGRAMS},
    }


def plain_signatures(batch: Plain) -> Array:
    multipliers = np.random.Generator(np.random.PCG64(20241120)).integers(1, 2**31, ENTRIES, dtype=np.uint32) * 2 + 1
    hashes, text = batch.words[3], batch.words[2]
    slices, result = SliceHashes(hashes), np.full((batch.texts, ENTRIES), 0xFFFFFFFF, np.uint32)
    for owner in np.unique(text):
        first, after = np.searchsorted(text, [owner, owner + 1])
        begins = np.arange(first, max(after - SHINGLE_WORDS, first) + 1)
        shingles = slices.of(begins, np.minimum(begins + SHINGLE_WORDS, after))
        result[owner] = ((shingles >> np.uint64(32)).astype(np.uint32)[:, None] * multipliers).min(0)
    return result


def assert_agreement(texts: Sequence[str], chinese: Sequence[bool]) -> None:
    made, twin, flags = make_batch(texts), plain(texts), np.array(chinese)
    assert np.array_equal(made.starts, twin.starts)
    assert np.array_equal(made.codes, twin.codes)
    assert np.array_equal(made.classes, twin.classes)
    for spans, (starts, ends, text, hashes) in ((made.words, twin.words), (made.lines, twin.lines)):
        assert np.array_equal(spans.starts, starts)
        assert np.array_equal(spans.ends, ends)
        assert np.array_equal(spans.text, text)
        assert np.array_equal(spans.hashes, hashes)
    assert np.array_equal(made.counts, twin.counts)
    columns, expected = features.features(made, flags), plain_features(twin, flags)
    assert columns.keys() == expected.keys() == features.FEATURES.keys()
    for name, values in columns.items():
        assert values.dtype == np.float32
        differ = np.flatnonzero(values != expected[name].astype(np.float32))
        assert not len(differ), (name, texts[differ[0]][:300], values[differ[0]], expected[name][differ[0]])
    assert np.array_equal(signatures(made, ENTRIES), plain_signatures(twin))


ODD = {
    "nothing": "",
    "blanks only": " \t\r\n\n\u3000\u2028 ",
    "one stop": ".",
    "stops": "..\n...\n. .\n…\nwell...",
    "no newline": "one line and no end",
    "Windows lines": "first line\r\nsecond line\r\n\r\nfirst line\r\n",
    "other separators": "one\u2028two\u2029three\x85four\x0bfive\x0csix",
    "emoji": "good 👍🏽 morning 👩‍👩‍👧 everyone 🎉🎉",
    "astral": "𝐀𝐁 𠀀𠀁 𝛼𝛽 𐍈 \U0010ffff\U000e0001",
    "widths": "ＡＢＣ abc ＡＢｃ ﬁn fin １２３ 123 ㍍ ｶﾅ カナ",
    "controls": "a\x00b\ufffdc\ue000d\uffff",
    "mixed words": "abc123 123 1e5 x2y v1.2.3 " + "q" * 31 + " " + "z" * 30,
    "marks": "# ## #…#…… a#b\n##",
    "dividers": "| Home | News|Sport > World >\n|\n→ · •",
    "links": "http://a.b https:/c :// ::// x:/\n/",
    "notices": "Please log in\nlog\nin\nAll rights reserved. Copyright\n请 登录\n上一篇：下一篇\n购物\n车",
    "notice at the end": "click",
    "notice at the start": "here. shopping",
    "bullets": "- one\n* two\n• three\n–\n-four\n○ 五",
    "lines again": "}\n}\nthe same long line\n the same long line \n四个汉字\n四个汉字\n三个字\n三个字",
    "one word over and over": "la " * 400,
    "one character over and over": "哈" * 400,
    "overlapping runs": "a b a b a b a b c a b a b a b a b c d e f g h i j k a b a b a b a b c a b a b",
    "few words": "four words are here",
    "five words": "five words are right here",
    "Chinese": "我们都希望能够打开这个古老的窗户，可是没有成功。我们都希望能够打开这个古老的窗户！",
    "Japanese, Korean, Russian": "これはペンです。 나는 학생 입니다. Это книга, это книга.",
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("chinese", [False, True])
def test_odd_texts_agree_with_the_twin(name: str, chinese: bool) -> None:
    assert_agreement([ODD[name]], [chinese])


def test_a_batch_of_everything_agrees_with_the_twin(text) -> None:
    written = [text(lang, length, seed) for lang in ("en", "zh", "code") for length in (1, 12, 60) for seed in range(3)]
    texts = [*ODD.values(), *written, *(one + "\n" + one for one in written), "line " * 20_000, "字" * 50_000]
    assert_agreement(texts, [index % 2 == 0 for index in range(len(texts))])


def test_a_text_gets_the_same_columns_alone_as_in_any_batch(text) -> None:
    texts = [*ODD.values(), text("en"), text("zh"), text("code")]
    together = make_batch(texts)
    chinese = np.arange(len(texts)) % 3 == 0
    columns = features.features(together, chinese)
    entries = signatures(together, ENTRIES)
    for index, one in enumerate(texts):
        alone = make_batch([one])
        own = together.words.text == index
        assert np.array_equal(alone.words.hashes, together.words.hashes[own])
        alone_columns = features.features(alone, chinese[index : index + 1])
        assert {name: values[0] for name, values in alone_columns.items()} == {
            name: v[index] for name, v in columns.items()
        }
        assert np.array_equal(signatures(alone, ENTRIES)[0], entries[index])


# Few characters, so that words and lines repeat; then any character at all.
repetitive = st.text(st.sampled_from("ab1 的了是\n\n.…#|:/}-，Ａ𠀀👍\u2028\r"), max_size=120)
phrases = st.lists(st.sampled_from(["log in", "登录", "the", "of 了", "\n", "...", "x1", "http://", "| "])).map(
    " ".join
)
any_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)


@settings(max_examples=150)
@given(st.lists(st.tuples(repetitive | phrases | any_text, st.booleans()), min_size=1, max_size=6))
def test_any_texts_agree_with_the_twin(batch: list[tuple[str, bool]]) -> None:
    assert_agreement([text for text, _ in batch], [chinese for _, chinese in batch])


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        make_batch(["half a pair: \ud800"])


def batches(texts: Iterable[str], characters: int = 300_000) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        if batch and sum(map(len, batch)) + len(text) > characters:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def agree_on_real_texts(shared_data: Path, every: int) -> int:
    """How many texts of the real corpora were compared: one in `every`."""
    compared = 0
    for folder in sorted((shared_data / "corpora").iterdir()):
        texts = []
        for path in sorted(folder.glob("*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
                texts += [json.loads(line)["text"] for line in islice(stream, 0, None, every)]
        for batch in batches(texts):
            assert_agreement(batch, [folder.name.startswith("zh")] * len(batch))
            compared += len(batch)
    return compared


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_sample_of_the_real_corpora_agrees_with_the_twin(shared_data: Path) -> None:
    assert agree_on_real_texts(shared_data, every=50) > 1000


@pytest.mark.exhaustive
@pytest.mark.shared_data
@pytest.mark.timeout(2400)
def test_all_real_corpora_agree_with_the_twin(shared_data: Path) -> None:
    assert agree_on_real_texts(shared_data, every=1) > 50_000


# Where compiled code is kept.

MODULE = """
import sys
import numpy as np
from xmodel_core.corpus.text.compiled import Compiled

@Compiled
def doubled(values, factor, result):
    for index in range(len(values)):
        result[index] = values[index] * factor

result = np.zeros(3, np.int64)
doubled(np.arange(3), 2, result)
print(*result, "numba" in sys.modules)
"""


def run_module(folder: Path, cache: Path, module: str = MODULE) -> str:
    script = folder / "small.py"
    script.write_text(module)
    root = Path(__file__).parents[2]
    environment = {
        "PYTHONPATH": str(root),
        "XDG_CACHE_HOME": str(cache),
        "HOME": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_compiled_code_is_kept_and_loaded_without_the_compiler(tmp_path: Path) -> None:
    assert run_module(tmp_path, tmp_path / "cache") == "0 2 4 True"
    assert list((tmp_path / "__pycache__").glob("*.o"))
    assert run_module(tmp_path, tmp_path / "cache") == "0 2 4 False"


@pytest.mark.slow
def test_code_is_kept_in_the_users_cache_or_not_at_all_where_nothing_else_is_writable(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("no folder")
    assert run_module(tmp_path, tmp_path / "cache") == "0 2 4 True"
    assert run_module(tmp_path, tmp_path / "cache") == "0 2 4 False"
    (tmp_path / "closed").write_text("no folder")
    assert run_module(tmp_path, tmp_path / "closed") == "0 2 4 True"
    assert run_module(tmp_path, tmp_path / "closed") == "0 2 4 True"


MODULE_WITH_HELPER = """
import sys
import numpy as np
from scaling import FACTOR, scaled
from xmodel_core.corpus.text.compiled import Compiled

@Compiled
def summed(values, result):
    for value in values:
        result[0] += scaled(value) + FACTOR

result = np.zeros(1, np.int64)
summed(np.arange(3), result)
print(*result, "numba" in sys.modules)
"""
HELPER = """
from xmodel_core.corpus.text.compiled import helper

FACTOR = {}

@helper
def scaled(value):
    return value * FACTOR
"""


@pytest.mark.slow
def test_code_is_made_again_when_a_helper_or_a_constant_of_another_module_changes(tmp_path: Path) -> None:
    results = []
    for factor in (2, 2, 3):
        (tmp_path / "scaling.py").write_text(HELPER.format(factor))
        results.append(run_module(tmp_path, tmp_path / "cache", MODULE_WITH_HELPER))
    assert results == ["12 True", "12 False", "18 True"]


def test_arrays_with_gaps_are_refused() -> None:
    def nothing(values: Array) -> None:
        pass

    with pytest.raises(TypeError, match="contiguous"):
        Compiled(nothing)(np.zeros(4)[::2])
