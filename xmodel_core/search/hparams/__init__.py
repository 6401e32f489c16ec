"""The hyperparameter search: Optuna's TPE over proxies, its panels and its page."""
