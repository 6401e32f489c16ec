"""`xmodel generate` and `xmodel chat`: text printed as it is generated, for a person, a pipe or a script.

Takes a checkpoint, prompts or messages, and decoding settings; prints. A conversation is phrased as the corpus phrases
instruction data with several turns (`corpus/read/instructions.py`): the form that a model trained here has seen.
"""

import json
import re
import sys
import time
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from flows.commands.options import Command, json_option
from xmodel_core.errors import XmodelError

if TYPE_CHECKING:
    from xmodel_core.model.generation.generate import Piece
    from xmodel_core.model.generation.sampling import Sampling
    from xmodel_core.model.network import Xmodel
    from xmodel_core.tokenizer.tokenizer import Tokenizer


class Decoding(NamedTuple):
    """How tokens are chosen, how many at most, and what the model runs on."""

    sampling: "Sampling"
    max_new_tokens: int
    device: str
    dtype: str


def decoding_options(command: Command) -> Command:
    """The options of decoding, passed to the command as one `Decoding`."""

    @wraps(command)
    def with_decoding(
        *,
        temperature: float,
        top_k: int,
        top_p: float,
        repetition_penalty: float,
        seed: int,
        max_new_tokens: int,
        device: str,
        dtype: str,
        **rest: Any,
    ) -> None:
        if temperature == 0 and (top_k or top_p < 1):
            raise click.UsageError("--top-k and --top-p need a --temperature above 0: without one nothing is sampled")
        from xmodel_core.model.generation.sampling import Sampling

        sampling = Sampling(temperature, top_k, top_p, repetition_penalty, seed)
        command(decoding=Decoding(sampling, max_new_tokens, device, dtype), **rest)

    options = [
        click.option(
            "--max-new-tokens",
            type=click.IntRange(min=1),
            default=64,
            show_default=True,
            help="Generate at most this many tokens.",
        ),
        click.option(
            "--temperature",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="0: greedy decoding; above 0: sample at this temperature.",
        ),
        click.option(
            "--top-k", type=click.IntRange(min=0), default=0, help="Sample among the k most likely tokens; 0: all."
        ),
        click.option(
            "--top-p",
            type=click.FloatRange(min=0, max=1, min_open=True),
            default=1.0,
            help="Sample among the most likely tokens whose probabilities add up to p.",
        ),
        click.option(
            "--repetition-penalty",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            help="Penalise tokens already in the text (> 1).",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Prompt i samples with seed + i."),
        click.option("--device", default="cpu", show_default=True, help="Torch device: cpu, cuda:0 …"),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            default="float32",
            show_default=True,
            help="Number format of weights and activations.",
        ),
    ]
    wrapped: Any = with_decoding
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


@click.command()
@click.argument("checkpoint")
@click.option("--prompt", "prompts", multiple=True, help="Text to continue (repeatable: a batch).")
@click.option(
    "--prompt-file",
    type=click.Path(path_type=Path),
    help="More prompts: one per line, or the field `prompt` of each line of a .jsonl.",
)
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="End before this text (repeatable).")
@decoding_options
@json_option
def generate(
    checkpoint: str,
    prompts: tuple[str, ...],
    prompt_file: Path | None,
    stops: tuple[str, ...],
    decoding: Decoding,
    as_json: bool,
) -> None:
    """Continue prompts with a checkpoint, or with a run's newest; a single prompt's text is printed as it is
    generated. With --json: one object per line, in the order of the prompts."""
    prompts = (*prompts, *(read_prompts(prompt_file) if prompt_file else ()))
    if not prompts:
        raise click.UsageError("a --prompt is needed, or a --prompt-file with one")

    from xmodel_core.model.generation.generate import stream

    model, tokenizer = _load(checkpoint, decoding)
    began = time.perf_counter()
    pieces = stream(model, tokenizer, prompts, decoding.max_new_tokens, decoding.sampling, stops)
    if len(prompts) == 1 and not as_json:
        pieces = _echo_as_it_comes(prompts[0], pieces)
    texts = [""] * len(prompts)
    last: dict[int, tuple[Piece, float]] = {}
    for piece in pieces:
        texts[piece.row] += piece.text
        if piece.finish:
            last[piece.row] = piece, round(time.perf_counter() - began, 3)
    for row, prompt in enumerate(prompts):
        piece, seconds = last[row]
        if as_json:
            record = {
                "prompt": prompt,
                "text": texts[row],
                "tokens": piece.tokens,
                "finish": piece.finish,
                "seconds": seconds,
            }
            click.echo(json.dumps(record, ensure_ascii=False))
        elif len(prompts) > 1:
            click.echo(f"{prompt}{texts[row]}\n")
        _report_full_context(model, piece, decoding)


