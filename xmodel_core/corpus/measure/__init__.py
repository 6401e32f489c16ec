"""The scan: the one pass over a source's text that measures every document."""
