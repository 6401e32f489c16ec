"""Exact and near copies, found on columns."""
