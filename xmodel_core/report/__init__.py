"""The report: what is known about a run, and one self-contained page of it.

Takes the ledger alone; gives facts (`facts.py`), one set for the terminal, the Prefect UI and the page, and
`reports/<name>-<fp>/index.html`: documents, mixture, tokenizer, training, scores and books, with figures inline and
nothing fetched from anywhere.
"""
