"""How Xmodel works: the rooms of the pipeline, plain Python, free of the orchestrator.

Stages (corpus, tokenizer, mixture, model, training, evaluation) never import each other; they
meet in artifacts on disk. Foundations (artifacts, specs, cluster, ledger, ...) know no stage.
"""
