"""The embedded default: a small bilingual world, its documents with their truth, and tasks about them.

Takes a seed and a scale; gives a `raw` artifact: documents/<source>/, benchmarks/<name>/test.jsonl
and truth.jsonl, which says of every document whether it is clean or what was planted. All text comes
from grammars written for this room, independently of the rules that will judge it.
"""
