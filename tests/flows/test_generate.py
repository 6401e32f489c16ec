"""`xmodel generate` and `xmodel chat` as typed: text, JSON, batches, conversations, and one message for a mistake."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.flows.checkpoints import small_model, two_languages, xmodel
from xmodel_core.model.generation.detokenize import IncrementalDetokenizer
from xmodel_core.model.weights import save_model
from xmodel_core.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(two_languages())


@pytest.fixture(scope="module")
def checkpoint(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = small_model(tokenizer.vocab_size)
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer.eos_id] = 0  # its logit is 0: no text ends by chance
    folder = tmp_path_factory.mktemp("checkpoint")
    save_model(model, folder)
    (folder / "tokenizer.model").write_bytes(tokenizer.model)
    return folder


def test_one_prompt_streams_and_json_gives_the_same_text(checkpoint: Path) -> None:
    plain = xmodel("generate", checkpoint, "--prompt", "从前")
    record = json.loads(xmodel("generate", checkpoint, "--prompt", "从前", "--json").stdout)
    assert plain.exit_code == 0, plain.output
    assert plain.stdout == f"从前{record['text']}\n"
    assert set(record) == {"prompt", "text", "tokens", "finish", "seconds"}
    assert record["finish"] == "length"
    assert len(record["tokens"]) == 64


def test_each_prompt_of_a_batch_is_as_it_is_alone(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a girl"}\n\n{"prompt": "女孩 there"}\n')
    drawn = ("--json", "--temperature", 1, "--top-k", 50, "--top-p", 0.9, "--repetition-penalty", 1.1)
    both = ("--prompt", "从前有", "--prompt-file", tmp_path / "prompts.jsonl")
    rows = [json.loads(line) for line in xmodel("generate", checkpoint, *both, *drawn, "--seed", 4).stdout.splitlines()]
    assert [row["prompt"] for row in rows] == ["从前有", "a girl", "女孩 there"]
    for number, row in enumerate(rows):
        alone = xmodel("generate", checkpoint, "--prompt", row["prompt"], *drawn, "--seed", 4 + number)
        assert json.loads(alone.stdout) | {"seconds": 0} == row | {"seconds": 0}
    text = xmodel("generate", checkpoint, *both, "--max-new-tokens", 5).stdout
    assert text.startswith("从前有")
    assert "\n\na girl" in text


def test_stop_strings_end_a_text(checkpoint: Path) -> None:
    full_text = json.loads(xmodel("generate", checkpoint, "--prompt", "从前", "--json").stdout)["text"]
    stop = full_text[10:13]
    record = json.loads(xmodel("generate", checkpoint, "--prompt", "从前", "--stop", stop, "--json").stdout)
    assert (record["text"], record["finish"]) == (full_text[: full_text.index(stop)], "stop")


def test_a_full_context_is_reported(checkpoint: Path) -> None:
    full = xmodel("generate", checkpoint, "--prompt", "从前", "--max-new-tokens", 500)
    assert full.exit_code == 0
    assert full.stderr == "the context of 96 tokens is full\n"


def test_a_conversation_reads_a_pipe(checkpoint: Path) -> None:
    once = xmodel("chat", checkpoint, "--max-new-tokens", 8, typed="Hello\n/reset\nHello\n")
    assert once.exit_code == 0, once.output
    first, second = once.stdout[: len(once.stdout) // 2], once.stdout[len(once.stdout) // 2 :]
    assert first == second, "after /reset the same message gets the same answer"
    # The first answer continues the text that instruction data is phrased as.
    alone = json.loads(
        xmodel("generate", checkpoint, "--json", "--max-new-tokens", 8, "--prompt", "User: Hello\n\nAssistant:").stdout
    )
    assert first == f"{alone['text'].lstrip()}\n"
    long = xmodel("chat", checkpoint, "--max-new-tokens", 8, typed=("Hello " * 4 + "\n") * 6)
    assert "the conversation no longer fits the model's context: starting a new one" in long.stderr
    much = xmodel("chat", checkpoint, "--max-new-tokens", 8, typed="Hello " * 200 + "\nHello\n")
    assert "a prompt of the wrong length" in much.stderr
    assert much.stdout == first


@pytest.mark.slow
def test_a_person_ends_answers_and_the_conversation(checkpoint: Path, tmp_path: Path) -> None:
    patient = tmp_path / "patient"  # its answers do not end by themselves
    shutil.copytree(checkpoint, patient)
    config = json.loads((patient / "config.json").read_text())
    (patient / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 100_000}))
    keyboard, terminal = pty.openpty()
    words = [sys.executable, "-m", "flows.cli", "chat", str(patient), "--max-new-tokens", "90000"]

    def hear_interrupts() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell lets what it runs in the background ignore them

    with subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=hear_interrupts) as chat:
        os.close(terminal)
        seen = b""

        def read_until(wanted: Callable[[bytes], bool]) -> None:
            nonlocal seen
            while not wanted(seen):
                assert select.select([keyboard], [], [], 120)[0], chat.kill() or seen[-300:]
                seen += os.read(keyboard, 4096)
                assert len(seen) < 500_000, chat.kill() or seen[-300:]

        for _ in range(2):
            read_until(lambda text: text.endswith(b"> "))
            asked = len(seen)
            os.write(keyboard, b"Hello\n")
            read_until(lambda text, asked=asked: len(text) > asked + 60)  # the answer is on its way
            chat.send_signal(signal.SIGINT)
        read_until(lambda text: text.endswith(b"> "))
        asked = len(seen)
        # Outside an answer it prompts again. A signal between the prompt and the reading waits for a key: send another.
        while not select.select([keyboard], [], [], 1)[0]:
            chat.send_signal(signal.SIGINT)
        read_until(lambda text: len(text) > asked and text.endswith(b"> "))
        os.write(keyboard, b"\x04")
        assert chat.wait(120) == 0, seen
    os.close(keyboard)
    assert b"Traceback" not in seen


@pytest.mark.parametrize(
    "words, code, message",
    [
        ((), 2, "a --prompt is needed"),
        (("--prompt", "x", "--temperature", -1), 2, "-1.0 is not in the range x>=0"),
        (("--prompt", "x", "--temperature", 1, "--top-p", 0), 2, "0.0 is not in the range 0<x<=1"),
        (("--prompt", "x", "--top-k", 5), 2, "need a --temperature above 0"),
        (("--prompt", "x", "--device", "abacus"), 1, "this device cannot be used"),
        (("--prompt", "x", "--device", "cuda:99"), 1, "this device cannot be used"),
        (("--prompt", "x" * 200), 1, "a prompt of the wrong length"),
        (("--prompt-file", "nowhere.txt"), 1, "prompts cannot be read"),
    ],
)
def test_a_mistake_is_one_message(checkpoint: Path, words: tuple[object, ...], code: int, message: str) -> None:
    done = xmodel("generate", checkpoint, *words)
    assert done.exit_code == code
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_line_without_a_prompt_is_named(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n{"text": "b"}\n')
    assert "line 2" in xmodel("generate", checkpoint, "--prompt-file", tmp_path / "prompts.jsonl").output


@given(st.text("Oncea girl从前龘😀\n ", max_size=12), st.text("Oncea girl从前龘😀\n ", max_size=30))
def test_pieces_add_up_to_the_decoded_text(tokenizer: Tokenizer, prompt: str, text: str) -> None:
    before, new = tokenizer.encode(prompt), tokenizer.encode(text)
    grown = IncrementalDetokenizer(tokenizer, [tokenizer.eos_id, *before])
    streamed = "".join(grown.add(token) for token in new) + grown.flush()
    assert tokenizer.decode([tokenizer.eos_id, *before]) + streamed == tokenizer.decode(
        [tokenizer.eos_id, *before, *new]
    )
