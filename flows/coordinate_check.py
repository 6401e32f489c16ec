"""Flow `coordinate-check`: do activations keep their size as the recipe's model grows wider, in muP and without."""

from typing import Any

from prefect import flow

from flows import stages
from flows.session import open_session
from flows.xmodel import to_corpus, to_tokens
from xmodel_core.search import coordinate_check as door


@flow(name="coordinate-check", log_prints=False)
def coordinate_check(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    widths: list[int] | None = None,
    steps: list[int] | None = None,
    seeds: int = 3,
    base_width: int | None = None,
    layers: int = 4,
    head_size: int = 32,
) -> dict[str, Any]:
    """Returns the table of slopes, and where it and its pictures lie."""
    steps = steps or [1, 2, 5, 10]
    with open_session(recipe, overrides or [], workspace) as session:
        training = door.schedule(session.recipe.training, max(steps))
        corpus = to_corpus(session)
        tokens = to_tokens(session, corpus)
        short = session.with_training(training)
        plan = stages.plan_mixture(short, [files.source for files in corpus.sources], tokens.shards)
        checked = stages.check_coordinates(
            short,
            plan,
            tokens.shards,
            tokens.tokenizer,
            widths=widths or [64, 128, 256, 512, 1024],
            steps=steps,
            seeds=seeds,
            base_width=base_width,
            layers=layers,
            head_size=head_size,
        )
        return {"check": checked.label, "path": str(checked.folder), **checked.manifest()["facts"]}
