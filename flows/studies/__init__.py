"""The flows beside the pipeline: searches, muP's checks, tokenizer comparisons."""
