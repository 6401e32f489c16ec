"""Checkpoints: checkpoints/step-00000300/ with the model, its tokenizer, the optimizer and the position in the run.

Takes a run's folder and what is to be saved; gives folders that appear complete or not at all. Each one can be used
alone (model.safetensors, config.json, tokenizer.model) and lets the run continue bit for bit (optimizer.pt,
state.json). `manifest.json`, written last, lists every file's size and sha256. `names.py` finds them, `save.py`
writes, verifies and loads them, `prune.py` removes old ones.
"""
