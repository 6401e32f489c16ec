"""The ledger: one DuckDB file in which the books of a workspace can be read.

Takes manifests, receipts and the metrics of running trainings, with no knowledge of the rooms that
wrote them; gives tables, views, named queries, and one document's way. A read model: losing it loses nothing.
"""
