"""Passages: the runs of words by which a benchmark item is recognised in a document.

Takes texts as batches; gives the passages of benchmark items as hashes, and the units that runs are measured in. A
passage is a run of 13 words or 20 Chinese characters (as `TextBatch.words` has them: case, width, punctuation and white
space folded); a shorter field of an item is one passage as a whole.

One measure serves both languages and text that mixes them: a word counts 3 units, a Chinese character 2, and a passage
is the shortest run of at least 39. So no document needs a language to be checked, and an English question is found in a
Chinese page. Chinese that holds a long foreign name or a date has fewer words in as many characters, so there a run of
words of at least 21 characters, punctuation counted, is a passage, too, if 4 are Chinese.
"""

from collections.abc import Iterator

import numpy as np

from xmodel_core.corpus.contamination.word_runs import hash_inked_runs, hash_runs
from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text.batch import Array, TextBatch, make_batch
from xmodel_core.corpus.text.rolling_hash import SliceHashes

WORD_UNITS, CHARACTER_UNITS = 3, 2
# 13 words, the field's usual length (Brown et al. 2020, appendix C). It makes 20 Chinese characters, not the 26 that
# two a word would give, because punctuation is folded away: 26 characters of running text hold 20 to 24 without it.
# Measured on 123,000 real documents: runs of 20 find as few unrelated documents as runs of 26, runs of 18 find one in
# three statutes by the set phrases of the law.
PASSAGE_UNITS = 13 * WORD_UNITS
# In Chinese with names and figures in it a word of nine letters counts hardly more than a Chinese character, and much
# punctuation is folded away: 6 of 100 windows of 26 characters fell short of one. Measured in characters of the page,
# 1 of 100 does (formulas, lists of names), and of 67,978 Chinese documents 23 instead of 20 are found.
MIXED_CHARACTERS, MIXED_HAN = 21, 4
MIXED = PASSAGE_UNITS + 1  # in place of the length of such a passage
# A shorter field is one passage as a whole, down to 8 words or 12 Chinese characters (Brown et al. take 8
# words as the least that is no coincidence; measured: 11 of the 123,000 documents hold such a field).
FIELD_UNITS = 8 * WORD_UNITS
START_UNITS = 16  # of a passage, looked up first; Chinese with a long name may have no more
# A run of figures and single letters (1 2 3 … under a page, 0 0 0 in a matrix) names no item: a passage has a word of
# two letters, or Chinese characters. Measured: 0.4 % of all benchmarks' passages go, half of them lists in code.
DISTINCTIVE_WORDS = 1
# A passage in more different fields of one benchmark is its template, not an item. Different ones: a paragraph that
# is printed under each of thirty questions is no template.
TEMPLATE_FIELDS = 20
BATCH_CHARACTERS = 1_000_000  # of fields in one batch, so that memory is bounded for any benchmark


_UNITS_OF_CLASS = np.full(char.CLASSES, WORD_UNITS, np.uint8)
_UNITS_OF_CLASS[char.SINGLE_FIRST : char.SINGLE_LAST + 1] = CHARACTER_UNITS


def units_of_words(batch: TextBatch) -> Array:
    """uint8 [words]: the units of each word."""
    return _UNITS_OF_CLASS[batch.classes[batch.words.starts]]


def mixed_runs(batch: TextBatch, units: Array, begins: Array) -> tuple[Array, Array, Array]:
    """(texts, ends, uint64 hashes) of the shortest runs of whole words of at least MIXED_CHARACTERS from each of these
    words on; the end is -1 where there is none, where too few are Chinese, or where the run is a passage
    by its units already."""
    rule = (CHARACTER_UNITS, MIXED_HAN, START_UNITS, PASSAGE_UNITS)
    words = batch.words.slices
    return hash_inked_runs(words, batch.classes, char.CONTROL, units, begins, MIXED_CHARACTERS, rule)


def spread(counts: Array) -> tuple[Array, Array]:
    """(i, j) for every i in order and every j below counts[i]."""
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)


