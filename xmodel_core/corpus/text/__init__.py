"""Batches of text as flat arrays: characters, words, lines, and the compiled loops that count over them."""
