"""The mixture room: shares of tokens and each source's supply in; a plan in exact tokens out.

The plan says how many sequences each source contributes to each phase; they add up to steps × batch exactly.
It knows nothing of documents or tensors. `plan.py` is arithmetic, `stage.py` the entry point.
The mixture itself is a spec (specs/mixtures.py), the phases' lengths are the training schedule's.
"""
