"""Training: a plan and token shards become checkpoints and a run's metrics.

Takes the model's and the training's settings, `plan.json`, each source's shards and the tokenizer; gives
a run: checkpoints/step-…/ and metrics/<table>/*.parquet. Which tokens a step sees is a pure function of
(plan, seed, step), so a kill, a resume or another number of workers changes nothing in the stream.
"""
