"""Training: a plan and token shards become checkpoints and a run's metrics.

Takes `TrainingInputs` (the model's and the training's settings, `plan.json`, each source's shards, the tokenizer);
gives a run: checkpoints/step-…/ and metrics/<table>/*.parquet. Which tokens a step sees is a pure function of
(plan, seed, step), so a kill, a resume or another number of workers changes nothing in the stream. `stage.py` is the
entry point; `order/` and `loader.py` make the batches, `loop.py` trains on them with `step.py`, `optim/` and
`parallel/`, and `recorder.py`, `metrics.py` and `checkpoint/` write down what came of it.
"""
