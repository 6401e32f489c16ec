"""The verbs that work with a checkpoint."""

from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from flows.commands.options import Command, json_option


def decoding_options(command: Command) -> Command:
    """How tokens are chosen, how many, and where; handed on as one Sampling beside the rest."""

    @wraps(command)
    def called(temperature: float, top_k: int, top_p: float, repetition_penalty: float, seed: int, **rest: Any) -> None:
        from xmodel_core.model.generation.sampling import Sampling

        if temperature == 0 and (top_k or top_p < 1):
            raise click.UsageError("--top-k and --top-p need a --temperature above 0: without one nothing is drawn")
        command(sampling=Sampling(temperature, top_k, top_p, repetition_penalty, seed), **rest)

    options = [
        click.option("--max-new-tokens", type=click.IntRange(min=1), default=64, show_default=True),
        click.option(
            "--temperature",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="0: the likeliest token each time.",
        ),
        click.option("--top-k", type=click.IntRange(min=0), default=0, help="Draw among the k likeliest; 0: all."),
        click.option(
            "--top-p",
            type=click.FloatRange(min=0, max=1, min_open=True),
            default=1.0,
            help="Draw among the likeliest that make up p together.",
        ),
        click.option(
            "--repetition-penalty",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            help="Above 1: what is there already becomes less likely.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Prompt i draws with seed + i."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda:0 …"),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            default="float32",
            show_default=True,
        ),
    ]
    wrapped: Any = called
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


@click.command()
@click.argument("checkpoint")
@click.option("--prompt", "prompts", multiple=True, help="The text to continue; several make a batch.")
@click.option(
    "--prompt-file",
    type=click.Path(path_type=Path),
    help="More prompts: one a line, or the field `prompt` of each line of a .jsonl.",
)
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="End before this text; may be given again.")
@decoding_options
@json_option
def generate(
    checkpoint: str,
    prompts: tuple[str, ...],
    prompt_file: Path | None,
    stops: tuple[str, ...],
    sampling: Any,
    max_new_tokens: int,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Continue prompts with a checkpoint, or with a run's newest; one prompt's text appears as it comes."""
    from flows.commands.generate import generate as write
    from flows.commands.generate import read_prompts

    asked = [*prompts, *(read_prompts(prompt_file) if prompt_file else [])]
    if not asked:
        raise click.UsageError("a --prompt is needed, or a --prompt-file with one")
    write(checkpoint, asked, max_new_tokens, sampling, stops, device, dtype, as_json)


@click.command()
@click.argument("checkpoint")
@decoding_options
def chat(checkpoint: str, sampling: Any, max_new_tokens: int, device: str, dtype: str) -> None:
    """Talk with a checkpoint, or with a run's newest, in the terminal or through a pipe, a line each turn."""
    from flows.commands.generate import chat as talk

    talk(checkpoint, max_new_tokens, sampling, device, dtype)


@click.command()
@click.argument("checkpoint")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--prompt", help="The text to look at.")
@click.option("--file", "text_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Or its file.")
@click.option(
    "--head",
    "heads",
    multiple=True,
    type=click.IntRange(min=0),
    help="A head to draw; give several. Default: the mean.",
)
@click.option("--max-tokens", type=click.IntRange(min=2), default=256, show_default=True, help="Of the text.")
def diagnose(
    checkpoint: str, folder: Path, prompt: str | None, text_file: Path | None, heads: Sequence[int], max_tokens: int
) -> None:
    """Attention maps and the gradient's norm per layer, of a checkpoint or a run's newest, on a text."""
    if (prompt is None) == (text_file is None):
        raise click.UsageError("give the text with --prompt or with --file")
    from flows.commands.diagnose import diagnose as look

    text = prompt if text_file is None else text_file.read_text(encoding="utf-8", errors="replace")
    assert text is not None
    look(checkpoint, folder, text, max_tokens, heads)


@click.command()
@click.argument("checkpoint")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    required=True,
    type=click.Choice(["llama", "granite", "minicpm", "xmodel"]),
    help="Whose code will load it.",
)
def export(checkpoint: str, folder: Path, format_name: str) -> None:
    """Write a checkpoint, or a run's newest, for other code: weights, configs, tokenizer, model card."""
    from flows.commands.convert import export as write

    write(checkpoint, folder, format_name)


@click.command("import")
@click.argument("released", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def import_released(released: Path, folder: Path) -> None:
    """Bring in a released checkpoint (Xmodel-LM, Xmodel-2, Xmodel-2.5, MiniCPM), to generate from or export."""
    from flows.commands.convert import import_released as bring_in

    bring_in(released, folder)
