"""The ledger: one DuckDB file that accounts for every document and token of a workspace.

Takes manifests, receipts and the metrics of running trainings, with no knowledge of the rooms that wrote them; gives
tables, views, named queries and the trace of one document. A read model: losing it loses nothing.
"""
