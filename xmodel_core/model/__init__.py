"""The model: one network for Xmodel-LM, Xmodel-2 and Xmodel-2.5, its weights on disk, generation, other formats.

Takes a `ModelConfig` and the tokenizer's vocabulary size; gives a torch module with its loss, safetensors with
Hugging Face's names, parameter and FLOP counts, activations and gradients to diagnose, and text as it is generated.
"""
