"""The report: one self-contained page about a run.

Takes the ledger alone; gives `reports/<name>-<fp>/index.html`: the river, the mixture, the tokenizer, the training,
the scores and the books, with figures inline and nothing fetched from anywhere.
"""
