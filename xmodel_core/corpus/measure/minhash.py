"""MinHash entries of texts, in one compiled loop over their words (Broder 1997).

Takes the words of a batch; gives for each text and multiplier the least product with the hash of a shingle.
"""

import numpy as np

from xmodel_core.corpus.text.compiled import Compiled
from xmodel_core.corpus.text.rolling_hash import BASE, INVERSE, mix
from xmodel_core.corpus.text.splitting import Slices

Array = np.ndarray

_ONE, _ZERO, _32 = np.uint64(1), np.uint64(0), np.uint64(32)


@Compiled
def _minhash(hashes: Array, offsets: Array, size: int, multipliers: Array, result: Array) -> None:
    entries = len(multipliers)
    power = _ONE  # of a shingle's last word
    for _ in range(size - 1):
        power *= BASE
    for text in range(len(offsets) - 1):
        least = result[text]
        first, after = offsets[text], offsets[text + 1]
        shingle, factor = _ZERO, _ONE
        for word in range(first, min(first + size - 1, after)):
            shingle += hashes[word] * factor
            factor *= BASE
        # A text of fewer words is one shingle.
        for last in range(first + size - 1, max(after, first + size) if after > first else first):
            if last < after:
                shingle += hashes[last] * power
            # Half of the hash: a processor multiplies eight numbers of 32 bits at once, of 64 bits one or two.
            value = np.uint32(mix(shingle) >> _32)
            for entry in range(entries):
                least[entry] = min(least[entry], np.uint32(value * multipliers[entry]))
            shingle = (shingle - hashes[last - size + 1]) * INVERSE


def minhash(words: Slices, size: int, multipliers: Array) -> Array:
    """uint32 [n, multipliers]: for each multiplier (uint32, odd) the least product with the hash of a run of `size`
    words, modulo 2^32; all bits set for a text without words."""
    result = np.full((len(words.offsets) - 1, len(multipliers)), 0xFFFFFFFF, np.uint32)
    _minhash(words.hashes, words.offsets, size, multipliers, result)
    return result
