"""`xmodel generate` and `xmodel chat`: text as it comes, for a person, a pipe or a script.

Takes what was typed; prints. A conversation is phrased as the corpus phrases instruction data with several turns
(`corpus/instructions.py`): what a model trained here has read.
"""

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from flows.river.session import checkpoint_folder
from xmodel_core.errors import XmodelError
from xmodel_core.model.generation.generate import Conversation, Piece, stream
from xmodel_core.model.generation.sampling import Sampling
from xmodel_core.model.network import Xmodel
from xmodel_core.model.weights import load_checkpoint
from xmodel_core.tokenizer.tokenizer import Tokenizer


def read_prompts(path: Path) -> list[str]:
    """A prompt a line, or the field `prompt` of each line where the file ends in .jsonl. Empty lines are none."""
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
                where=f"{path}, line {number} of those that are not empty",
            )
        prompts.append(record["prompt"])
    return prompts


def _opened(checkpoint: str, device: str, dtype: str) -> tuple[Xmodel, Tokenizer]:
    model, tokenizer_file = load_checkpoint(checkpoint_folder(checkpoint), device, dtype)
    return model, Tokenizer.load(tokenizer_file)


def _said_if_full(model: Xmodel, piece: Piece, asked: int) -> None:
    if piece.finish == "length" and len(piece.tokens) < asked:
        click.echo(f"the context of {model.config.max_position_embeddings:,} tokens is full", err=True)


def _flowing(prompt: str, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Prints one prompt and its text as it comes."""
    click.echo(prompt, nl=False)
    for piece in pieces:
        click.echo(piece.text, nl=False)
        yield piece
    click.echo()


def generate(
    checkpoint: str,
    prompts: Sequence[str],
    max_new_tokens: int,
    sampling: Sampling,
    stops: Sequence[str],
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Prints each prompt with its text; one prompt's as it comes. As JSON: an object a line, in the prompts' order."""
    model, tokenizer = _opened(checkpoint, device, dtype)
    began = time.perf_counter()
    pieces = stream(model, tokenizer, prompts, max_new_tokens, sampling, stops)
    if len(prompts) == 1 and not as_json:
        pieces = _flowing(prompts[0], pieces)
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
        _said_if_full(model, piece, max_new_tokens)


def _messages() -> Iterator[str]:
    """What a person types, or the lines of a pipe; ends at Ctrl-D or the pipe's end."""
    if not sys.stdin.isatty():
        yield from (line.rstrip("\r\n") for line in sys.stdin)
        return
    click.echo("Ctrl-C ends an answer, Ctrl-D the conversation; /reset begins a new one.", err=True)
    while True:
        try:
            yield input("> ")
        except KeyboardInterrupt:
            click.echo(err=True)
        except EOFError:
            click.echo(err=True)
            return


def chat(checkpoint: str, max_new_tokens: int, sampling: Sampling, device: str, dtype: str) -> None:
    """A conversation: a line in, an answer out as it comes."""
    from xmodel_core.corpus.read.instructions import DIALOGUES, labelled

    model, tokenizer = _opened(checkpoint, device, dtype)
    conversation, said = Conversation(model, tokenizer), ""
    form = DIALOGUES["en"][0]
    for message in _messages():
        if not message.strip():
            continue
        if message.strip() == "/reset":
            said = ""
            continue
        if not said:  # the first message chooses the language of the labels
            form = DIALOGUES["zh" if re.search("[\u3400-\u9fff]", message) else "en"][0]
        turn = f"{labelled(form.prompt, message)}\n\n{form.answer}"
        if said and len(tokenizer.encode(f"{said}\n\n{turn}")) + 1 >= model.config.max_position_embeddings:
            click.echo("the conversation no longer fits the model's context: it begins anew", err=True)
            said = ""
        said = f"{said}\n\n{turn}" if said else turn
        answer = ""
        try:
            stops = [f"\n{form.prompt}", f"\n{form.answer}"]
            for piece in conversation.answer(said, max_new_tokens, sampling, stops):
                text = piece.text if answer else piece.text.lstrip()
                answer += text
                click.echo(text, nl=False)
                _said_if_full(model, piece, max_new_tokens)
        except KeyboardInterrupt:
            pass  # what has been said stands
        except XmodelError as error:
            click.echo(f"xmodel: {error}", err=True)
            said = ""
            continue
        click.echo()
        said = said.removesuffix(form.answer) + labelled(form.answer, answer.rstrip())
