"""Evaluation: benchmark scores of a checkpoint, by lm-evaluation-harness over local data.

Takes a checkpoint with its tokenizer and suites of tasks; gives an artifact of scores with standard errors, the answer
to every question, and the verdicts of the suites' gates.
"""
