"""Checkpoints in other projects' formats: ours exported, released ones imported."""
