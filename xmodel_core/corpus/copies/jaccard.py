"""The exact Jaccard similarity of pairs of sets, in one compiled loop.

Takes sets of hashes as flat arrays with offsets, and pairs of set numbers; gives one share for each pair.
"""

import numpy as np

from xmodel_core.corpus.text.compiled import Compiled

Array = np.ndarray


@Compiled
def _count_shared(
    a: Array, a_offsets: Array, a_rows: Array, b: Array, b_offsets: Array, b_rows: Array, shared: Array
) -> None:
    for pair in range(len(shared)):
        left, left_end = a_offsets[a_rows[pair]], a_offsets[a_rows[pair] + 1]
        right, right_end = b_offsets[b_rows[pair]], b_offsets[b_rows[pair] + 1]
        count = 0
        while left < left_end and right < right_end:
            if a[left] < b[right]:
                left += 1
            elif a[left] > b[right]:
                right += 1
            else:
                count += 1
                left += 1
                right += 1
        shared[pair] = count


def jaccard(a: tuple[Array, Array], a_rows: Array, b: tuple[Array, Array], b_rows: Array) -> Array:
    """float64 [pairs]: |A ∩ B| / |A ∪ B| of the sets a_rows[i] of `a` and b_rows[i] of `b`; 0 where both are empty.
    Sets are (values, offsets): set r is values[offsets[r] : offsets[r + 1]], uint64, ascending, each value once."""
    (_, a_offsets), (_, b_offsets) = a, b
    shared = np.empty(len(a_rows), np.int64)
    _count_shared(*a, a_rows, *b, b_rows, shared)
    union = (a_offsets[a_rows + 1] - a_offsets[a_rows]) + (b_offsets[b_rows + 1] - b_offsets[b_rows]) - shared
    return np.divide(shared, union, out=np.zeros(len(shared)), where=union > 0)
