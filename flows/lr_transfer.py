"""Flow `lr-transfer`: does the best learning rate of a narrow model serve the wide ones, in muP and without."""

from typing import Any

from prefect import flow

from flows import stages
from flows.session import open_session
from flows.xmodel import to_corpus, to_tokens
from xmodel_core.search.scaled import Parametrisation, of_length


@flow(name="lr-transfer", log_prints=False)
def lr_transfer(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    widths: list[int] | None = None,
    rates: list[float] | None = None,
    parametrisations: list[Parametrisation] | None = None,
    steps: int = 128,
    seeds: int = 1,
    base_width: int | None = None,
    layers: int = 4,
    head_size: int = 32,
) -> dict[str, Any]:
    """`steps`: the recipe's schedule, shortened to so many. Returns losses and best rates, and where they lie."""
    with open_session(recipe, overrides or [], workspace) as session:
        training = of_length(session.recipe.training, steps)
        corpus = to_corpus(session)
        tokens = to_tokens(session, corpus)
        short = session.with_training(training)
        plan = stages.plan_mixture(short, [files.source for files in corpus.sources], tokens.shards)
        tested = stages.compare_learning_rates(
            short,
            plan,
            tokens.shards,
            tokens.tokenizer,
            widths=widths or [64, 128, 256, 512],
            rates=rates or [2.0**-power for power in range(9, 3, -1)],
            parametrisations=parametrisations or ["mup", "standard"],
            seeds=seeds,
            base_width=base_width,
            layers=layers,
            head_size=head_size,
        )
        return {"transfer": tested.label, "path": str(tested.folder), **tested.manifest()["facts"]}
