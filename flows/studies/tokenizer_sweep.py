"""Flow `tokenizer-sweep`: tokenizers of several sizes and balances of Chinese and English, and their trade-off."""

from typing import Any

from prefect import flow

from flows.river import tasks
from flows.river.session import ClusterKind, open_session
from xmodel_core.tokenizer.sweep import SweepGrid


@flow(name="tokenizer-sweep", log_prints=False)
def tokenizer_sweep(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    vocab_sizes: list[int] | None = None,
    zh_shares: list[float] | None = None,
    cluster: ClusterKind | None = None,
) -> dict[str, Any]:
    """By default half, once and twice the recipe's size. Returns the table, and where it and its picture are."""
    with open_session(recipe, overrides, workspace, "corpus", cluster) as session:
        own = session.recipe.tokenizer.vocab_size
        tasks.build_stages(session, through="corpus")
        grid = SweepGrid(vocab_sizes or [own // 2, own, own * 2], zh_shares or [0.3, 0.5, 0.7])
        swept = tasks.sweep_tokenizers(session, grid)
        return {"sweep": swept.label, "path": str(swept.folder), **swept.manifest()["facts"]}
