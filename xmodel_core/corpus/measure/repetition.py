"""Equal keys and repeated runs of words in one text: compiled helpers of `tally`.

Takes hashes and a `Scratch` that is used again for each text; gives groups of equal keys, the number of equal pairs,
and how many characters repeated runs of words cover.
"""

from typing import NamedTuple

import numpy as np

from xmodel_core.corpus.text.compiled import helper
from xmodel_core.corpus.text.rolling_hash import BASE
from xmodel_core.corpus.text.splitting import Slices

Array = np.ndarray

_ONE, _32 = np.uint64(1), np.uint64(32)


class Scratch(NamedTuple):
    """Working memory for a text of at most `size` words or lines."""

    keys: Array
    """uint64 [size]: hashes of runs of words."""
    at: Array
    """int32 [size]: the word each of these runs begins with."""
    places: Array
    """int32 [1.5 * size + 1]: a hash table with open addressing; position + 1, 0 is an empty place."""
    owner: Array
    """int32 [size]: for each key the position of the first one equal to it."""
    count: Array
    """int32 [size]: at that position, how many are equal."""


def scratch(size: int) -> Scratch:
    """Room for texts of at most `size` words or lines."""
    return Scratch(
        keys=np.empty(size, np.uint64),
        at=np.empty(size, np.int32),
        places=np.empty(size + size // 2 + 1, np.int32),
        owner=np.empty(size, np.int32),
        count=np.empty(size, np.int32),
    )


@helper
def group_equal(keys: Array, begin: int, size: int, scratch: Scratch) -> int:
    """Fills `owner` and `count` for `size` keys from `begin` on; gives the number of different keys."""
    places, owner, count = scratch.places, scratch.owner, scratch.count
    room = size + (size >> 1) + 1
    for place in range(room):
        places[place] = 0
    different = 0
    for position in range(size):
        key = keys[begin + position]
        place = np.int64(((key * BASE) >> _32) * np.uint64(room) >> _32)
        count[position] = 0
        # New or known is unpredictable for a processor, so both take the same path: an empty place reads as our own.
        while True:
            held = places[place]
            first = held - 1 if held else position
            if keys[begin + first] == key:
                break
            place = place + 1 if place + 1 < room else 0
        places[place] = first + 1
        owner[position] = first
        count[first] += 1
        different += first == position
    return different


@helper
def equal_pairs(keys: Array, begin: int, size: int, scratch: Scratch) -> int:
    """How many pairs of equal keys there are among `size` from `begin` on."""
    group_equal(keys, begin, size, scratch)
    pairs = 0
    for position in range(size):
        pairs += scratch.count[position] * (scratch.count[position] - 1) >> 1
    return pairs


@helper
def cover_repeated_runs(
    words: Slices, begin: int, total: int, unit: int, runs: Array, tops: int, scratch: Scratch, covered: Array
) -> int:
    """Fills `covered` [sizes of runs] with the characters that repeated runs of words cover, of the `total` words from
    `begin` on; gives the number of different words. A run of size i has runs[i] * unit words; of the first `tops`
    sizes the commonest run counts, of the others every run seen before.

    A run can repeat only where each shorter run inside it repeats, so each size looks only at what is left of
    the one before: most of a text is done with after its single words.
    """
    keys, at, owner, count = scratch.keys, scratch.at, scratch.owner, scratch.count
    different = group_equal(words.hashes, begin, total, scratch)
    left = 0
    for word in range(total):
        at[left], keys[left] = begin + word, words.hashes[begin + word]
        left += count[owner[word]] > 1
    size = 1  # of the current runs, in words
    for index in range(len(runs)):
        longer = runs[index] * unit
        step = longer - size
        power = _ONE
        for _ in range(size):
            power *= BASE
        kept = 0
        for candidate in range(left - step):
            word = at[candidate]
            if at[candidate + step] == word + step:  # so all between are candidates too
                key, factor = keys[candidate], power
                for further in range(word + size, word + longer):
                    key += words.hashes[further] * factor
                    factor *= BASE
                at[kept], keys[kept] = word, key
                kept += 1
        size = longer
        group_equal(keys, 0, kept, scratch)
        left, most, duplicate, done = 0, 0, 0, 0
        for candidate in range(kept):
            first, word = owner[candidate], at[candidate]
            if count[first] == 1:
                continue
            if index < tops:
                if first == candidate:
                    characters = 0
                    for each in range(word, word + size):
                        characters += words.ends[each] - words.starts[each]
                    most = max(most, characters * count[first])
            elif first != candidate:
                for each in range(max(word, done), word + size):
                    duplicate += words.ends[each] - words.starts[each]
                done = word + size
            at[left], keys[left] = word, keys[candidate]
            left += 1
        covered[index] = most if index < tops else duplicate
    return different
