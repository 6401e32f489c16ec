"""MinHash: a short signature from which the Jaccard similarity of two texts can be estimated.

Takes a layout; gives uint32 [n, bands * rows]. Shingles are five words in English and five
characters in Chinese (a word of the layout is either), numbers kept, case, width and punctuation
folded away. The share of equal entries estimates the similarity (Broder 1997).
"""

from functools import cache

import numpy as np

from xmodel_core.corpus import kernels
from xmodel_core.corpus.layout import Array, Layout, SliceHashes

SHINGLE_WORDS = 5
EMPTY = np.uint32(0xFFFFFFFF)


@cache
def _multipliers(count: int) -> Array:
    # Fixed for ever: signatures of different scans must be comparable.
    return np.random.Generator(np.random.PCG64(20241120)).integers(1, 2**63, count, dtype=np.uint64) * 2 + 1


def shingles(layout: Layout, size: int = SHINGLE_WORDS) -> tuple[Array, Array]:
    """(uint64 hashes, int64 text of each), in text order. A text shorter than `size` words is one shingle."""
    words = layout.words
    counts = np.bincount(words.text, minlength=layout.texts)
    first = np.cumsum(counts) - counts
    each = np.where(counts == 0, 0, np.maximum(counts - size + 1, 1))
    text = np.repeat(np.arange(layout.texts), each)
    begins = np.arange(len(text)) - np.repeat(np.cumsum(each) - each, each) + first[text]
    ends = np.minimum(begins + size, (first + counts)[text])
    return SliceHashes(words.hashes).of(begins, ends), text


def signatures(layout: Layout, size: int) -> Array:
    """uint32 [n, size]; a text without words has EMPTY everywhere and is like no other."""
    return kernels.minhash(layout.words.slices, SHINGLE_WORDS, _multipliers(size))
