"""Recipes, sources, mixtures and suites with things changed at random: read, or refused in one message; soon."""

import copy
import random
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.commands.sources_check import check as check_sources
from flows.recipes import PACKAGED, load_recipe
from flows.river import preflight
from xmodel_core.errors import XmodelError
from xmodel_core.specs import load_mixture, load_sources
from xmodel_core.specs.benchmarks import load_suites
from xmodel_core.specs.sources import DATASETS_SPEC

ODD: list[Any] = [
    *("", " ", ".", "a/b", "~", "no", "null", "0", "-1", "1e400", ".inf", "网", "\u202e", "a" * 400, "{{x}}", "*"),
    *(None, True, False, 0, -1, 1 << 62, 1 << 70, 1e300, float("inf"), float("nan"), [], {}, [[]], [None]),
    *({"": 1}, {"a/b": 2}, {"a": {"b": 1}}, ["x"] * 300, 0.5, "raw://x", "s3://", "hf://", "file:///etc"),
    *("quickstart", "recipe.yaml"),
]
NOBODY = "http://127.0.0.1:9"  # no publisher is asked
SCRAPS = [
    "\t",
    "\n",
    ":",
    "- ",
    "? ",
    "&a ",
    "*a",
    "!!set ",
    "!x ",
    "|\n",
    ">\n",
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    "#",
    "%",
    "@",
]
SCRAPS += [
    "---\n",
    "...\n",
    "<<: ",
    "\0",
    "\ufeff",
    "\u2028",
    "\\",
    "no",
    "1e999",
    "0x",
    "2024-99-99",
    "[" * 80,
    "\x85",
    ",",
]
RECIPE = (PACKAGED.folder / "quickstart.yaml").read_text(encoding="utf-8")
for other, own in (("[sample_world]", "[sources.yaml]"), ("mixture: quickstart", "mixture: mixture.yaml")):
    assert other in RECIPE
    RECIPE = RECIPE.replace(other, own)
FILES = {
    "recipe": RECIPE.replace("suites: [quickstart]", "suites: [suite.yaml]"),
    "sources": (DATASETS_SPEC / "sources" / "sample_world.yaml").read_text(encoding="utf-8"),
    "mixture": (DATASETS_SPEC / "mixtures" / "quickstart.yaml").read_text(encoding="utf-8"),
    "suite": (DATASETS_SPEC / "benchmarks" / "quickstart.yaml").read_text(encoding="utf-8"),
}


def changed_text(rng: random.Random, text: str) -> bytes:
    """A piece repeated, removed, moved or written over, or bytes of something else."""
    for _ in range(rng.randrange(1, 4)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 1, 3, 20, 200]))
        piece = rng.choice([*SCRAPS, text[start:end] * 2, text[rng.randrange(len(text) + 1) :][:40]])
        text = (text[:start] + piece + text[end:]) or "x"
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if rng.random() < 0.3:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def changed_values(rng: random.Random, text: str) -> bytes:
    """One to three values changed for odd ones, removed, renamed or repeated."""
    data: Any = yaml.safe_load(text)
    for _ in range(rng.randrange(1, 4)):
        inner = data
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(inner[key], dict | list) and inner[key] and rng.random() < 0.75:
                inner = inner[key]
                continue
            change = rng.random()
            if change < 0.6:
                inner[key] = copy.deepcopy(rng.choice(ODD))
            elif change < 0.75:
                del inner[key]
            elif isinstance(inner, list):
                inner.append(copy.deepcopy(inner[key]))
            else:
                inner[str(rng.choice(ODD))] = inner.pop(key)
            break
    return yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")


def read_everything(folder: Path) -> list[str]:
    """Reads the four files in each way that commands do; the messages of what was refused."""
    refused = []

    def recipe() -> None:
        values, path = load_recipe(str(folder / "recipe.yaml"))
        preflight.check(values, path)

    ways = {
        "recipe": recipe,
        "sources": lambda: load_sources(["sources.yaml"], folder),
        "mixture": lambda: load_mixture("mixture.yaml", folder),
        "suite": lambda: load_suites(["suite.yaml"], folder),
        "check": lambda: check_sources(str(folder / "recipe.yaml"), NOBODY, NOBODY),
    }
    for read in ways.values():
        try:
            read()
        except XmodelError as error:
            refused.append(str(error))
    return refused


def fuzz(folder: Path, seeds: range) -> None:
    refused = 0
    for seed in seeds:
        rng = random.Random(seed)
        wrong = rng.choice(list(FILES))
        for name, text in FILES.items():
            change = rng.choice([changed_text, changed_values])
            data = change(rng, text) if name == wrong else text.encode()
            (folder / f"{name}.yaml").write_bytes(data)
        started = time.monotonic()
        try:
            messages = read_everything(folder)
        except BaseException as error:
            pytest.fail(f"seed {seed}, {wrong}: {error!r}\n{(folder / f'{wrong}.yaml').read_bytes()[:3000]!r}")
        assert time.monotonic() - started < 60, seed
        assert all(len(message) < 20_000 for message in messages)
        refused += bool(messages)
    assert refused > len(seeds) / 5


def test_a_sample_of_broken_specs_is_read_or_refused(tmp_path: Path) -> None:
    fuzz(tmp_path, range(24))


@pytest.mark.exhaustive
def test_broken_specs_are_read_or_refused(tmp_path: Path) -> None:
    fuzz(tmp_path, range(24, 624))
