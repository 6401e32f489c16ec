"""Runs of words of a certain length, hashed and looked up: the compiled loops behind the index of benchmarks.

Takes the words of a batch and the length of each in units (or the characters that a page shows); gives the hashes of
the shortest runs that are long enough, and the runs whose hashes an index holds.
"""

from typing import NamedTuple

import numpy as np

from xmodel_core.corpus.text.compiled import Compiled
from xmodel_core.corpus.text.rolling_hash import BASE, INVERSE, mix
from xmodel_core.corpus.text.splitting import Slices

Array = np.ndarray

_ONE, _ZERO, _THREE, _SEVEN = np.uint64(1), np.uint64(0), np.uint64(3), np.uint64(7)


class HashIndex(NamedTuple):
    """Hashes to look for. Most others end at the sieve, which fits a processor's cache."""

    hashes: Array
    """uint64, ascending."""
    firsts: Array
    """int32: the hashes whose high bits are i are hashes[firsts[i] : firsts[i + 1]]."""
    shift: int
    """Where these high bits begin."""
    sieve: Array
    """uint8: bits, eight to a byte; two of them, by a hash's high and low bits, are set for each hash (Bloom 1970)."""
    sieve_shift: int
    """Where its high bits begin."""


def index_hashes(hashes: Array, sieve_bits_per_hash: int = 8) -> HashIndex:
    """The index of ascending uint64 hashes."""
    bits, sieve_bits = (max((len(hashes) * each).bit_length() - 1, 3) for each in (1, sieve_bits_per_hash))
    shift, sieve_shift = 64 - bits, 64 - sieve_bits
    firsts = np.searchsorted(hashes >> np.uint64(shift), np.arange((1 << bits) + 1, dtype=np.uint64)).astype(np.int32)
    sieve = np.zeros(1 << sieve_bits, bool)
    sieve[hashes >> np.uint64(sieve_shift)] = True
    sieve[hashes & np.uint64(len(sieve) - 1)] = True
    return HashIndex(hashes, firsts, shift, np.packbits(sieve, bitorder="little"), sieve_shift)


@Compiled
def _find_runs(
    hashes: Array,
    sizes: Array,
    offsets: Array,
    size: int,
    wanted: HashIndex,
    begins: Array,
    places: Array,
    counted: Array,
) -> None:
    count = 0
    low_bits = np.uint64(8 * len(wanted.sieve) - 1)
    for text in range(len(offsets) - 1):
        first, after = offsets[text], offsets[text + 1]
        end, held, run, power = first, 0, _ZERO, _ONE
        for begin in range(first, after):
            while held < size and end < after:
                held += sizes[end]
                run += hashes[end] * power
                power *= BASE
                end += 1
            if held < size:
                break
            key = mix(run)
            high, low = key >> np.uint64(wanted.sieve_shift), key & low_bits
            if (
                wanted.sieve[high >> _THREE] >> np.uint8(high & _SEVEN) & 1
                and wanted.sieve[low >> _THREE] >> np.uint8(low & _SEVEN) & 1
            ):
                bucket = key >> np.uint64(wanted.shift)
                place, last = wanted.firsts[bucket], wanted.firsts[bucket + _ONE]
                while place < last and wanted.hashes[place] < key:
                    place += 1
                if place < last and wanted.hashes[place] == key:
                    begins[count], places[count] = begin, place
                    count += 1
            held -= sizes[begin]
            run = (run - hashes[begin]) * INVERSE
            power *= INVERSE
    counted[0] = count


def find_runs(words: Slices, sizes: Array, size: int, wanted: HashIndex) -> tuple[Array, Array]:
    """(int32 words, int32 places) of the wanted ones among the shortest runs of at least `size` units in one text: the
    word that each begins with, and its hash's place in the index. `sizes` is uint8 [words]: the units of each word."""
    begins, places = np.empty(len(words.starts), np.int32), np.empty(len(words.starts), np.int32)
    counted = np.empty(1, np.int64)
    _find_runs(words.hashes, sizes, words.offsets, size, wanted, begins, places, counted)
    return begins[: counted[0]], places[: counted[0]]


@Compiled
def _hash_runs(
    hashes: Array, sizes: Array, offsets: Array, begins: Array, size: int, texts: Array, ends: Array, result: Array
) -> None:
    text = 0
    for index in range(len(begins)):
        begin = begins[index]
        while offsets[text + 1] <= begin:
            text += 1
        end, held, run, power = begin, 0, _ZERO, _ONE
        while held < size and end < offsets[text + 1]:
            held += sizes[end]
            run += hashes[end] * power
            power *= BASE
            end += 1
        texts[index], ends[index], result[index] = text, end if held >= size else -1, mix(run)


def hash_runs(words: Slices, sizes: Array, begins: Array, size: int) -> tuple[Array, Array, Array]:
    """(texts, ends, uint64 hashes) of the shortest runs of at least `size` units from each of these ascending words on;
    the end is -1 where the text ends before."""
    texts, ends = np.empty(len(begins), np.int32), np.empty(len(begins), np.int32)
    result = np.empty(len(begins), np.uint64)
    _hash_runs(words.hashes, sizes, words.offsets, begins, size, texts, ends, result)
    return texts, ends, result


@Compiled
def _hash_inked_runs(
    words: Slices,
    classes: Array,
    first_inked: int,
    sizes: Array,
    begins: Array,
    inked: int,
    rule: Array,
    texts: Array,
    ends: Array,
    result: Array,
) -> None:
    small, least_small, least, under = rule
    text = 0
    for index in range(len(begins)):
        begin = begins[index]
        while words.offsets[text + 1] <= begin:
            text += 1
        end, at, seen, held, smalls, run, power = begin, words.starts[begin], 0, 0, 0, _ZERO, _ONE
        while seen < inked and end < words.offsets[text + 1]:
            while at < words.ends[end]:
                seen += classes[at] >= first_inked
                at += 1
            held += sizes[end]
            smalls += sizes[end] == small
            run += words.hashes[end] * power
            power *= BASE
            end += 1
        complete = seen >= inked and smalls >= least_small and least <= held < under
        texts[index], ends[index], result[index] = text, end if complete else -1, mix(run)


def hash_inked_runs(
    words: Slices, classes: Array, first_inked: int, sizes: Array, begins: Array, inked: int, rule: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """`hash_runs`, but measured in characters that the page shows: the shortest runs with at least `inked` characters
    of a class from `first_inked` on, those between words included. `rule` is (small, least_small, least, under): an
    end is -1, too, where fewer than `least_small` words have the size `small`, or where the sum of the sizes is not
    from `least` to `under` - 1."""
    texts, ends = np.empty(len(begins), np.int32), np.empty(len(begins), np.int32)
    result = np.empty(len(begins), np.uint64)
    _hash_inked_runs(words, classes, first_inked, sizes, begins, inked, np.array(rule), texts, ends, result)
    return texts, ends, result
