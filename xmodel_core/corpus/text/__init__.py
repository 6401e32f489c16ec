"""Takes texts; gives batches of flat arrays (characters, words, lines) and each text's language and script."""
