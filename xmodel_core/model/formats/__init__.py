"""Checkpoints in other projects' formats: export and import."""
