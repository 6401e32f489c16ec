"""The order of all tokens: (phase, step, position) → (source, shard, document, offset), from plan and seed alone.

Takes the plan's counts, where each source's documents end, and the seed; gives pure functions, none of which knows
workers, prefetch or restarts. `shares.py`: how many sequences of each source the first t steps hold, never a whole
sequence off its share. `documents.py`: a source's documents in a new order each epoch. `concat.py` and `best_fit.py`
(interface: `packing.py`): which token ranges make up a source's k-th sequence of a phase. An epoch ends with its last
token and the next begins there, so a phase may change lengths anywhere and lose nothing. `audit.py` proves a finished
run's order against its shards.
"""
