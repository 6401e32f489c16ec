"""`xmodel diagnose`: a checkpoint's attention maps and gradient norms per layer on a text, as plots and numbers.

Takes a checkpoint and a text; gives a folder with attention.png, layers.png and diagnosis.json. The text follows an
end-of-document token, as documents did in training, so position 0 of the maps is that token.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from xmodel_core.errors import XmodelError

FILES = ("attention.png", "layers.png", "diagnosis.json")


@click.command()
@click.argument("checkpoint")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--prompt", help="The text to diagnose on.")
@click.option(
    "--file",
    "text_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the text from a file instead.",
)
@click.option(
    "--head",
    "heads",
    multiple=True,
    type=click.IntRange(min=0),
    help="Attention head to draw (repeatable). Default: the mean over heads.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=2),
    default=256,
    show_default=True,
    help="Use at most this many tokens of the text.",
)
def diagnose(
    checkpoint: str, folder: Path, prompt: str | None, text_file: Path | None, heads: Sequence[int], max_tokens: int
) -> None:
    """Plot attention maps and per-layer gradient norms on a text, of a checkpoint or of a run's newest; writes to
    DIR."""
    if (prompt is None) == (text_file is None):
        raise click.UsageError("give the text with --prompt or with --file")
    text = prompt if text_file is None else text_file.read_text(encoding="utf-8", errors="replace")
    assert text is not None
    if existing := [name for name in FILES if (folder / name).exists()]:
        raise XmodelError(
            "there is a diagnosis already",
            found=", ".join(existing),
            where=folder,
            remedy="choose another folder",
        )

    from flows.river.session import checkpoint_folder
    from xmodel_core.model import diagnose as model_diagnose
    from xmodel_core.model.weights import load_checkpoint
    from xmodel_core.tokenizer.tokenizer import Tokenizer

    model, tokenizer_file = load_checkpoint(checkpoint_folder(checkpoint))
    tokenizer = Tokenizer.load(tokenizer_file)
    tokens = [tokenizer.eos_id, *tokenizer.encode(text)][: min(max_tokens, model.config.max_position_embeddings) + 1]
    diagnosis = model_diagnose.diagnose(model, tokens)
    folder.mkdir(parents=True, exist_ok=True)
    model_diagnose.draw_attention(diagnosis.maps_LHTT, heads, folder / "attention.png")
    model_diagnose.draw_layers(diagnosis.figures, folder / "layers.png")
    pieces = [tokenizer.decode([token]) for token in tokens]
    record = json.dumps({**diagnosis.figures, "pieces": pieces}, ensure_ascii=False, indent=1)
    (folder / "diagnosis.json").write_text(record + "\n", encoding="utf-8")
    click.echo(f"{len(tokens)} tokens, loss {diagnosis.figures['loss']:.3f}; {', '.join(FILES)} in {folder}")
