"""`xmodel diagnose`: attention maps and the gradient's norm per layer, as pictures and figures.

Takes a checkpoint and a text; gives a folder with attention.png, layers.png and diagnosis.json. The text stands behind
an end-of-document token, as documents did in training, so position 0 of the maps is that token.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from flows.river.session import checkpoint_folder
from xmodel_core.errors import XmodelError
from xmodel_core.model.diagnose import diagnose as look
from xmodel_core.model.diagnose import draw_attention, draw_layers
from xmodel_core.model.weights import load_checkpoint
from xmodel_core.tokenizer.tokenizer import Tokenizer

FILES = ("attention.png", "layers.png", "diagnosis.json")


def diagnose(place: str, out: Path, text: str, max_tokens: int, heads: Sequence[int]) -> None:
    """Writes what a checkpoint, or a run's newest, shows on the first `max_tokens` tokens of a text."""
    if taken := [name for name in FILES if (out / name).exists()]:
        raise XmodelError(
            "there is a diagnosis already", found=", ".join(taken), where=out, remedy="give another folder"
        )
    model, tokenizer_file = load_checkpoint(checkpoint_folder(place))
    tokenizer = Tokenizer.load(tokenizer_file)
    tokens = [tokenizer.eos_id, *tokenizer.encode(text)][: min(max_tokens, model.config.max_position_embeddings) + 1]
    found = look(model, tokens)
    out.mkdir(parents=True, exist_ok=True)
    draw_attention(found.maps_LHTT, heads, out / "attention.png")
    draw_layers(found.figures, out / "layers.png")
    pieces = [tokenizer.decode([token]) for token in tokens]
    figures = json.dumps({**found.figures, "pieces": pieces}, ensure_ascii=False, indent=1)
    (out / "diagnosis.json").write_text(figures + "\n", encoding="utf-8")
    click.echo(f"{len(tokens)} tokens, loss {found.figures['loss']:.3f}; {', '.join(FILES)} in {out}")