@click.command()
@click.argument("checkpoint")
@decoding_options
def chat(checkpoint: str, decoding: Decoding) -> None:
    """Talk with a checkpoint, or with a run's newest, in the terminal or through a pipe: one message per line."""
    from xmodel_core.corpus.read.instructions import DIALOGUES, labelled
    from xmodel_core.model.generation.generate import Conversation

    model, tokenizer = _load(checkpoint, decoding)
    conversation, history = Conversation(model, tokenizer), ""
    form = DIALOGUES["en"][0]
    for message in _messages():
        if not message.strip():
            continue
        if message.strip() == "/reset":
            history = ""
            continue
        if not history:  # the first message decides the language of the labels
            form = DIALOGUES["zh" if re.search("[\u3400-\u9fff]", message) else "en"][0]
        turn = f"{labelled(form.prompt, message)}\n\n{form.answer}"
        if history and len(tokenizer.encode(f"{history}\n\n{turn}")) + 1 >= model.config.max_position_embeddings:
            click.echo("the conversation no longer fits the model's context: starting a new one", err=True)
            history = ""
        history = f"{history}\n\n{turn}" if history else turn
        answer = ""
        try:
            stops = [f"\n{form.prompt}", f"\n{form.answer}"]
            for piece in conversation.answer(history, decoding.max_new_tokens, decoding.sampling, stops):
                text = piece.text if answer else piece.text.lstrip()
                answer += text
                click.echo(text, nl=False)
                _report_full_context(model, piece, decoding)
        except KeyboardInterrupt:
            pass  # the answer so far becomes part of the conversation
        except XmodelError as error:
            click.echo(f"xmodel: {error}", err=True)
            history = ""
            continue
        click.echo()
        history = history.removesuffix(form.answer) + labelled(form.answer, answer.rstrip())


def read_prompts(path: Path) -> list[str]:
    """One prompt per line, or the field `prompt` of each line where the file ends in .jsonl; empty lines are skipped.

    XmodelError: a file that cannot be read, a line without a prompt."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise XmodelError("prompts cannot be read", expected="text in UTF-8", found=error, where=path) from None
    if path.suffix != ".jsonl":
        return lines
    prompts = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("prompt"), str):
            raise XmodelError(
                "a line without a prompt",
                expected='{"prompt": "…"}',
                found=line[:60],
                where=f"{path}, non-empty line {number}",
            )
        prompts.append(record["prompt"])
    return prompts


def _load(checkpoint: str, decoding: Decoding) -> "tuple[Xmodel, Tokenizer]":
    from flows.river.session import checkpoint_folder
    from xmodel_core.model.weights import load_checkpoint
    from xmodel_core.tokenizer.tokenizer import Tokenizer

    model, tokenizer_file = load_checkpoint(checkpoint_folder(checkpoint), decoding.device, decoding.dtype)
    return model, Tokenizer.load(tokenizer_file)


def _report_full_context(model: "Xmodel", piece: "Piece", decoding: Decoding) -> None:
    if piece.finish == "length" and len(piece.tokens) < decoding.max_new_tokens:
        click.echo(f"the context of {model.config.max_position_embeddings:,} tokens is full", err=True)


def _echo_as_it_comes(prompt: str, pieces: "Iterator[Piece]") -> "Iterator[Piece]":
    """Prints one prompt and its text while it is generated."""
    click.echo(prompt, nl=False)
    for piece in pieces:
        click.echo(piece.text, nl=False)
        yield piece
    click.echo()


def _messages() -> Iterator[str]:
    """What a person types, or the lines of a pipe; ends at Ctrl-D or the pipe's end."""
    if not sys.stdin.isatty():
        yield from (line.rstrip("\r\n") for line in sys.stdin)
        return
    click.echo("Ctrl-C ends an answer, Ctrl-D the conversation; /reset starts a new one.", err=True)
    while True:
        try:
            yield input("> ")
        except KeyboardInterrupt:
            click.echo(err=True)
        except EOFError:
            click.echo(err=True)
            return
