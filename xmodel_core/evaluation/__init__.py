"""Evaluation: what a checkpoint knows, asked by lm-evaluation-harness over local data.

Takes a run's checkpoint, its tokenizer and suites of tasks; gives an artifact of scores with standard
errors, every question's answer, and the verdicts of the suites' gates. Strings in, numbers out.
"""
