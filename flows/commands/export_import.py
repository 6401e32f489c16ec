"""`xmodel export` and `xmodel import`: checkpoints converted for other software, and released ones to our format.

Takes paths and a format; gives folders. The tokenizer's files are made here from the SentencePiece model that every
checkpoint carries, because the model room does not know tokenizers.
"""

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    required=True,
    type=click.Choice(["llama", "granite", "minicpm", "xmodel"]),
    help="Target format.",
)
def export(checkpoint: str, folder: Path, format_name: str) -> None:
    """Write a checkpoint, or a run's newest, to DIR for other software: weights, configs, tokenizer, model card."""
    from flows.river.session import checkpoint_folder
    from xmodel_core.artifacts.sealed_folder import verify
    from xmodel_core.model.formats.export_checkpoint import SpecialTokens, export_checkpoint, tokens_beside
    from xmodel_core.model.weights import TOKENIZER, newest_checkpoint
    from xmodel_core.tokenizer.tokenizer import Tokenizer
    from xmodel_core.tokenizer.tokenizer_json import tokenizer_config_json, tokenizer_json

    weights = newest_checkpoint(checkpoint_folder(checkpoint))
    if (weights / TOKENIZER).exists():
        verify(weights, TOKENIZER)
        model = Tokenizer.load(weights / TOKENIZER)
        # In training each document stands behind the end-of-document token: it begins a text there, too.
        tokens = SpecialTokens(model.eos_id, model.eos_id)
        files: dict[str, str | bytes] = {
            TOKENIZER: model.model,
            "tokenizer.json": tokenizer_json(model.model, as_document=True),
            "tokenizer_config.json": tokenizer_config_json(model.model, as_document=True),
        }
    else:
        tokens, texts = tokens_beside(weights)
        files = {**texts}
    exported = export_checkpoint(weights, format_name, folder, tokens, files)
    click.echo(f"{folder}: {exported.config['architectures'][0]}, {len(exported.weights)} tensors, from {weights}")


@click.command("import")
@click.argument("released", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def import_released(released: Path, folder: Path) -> None:
    """Convert a released checkpoint (Xmodel-LM, Xmodel-2, Xmodel-2.5, MiniCPM) to ours in DIR, to generate from or
    export."""
    from xmodel_core.model.cost import count_parameters
    from xmodel_core.model.formats.import_checkpoint import import_checkpoint
    from xmodel_core.model.weights import TOKENIZER

    config, vocab_size = import_checkpoint(released, folder)
    click.echo(f"{folder}: {count_parameters(config, vocab_size).total:,} parameters, vocabulary {vocab_size:,}")
    if not (folder / TOKENIZER).exists():
        click.echo("its tokenizer is no SentencePiece model: the checkpoint can be exported, but not generate here")
