"""`xmodel export` and `xmodel import`: checkpoints for other code, and released checkpoints brought in.

Takes places and a format; gives folders. The tokenizer's files are made here from the SentencePiece model that every
checkpoint carries, for the model's room does not know tokenizers.
"""

from pathlib import Path

import click

from flows.river.session import checkpoint_folder
from xmodel_core.model.cost import count_parameters
from xmodel_core.model.formats.export_checkpoint import SpecialTokens, export_checkpoint, tokens_beside
from xmodel_core.model.formats.import_checkpoint import import_checkpoint
from xmodel_core.model.weights import TOKENIZER, newest_checkpoint
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.tokenizer_json import tokenizer_config_json, tokenizer_json


def export(place: str, out: Path, format_name: str) -> None:
    """Writes a checkpoint, or a run's newest, as a folder that other code loads."""
    checkpoint = newest_checkpoint(checkpoint_folder(place))
    if (checkpoint / TOKENIZER).exists():
        model = Tokenizer.load(checkpoint / TOKENIZER)
        bos, eos = (None if token < 0 else token for token in (model.bos_id, model.eos_id))
        tokens = SpecialTokens(bos, eos)
        files: dict[str, str | bytes] = {
            TOKENIZER: model.model,
            "tokenizer.json": tokenizer_json(model.model),
            "tokenizer_config.json": tokenizer_config_json(model.model),
        }
    else:
        tokens, texts = tokens_beside(checkpoint)
        files = {**texts}
    exported = export_checkpoint(checkpoint, format_name, out, tokens, files)
    click.echo(f"{out}: {exported.config['architectures'][0]}, {len(exported.weights)} tensors, from {checkpoint}")


def import_released(released: Path, out: Path) -> None:
    """Writes a released checkpoint as one of ours."""
    config, vocab_size = import_checkpoint(released, out)
    click.echo(f"{out}: {count_parameters(config, vocab_size).total:,} parameters, vocabulary {vocab_size:,}")
    if not (out / TOKENIZER).exists():
        click.echo("its tokenizer is no SentencePiece model: it can be exported, but not generate here")