def passages_of_items(items: list[list[str]], first_item: int) -> tuple[Array, Array, Array, Array]:
    """(starts, passages, items, lengths) of one benchmark: one entry for each passage and item that has it."""
    owners_of: dict[str, set[int]] = {}
    for number, texts in enumerate(items, start=first_item):
        for text in texts:
            owners_of.setdefault(text, set()).add(number)
    texts = sorted(owners_of)
    entries = [_passages_of_fields(batch, first) for batch, first in _batches(texts)]
    field, starts, passages, lengths = (np.concatenate(arrays) for arrays in zip(*entries, strict=True))
    owners = [sorted(owners_of[text]) for text in texts]
    counts = np.array([len(numbers) for numbers in owners], np.int64)
    offsets, flat = np.cumsum(counts) - counts, np.array([number for numbers in owners for number in numbers], np.int64)

    # Each passage counts once per field; dropped are those in too many fields, and short fields of too many items.
    order = np.lexsort((field, passages))
    again = np.zeros(len(order), bool)
    again[1:] = (np.diff(passages[order]) == 0) & (np.diff(field[order]) == 0)
    once = order[~again]
    _, kind, fields_with = np.unique(passages[once], return_inverse=True, return_counts=True)
    items_with = counts[field[once]]
    short = lengths[once] < PASSAGE_UNITS
    own = once[(fields_with[kind] <= TEMPLATE_FIELDS) & ~(short & (items_with > TEMPLATE_FIELDS))]

    which, owner = spread(counts[field[own]])
    entry = own[which]
    return starts[entry], passages[entry], flat[offsets[field[entry]] + owner], lengths[entry]


def _batches(texts: list[str]) -> Iterator[tuple[list[str], int]]:
    """(texts, number of the first) in batches of bounded size."""
    first, size = 0, 0
    for index, text in enumerate(texts):
        if size and size + len(text) > BATCH_CHARACTERS:
            yield texts[first:index], first
            first, size = index, 0
        size += len(text) + 1
    yield texts[first:], first


def _passages_of_fields(texts: list[str], first: int) -> tuple[Array, Array, Array, Array]:
    """(number of the field, hash of the start, hash of the passage, its units) for each passage of each field."""
    batch = make_batch(texts)
    words, units_of_word, text = batch.words.slices, units_of_words(batch), batch.words.text
    everywhere = np.arange(len(text), dtype=np.int32)
    _, ends, passages = hash_runs(words, units_of_word, everywhere, PASSAGE_UNITS)
    begins = np.flatnonzero(ends >= 0)
    ends, passages, lengths = ends[begins], passages[begins], np.full(len(begins), PASSAGE_UNITS)
    # The short fields: from their first word to their last.
    field_begins, field_ends = words.offsets[:-1], words.offsets[1:]
    before = np.concatenate(([0], np.cumsum(units_of_word, dtype=np.int64)))
    units = before[field_ends] - before[field_begins]
    short = (units >= FIELD_UNITS) & (units < PASSAGE_UNITS)
    begins, ends = np.append(begins, field_begins[short]), np.append(ends, field_ends[short])
    passages = np.append(passages, SliceHashes(words.hashes).of(field_begins[short], field_ends[short]))
    lengths = np.append(lengths, units[short])
    _, mixed_ends, mixed_passages = mixed_runs(batch, units_of_word, everywhere)
    mixed = np.flatnonzero(mixed_ends >= 0)
    begins, ends = np.append(begins, mixed), np.append(ends, mixed_ends[mixed])
    passages, lengths = np.append(passages, mixed_passages[mixed]), np.append(lengths, np.full(len(mixed), MIXED))

    distinctive = np.concatenate(([0], np.cumsum(_is_distinctive(batch))))
    kept = distinctive[ends] - distinctive[begins] >= DISTINCTIVE_WORDS
    begins, passages, lengths = begins[kept], passages[kept], lengths[kept]
    order = np.argsort(begins, kind="stable")
    begins, passages, lengths = begins[order], passages[order], lengths[order]
    _, start_ends, starts = hash_runs(words, units_of_word, begins, START_UNITS)
    assert (start_ends >= 0).all()
    return text[begins] + first, starts, passages, lengths


def _is_distinctive(batch: TextBatch) -> Array:
    """bool for each word: two letters or more, or a Chinese character."""
    words = batch.words
    first = batch.classes[words.starts]
    letters = np.concatenate(([0], np.cumsum((batch.classes >= char.VOWEL) & (batch.classes <= char.WORD_LAST))))
    return (first >= char.SINGLE_FIRST) | (letters[words.ends] - letters[words.starts] >= 2)
