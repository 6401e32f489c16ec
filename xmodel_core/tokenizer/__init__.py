"""The tokenizer: kept documents in; a SentencePiece model and token shards per source out.

The tokenizer learns from a sample with shares of its own, which no mixture weight touches, so changing a mixture
re-encodes nothing. A source's shards depend on its own kept documents and on the tokenizer, never on the other
sources. Encoding is lossless: characters without a piece are written as bytes.
"""
