"""Generation: a model and prompts in, pieces of text out; batched decoding with the key-value cache, sampling."""
