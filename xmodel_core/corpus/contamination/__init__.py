"""Passages of benchmark items, indexed and found in documents."""
