"""The hyperparameter search: takes training inputs and ranges; gives trials, their picture and a page.

`sampler.py` chooses hyperparameters by Optuna's TPE, `stage.py` trains proxies with them and writes the result;
`regression.py`, `panels.py` and `render.py` describe it.
"""
