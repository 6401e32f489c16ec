"""Copies: exact ones by hash, near ones by MinHash with LSH bands, over all sources at once.

Takes hashes and signatures in the order of sources, files and rows; gives for each document the
first of its copies. Pairs that share a band are candidates, verified by the share of equal entries;
clusters are the connected components of verified pairs. Sorting decides everything: no hash map,
no order of arrival.
"""

import numpy as np

from xmodel_core.corpus.kernels import mix
from xmodel_core.corpus.layout import Array
from xmodel_core.corpus.signature import EMPTY


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


def _band_hashes(signatures: Array, band: int, rows: int) -> Array:
    part = signatures[:, band * rows : (band + 1) * rows].astype(np.uint64)
    hashes = np.full(len(part), band, np.uint64)
    for row in range(rows):
        hashes = mix(hashes * np.uint64(0x9E3779B97F4A7C15) + part[:, row])
    return hashes


def _root(parent: Array, positions: Array) -> Array:
    while True:
        above = parent[positions]
        if np.array_equal(above, positions):
            return positions
        positions = above


def _verified(signatures: Array, a: Array, b: Array, threshold: float) -> Array:
    agree = np.empty(len(a), bool)
    for begin in range(0, len(a), 1 << 16):  # bounded memory, however many candidates
        part = slice(begin, begin + (1 << 16))
        agree[part] = (signatures[a[part]] == signatures[b[part]]).mean(1) >= threshold
    return agree


def near_copies(signatures: Array, bands: int, threshold: float) -> Array:
    """For each document the position of the first document of its cluster; [n, bands * rows] uint32 in.

    In a bucket of one band each member is compared with the first and with the one before it: a bucket of
    thousands of copies costs thousands of comparisons, not millions, and chains still connect.
    """
    total = len(signatures)
    parent = np.arange(total)
    written = np.flatnonzero((signatures != EMPTY).any(1)) if total else parent  # without words: like no other
    rows = signatures.shape[1] // bands
    for band in range(bands):
        hashes = _band_hashes(signatures[written], band, rows)
        order = np.lexsort((written, hashes))
        same = hashes[order][1:] == hashes[order][:-1]
        members = written[order]
        heads = np.maximum.accumulate(np.where(np.concatenate(([True], ~same)), np.arange(len(order)), 0))
        later = np.flatnonzero(same) + 1
        a = np.concatenate((members[heads[later]], members[later - 1]))
        b = np.concatenate((members[later], members[later]))
        parted = _root(parent, a) != _root(parent, b)  # pairs that an earlier band joined need no second look
        a, b = a[parted], b[parted]
        close = _verified(signatures, a, b, threshold)
        for left, right in zip(_root(parent, a[close]).tolist(), b[close].tolist(), strict=True):
            # Union by the smaller position: the root is the first document in source, file and row order.
            while parent[left] != left:
                left = int(parent[left])
            while parent[right] != right:
                right = int(parent[right])
            parent[max(left, right)] = min(left, right)
    return _root(parent, np.arange(total))
