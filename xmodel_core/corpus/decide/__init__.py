"""Takes the columns of scans and pairs of near copies; gives which documents are kept and why others are dropped."""
