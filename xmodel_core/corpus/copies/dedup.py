"""Copies, on columns alone: exact ones by hash, near ones as pairs that share a key, clusters from verified pairs.

Takes hashes and keys in the order of sources, files and rows; gives positions. Sorting decides everything: no
hash map, no order of arrival, so the result is the same whatever was computed where.
"""

import numpy as np

from xmodel_core.corpus.measure.signature import NO_KEY
from xmodel_core.corpus.text.batch import Array


def exact_copies(hashes: Array, rank: Array) -> Array:
    """For each document the position of its survivor: among equal hashes the least rank, then the first.

    `hashes` is [n, 2] uint64 (the 128-bit text hash); a survivor points at itself.
    """
    position = np.arange(len(hashes))
    order = np.lexsort((position, rank, hashes[:, 1], hashes[:, 0]))
    ordered = hashes[order]
    first = np.ones(len(order), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(1)
    survivor = np.empty(len(order), np.int64)
    survivor[order] = order[np.maximum.accumulate(np.where(first, position, 0))]
    return survivor


def _order(keys: Array) -> Array:
    """int64: the order that sorts keys (uint64), equal ones by position.

    numpy sorts numbers seven times as fast as it finds their order, so positions are put into the low bits of the
    keys. Different keys that are alike in all other bits are put in order afterwards; of hashes they are few.
    """
    low = np.uint64((1 << len(keys).bit_length()) - 1)
    packed = np.sort((keys & ~low) | np.arange(len(keys), dtype=np.uint64))
    order = (packed & low).astype(np.int64)
    ordered = keys[order]
    alike = (packed[1:] ^ packed[:-1]) <= low
    mixed = alike & (ordered[1:] != ordered[:-1])
    if mixed.any():
        group = np.concatenate(([0], np.cumsum(~alike)))
        again = np.zeros(group[-1] + 1, bool)
        again[group[1:][mixed]] = True
        places = np.flatnonzero(again[group])
        order[places] = order[places][np.lexsort((order[places], ordered[places], group[places]))]
    return order


def candidates(keys: Array) -> Array:
    """int64 [m, 2], ascending in each row: documents that share this key and are to be compared.

    Each member of a bucket meets the first and the one before it: a bucket of thousands of copies costs thousands
    of comparisons, not millions, and chains still connect. `keys` is [n] uint64, one of a document's keys.
    """
    order = _order(keys)
    ordered = keys[order]
    begins = np.ones(len(order), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    heads = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    later = np.flatnonzero(~begins & (ordered != NO_KEY))
    with_head = np.stack((order[heads[later]], order[later]), 1)
    distant = later[heads[later] < later - 1]
    return np.concatenate((with_head, np.stack((order[distant - 1], order[distant]), 1)))


def clusters(total: int, pairs: Array) -> Array:
    """int64 [total]: for each document the first of its cluster, the clusters being what `pairs` [m, 2] connect."""
    first = np.arange(total)
    while len(pairs):
        ends = first[pairs]
        pairs, ends = pairs[ends[:, 0] != ends[:, 1]], ends[ends[:, 0] != ends[:, 1]]
        # Each root hangs itself below the least that it is tied to; paths are then followed to their roots.
        np.minimum.at(first, ends.max(1), ends.min(1))
        while not np.array_equal(above := first[first], first):
            first = above
    return first
