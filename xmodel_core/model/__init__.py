"""The network: Xmodel-LM's and Xmodel-2's block, its weights on disk, and generation.

Takes a `ModelConfig` and the tokenizer's vocabulary size; gives a torch module, safetensors with
Hugging Face's names, parameter and FLOP counts, and text as it is generated.
"""
