"""Search: small models (proxies) are trained to find how larger ones should be.

Takes `TrainingInputs` (a recipe's model and training, a plan and its token shards) and the search's own settings; gives
an artifact with a table, pictures and a page. `hparams/`: a hyperparameter search by Optuna's TPE. `mup/`: muP's two
tests, which train a model at several widths. `proxies.py` trains the proxies of all of them.
"""
