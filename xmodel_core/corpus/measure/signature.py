"""Keys of near copies: two texts are candidates when one of their keys is equal.

Takes a batch; gives uint64 [n, keys]. Shingles are five words in English and five characters in Chinese (a word of
the batch is either), numbers kept, case, width, punctuation and the traditional script folded away. MinHash: a key
is a band of entries, and the share of equal entries estimates the Jaccard similarity (Broder 1997). SimHash, the
reports' own method: a key is three of the six blocks of 64 bits (Manku, Jain and Das Sarma, WWW 2007).
"""

from functools import cache
from itertools import combinations, pairwise

import numpy as np

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.measure.minhash import minhash
from xmodel_core.corpus.text.batch import Array, TextBatch
from xmodel_core.corpus.text.rolling_hash import SliceHashes, mix

SHINGLE_WORDS = 5
NO_KEY = np.uint64(0)
"""The key of a text without words, which is never a candidate."""
_EMPTY = np.uint32(0xFFFFFFFF)
_BLOCK_BITS = (11, 11, 11, 11, 10, 10)
_EQUAL_BLOCKS = 3  # of six: texts that differ in up to three bits have three equal blocks, whichever bits differ


@cache
def _multipliers(count: int) -> Array:
    # Never to change: signatures of different scans must be comparable.
    return np.random.Generator(np.random.PCG64(20241120)).integers(1, 2**31, count, dtype=np.uint32) * 2 + 1


def shingles(batch: TextBatch, size: int = SHINGLE_WORDS) -> tuple[Array, Array]:
    """(uint64 hashes, int64 text of each), in text order. A text shorter than `size` words is one shingle."""
    words = batch.words
    counts = np.bincount(words.text, minlength=batch.texts)
    first = np.cumsum(counts) - counts
    each = np.where(counts == 0, 0, np.maximum(counts - size + 1, 1))
    text = np.repeat(np.arange(batch.texts), each)
    begins = np.arange(len(text)) - np.repeat(np.cumsum(each) - each, each) + first[text]
    ends = np.minimum(begins + size, (first + counts)[text])
    return SliceHashes(words.hashes).of(begins, ends), text


def shingle_sets(batch: TextBatch) -> tuple[Array, Array]:
    """(uint64 hashes, int64 offsets [n + 1]): the different shingles of each text, ascending."""
    hashes, text = shingles(batch)
    for begin, end in pairwise(np.searchsorted(text, np.arange(batch.texts + 1)).tolist()):
        hashes[begin:end].sort()  # text by text, each within the cache: five times faster than all by two keys
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (text[1:] != text[:-1])
    return hashes[new], np.searchsorted(text[new], np.arange(batch.texts + 1))


def signatures(batch: TextBatch, size: int) -> Array:
    """uint32 [n, size]: MinHash entries; all bits are set in a text without words."""
    return minhash(batch.words.slices, SHINGLE_WORDS, _multipliers(size))


def _hash_of(parts: Array) -> Array:
    """uint64 [...]: one hash of each row of uint32 or uint64 [..., k]; never NO_KEY."""
    hashes = np.full(parts.shape[:-1], parts.shape[-1], np.uint64)
    for column in np.moveaxis(parts, -1, 0):
        hashes = mix(hashes * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.uint64))
    return np.maximum(hashes, np.uint64(1))


def simhashes(batch: TextBatch) -> Array:
    """uint64 [n]: bit i is set where most shingles of a text have it set; 0 for a text without words."""
    hashes, text = shingles(batch)
    counts = np.bincount(text, minlength=batch.texts)
    result = np.zeros(batch.texts, np.uint64)
    for bit in range(64):
        ones = np.bincount(text, (hashes >> np.uint64(bit)) & np.uint64(1), batch.texts)
        result |= (2 * ones > counts).astype(np.uint64) << np.uint64(bit)
    return result


def key_names(config: ScanConfig) -> list[str]:
    """The scan's columns of keys."""
    count = config.minhash_bands if config.near_keys == "minhash" else len(list(_block_choices()))
    return [f"near_key_{number:02d}" for number in range(count)]


def _block_choices() -> list[tuple[int, ...]]:
    return list(combinations(range(len(_BLOCK_BITS)), _EQUAL_BLOCKS))


def band_keys(entries: Array, bands: int) -> Array:
    """uint64 [n, bands]: a key for each band of MinHash entries uint32 [n, bands * rows]; NO_KEY without words."""
    keys = _hash_of(entries.reshape(len(entries), bands, -1))
    return np.where((entries == _EMPTY).all(1)[:, None], NO_KEY, keys)


def near_keys(batch: TextBatch, config: ScanConfig) -> Array:
    """uint64 [n, keys], the columns of `key_names`; NO_KEY in a text without words."""
    if config.near_keys == "minhash":
        return band_keys(signatures(batch, config.minhash_bands * config.rows_per_band), config.minhash_bands)
    hashes = simhashes(batch)
    bounds = np.cumsum((0, *_BLOCK_BITS))
    blocks = [(hashes >> np.uint64(begin)) & np.uint64((1 << (end - begin)) - 1) for begin, end in pairwise(bounds)]
    keys = [_hash_of(np.stack([blocks[block] for block in chosen], 1)) for chosen in _block_choices()]
    empty = np.bincount(batch.words.text, minlength=batch.texts) == 0
    return np.where(empty[:, None], NO_KEY, np.stack(keys, 1))
