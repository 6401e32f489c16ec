"""Search: small models, proxies, that tell how larger ones should be trained.

Takes a recipe's model and training, a plan and its token shards; gives tables, pictures and pages of what was tried.
Hyperparameters by Optuna's TPE: `hparams.py` chooses them, `stage.py` trains proxies and writes the result. muP's two
tests, `coordinate_check.py` and `lr_transfer.py`, train a model at several widths (`proxies.py`).
"""
