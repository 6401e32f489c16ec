"""Specs that would fail later are refused when they are read: one message with the file and the key."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.recipes import load_recipe
from flows.river import preflight
from xmodel_core.errors import XmodelError
from xmodel_core.specs import Source, load_mixture, load_sources, read_yaml
from xmodel_core.specs.plain_yaml import parse_yaml

FIELDS = "lang: zh, category: web, license: none, uri: data"
RECIPE = """\
name: own
sources: [sources.yaml]
mixture: mixture.yaml
tokenizer: {vocab_size: 512}
model: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
  max_position_embeddings: 256}
training: {warmup_steps: 2, stable_steps: 6, decay_steps: 2, peak_lr: 0.01, global_batch_tokens: 512,
  sequence_length: 128, micro_batch_sequences: 4}
"""
SOURCES = f"sources:\n  - {{name: wiki, {FIELDS}}}\n  - {{name: books, {FIELDS.replace('web', 'book')}}}\n"
MIXTURE = "phases:\n  - {name: all, sources: {wiki: 1, books: 2}}\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A recipe that is read without a complaint."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text('{"id": "1", "text": "雨"}\n', encoding="utf-8")
    for name, text in {"recipe.yaml": RECIPE, "sources.yaml": SOURCES, "mixture.yaml": MIXTURE}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def check(folder: Path, *overrides: str) -> None:
    recipe, path = load_recipe(str(folder / "recipe.yaml"), overrides)
    preflight.check(recipe, path)


def test_what_is_right_is_read_without_a_complaint(own: Path) -> None:
    check(own)


def refusal(folder: Path, *overrides: str, **files: str) -> str:
    """The message with some files changed."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(XmodelError) as error:
        check(folder, *overrides)
    return str(error.value)


def source(name: str, **fields: Any) -> str:
    values = {"name": name, "lang": "zh", "category": "web", "license": "none", "uri": "data", **fields}
    return json.dumps({"sources": [values]})


@pytest.mark.parametrize(
    "name",
    [
        *("owner/name", "a:b", "a#1", "~", "~me", ".", "..", ".hidden", "a.", " a", "a ", "", "a\nb", "a\tb", "a\x7f"),
        *("a\\b", "a*", "a?", "[a]", "<a>", 'a"b', "a|b", "网" * 61, "a\u2028b"),
    ],
)
def test_a_name_that_cannot_be_a_folder_or_a_key_is_refused(own: Path, name: str) -> None:
    message = refusal(own, sources=source(name))
    assert "`sources.0.name`: " in message
    assert str(own / "sources.yaml") in message


@pytest.mark.parametrize(
    "name", ["wiki", "维基 百科", "C4-en_2.1", "-x", "_x", "a.b", "a+b", "a,b", "l'été", "語料（1）", "n" * 180, "0"]
)
def test_a_name_that_can_is_not(name: str) -> None:
    assert Source.model_validate_json(json.dumps({**json.loads(source(name))["sources"][0]})).name == name


def test_names_that_are_one_folder_on_some_disk_are_refused(own: Path) -> None:
    for one, two in (("Wiki", "wiki"), ("é", "e\u0301"), ("ﬁ", "FI"), ("straße", "STRASSE")):
        text = f"sources:\n  - {{name: {one}, {FIELDS}}}\n  - {{name: {two}, {FIELDS}}}\n"
        assert "differ only in case" in refusal(own, sources=text)


@pytest.mark.parametrize("weight", [".inf", "-.inf", ".nan", "-1", "1e400", "'much'", "[1]", "1" * 5000, "no"])
def test_a_weight_that_is_no_share_is_refused(own: Path, weight: str) -> None:
    for text in (weight, f"{{weight: {weight}}}"):
        message = refusal(own, mixture=f"phases:\n  - name: all\n    sources: {{wiki: {text}, books: 1}}\n")
        assert str(own / "mixture.yaml") in message
        assert "phases.0.sources.wiki" in message or "digits" in message


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("{wiki: 0, books: 0}", "add up to zero"),
        ("{}", "add up to zero"),
        ("{wiki: 1, zh/web: 1}", "names zh/web, and every source of it by its own name"),
        ("{wiki: 1, zh/news: 1}", "there is no such source"),
        ("{wiki: {weight: 1, min_tokens: 9000}, books: 1}", "min_tokens of phase"),
        ("{wiki: {weight: 1, min_tokens: -1}}", "phases.0.sources.wiki"),
        ("{wiki: {weight: 1, max_epochs: 0}}", "phases.0.sources.wiki"),
        ("{wiki: {weight: 1, max_epochs: .inf}}", "phases.0.sources.wiki"),
        ("{wiki: {weight: 1, min_tokens: 1e400}}", "phases.0.sources.wiki"),
        ("{wiki: {weight: 1, min_tokens: 99999999999999999999}}", "64 bits"),
    ],
)
def test_a_mixture_that_cannot_be_planned_is_refused_before_the_scan(own: Path, keys: str, expected: str) -> None:
    assert expected in refusal(own, mixture=f"phases:\n  - name: all\n    sources: {keys}\n")


def test_settings_that_do_not_fit_each_other_are_refused_when_they_are_read(own: Path) -> None:
    message = refusal(own, "training.sequence_length=512", "training.global_batch_tokens=2048")
    assert "training.sequence_length 512" in message
    assert "model.max_position_embeddings 256" in message
    assert "no source news to hold out" in refusal(own, "tokenizer.held_out_sources=[news]")
    assert "the recipe makes none" in refusal(own, sources=source("wiki", uri="raw://documents/web"))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"uri": ""}, {"uri": "a\0b"}, {"category": ""}, {"category": "a/b"}, {"text_field": ""}, {"id_field": ""}),
        *({"lang": False}, {"license": 5}, {"published_tokens": -1}, {"published_weight": 1e999}, {"uri": "\ud800"}),
    ],
)
def test_fields_that_mean_nothing_are_refused(own: Path, wrong: dict[str, Any]) -> None:
    message = refusal(own, sources=source("wiki", **wrong).replace("Infinity", ".inf"))
    assert str(own / "sources.yaml") in message


def test_a_country_is_no_false_and_a_date_no_date(tmp_path: Path) -> None:
    """Words that YAML 1.1 turns into something else stay what is written; what is a number says how to write it."""
    text = "{name: no, lang: zh, category: on, license: 2024-01-01, uri: 12:30, text_field: y, id_field: 0o7}"
    (tmp_path / "sources.yaml").write_text(f"sources: [{text}]\n")
    (read,) = load_sources(["sources.yaml"], tmp_path)
    assert (read.name, read.category, read.license, read.text_field) == ("no", "on", "2024-01-01", "y")
    assert read.uri == str(tmp_path / "12:30")
    (tmp_path / "sources.yaml").write_text("sources: [{name: 2024, lang: zh, category: web, license: x, uri: x}]\n")
    with pytest.raises(XmodelError, match='write it as text: "2024"'):
        load_sources(["sources.yaml"], tmp_path)
    (tmp_path / "mixture.yaml").write_text("phases: [{name: all, sources: {2024: 1, no: 2, null: 3}}]\n")
    assert list(load_mixture("mixture.yaml", tmp_path).phases[0].sources) == ["2024", "no", "null"]
    assert parse_yaml("[1_000, 0x1f, -1.5, 1e3, .5, true, ~, '1']") == [1000, 31, -1.5, 1000.0, 0.5, True, None, "1"]


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{two}: &{two} [{', '.join(f'*{one}' for _ in range(10))}]\n"
    for one, two in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LAUGHS, "aliases that stand for more than"),
        ("a: &a [*a]", "holds itself"),
        ("a: &a {b: *a}", "holds itself"),
        ("a: " + "[" * 60 + "]" * 60, "deep inside each other"),
        ("a: " + "[" * 20_000 + "]" * 20_000, "deep inside each other"),
        ("a: " + "{b: " * 3_000 + "1" + "}" * 3_000, "deep inside each other"),
        ("? [a, b]\n: 1", "a key that is no text"),
        ("? {a: b}\n: 1", "a key that is no text"),
        ("a:\n\t- b", "not YAML"),
        ("a: \x00", "not YAML"),
        ('a: "\\0"', "a NUL"),
        ('"\\0": a', "a NUL"),
        ("a: " + "9" * 5000, "not YAML"),
        ("a: !!timestamp 2024-99-99", "not YAML"),
        ("a: !!int x", "not YAML"),
        ("a: !!float x", "not YAML"),
        ("a: !!bool x", "not YAML"),
        ("a: !!binary '*'", "not YAML"),
        ("a: !!set {b, c}", "neither text"),
        ("a: !!omap [b: 1]", "neither text"),
        ("a: !!python/object/apply:os.system [true]", "not YAML"),
        ("a: *b", "not YAML"),
        ("--- {a: 1}\n--- {b: 1}", "not YAML"),
        ("a: 1\na: 2", "'a' is repeated on line 2"),
        ("<<: {a: 1}\n<<: {b: 1}", "is repeated"),
    ],
)
def test_yaml_that_no_spec_can_be_is_one_message(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    started = time.monotonic()
    with pytest.raises(XmodelError, match=expected) as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert time.monotonic() - started < 60


def _places(folder: Path) -> Iterator[tuple[str, str]]:
    (folder / "folder.yaml").mkdir()
    yield "folder.yaml", "not a file"
    (folder / "table.yaml").write_bytes(b"PAR1\x15\x04\x15\xff\x00" * 50)
    yield "table.yaml", "not YAML"
    with (folder / "large.yaml").open("wb") as file:
        file.truncate(64 << 20)
    yield "large.yaml", "too large to be a spec"
    os.mkfifo(folder / "pipe.yaml")
    yield "pipe.yaml", "not a file"
    (folder / "loop.yaml").symlink_to("loop.yaml")
    yield "loop.yaml", "cannot be read|no file"
    yield "n" * 300 + ".yaml", "cannot be read"
    yield "recipe.yaml/recipe.yaml", "cannot be read"
    (folder / "itself.yaml").write_text("extends: itself.yaml\n")
    yield "itself.yaml", "extends itself"
    (folder / "one.yaml").write_text("extends: two.yaml\n")
    (folder / "two.yaml").write_text("extends: ./one.yaml\n")
    yield "one.yaml", "one.yaml → two.yaml → one.yaml"
    (folder / "list.yaml").write_text("extends: [quickstart]\n")
    yield "list.yaml", "names one recipe"


def test_what_is_no_recipe_is_one_message(own: Path) -> None:
    for name, expected in _places(own):
        with pytest.raises(XmodelError, match=expected):
            load_recipe(str(own / name))
    with pytest.raises(XmodelError, match=r"did you mean .*recipe\.yaml"):
        load_recipe(str(own))
    with pytest.raises(XmodelError, match="no recipe named"):
        load_recipe("n" * 5000)


@pytest.mark.parametrize(
    "override",
    [
        *("a.b.c=1", "training=5", "training.peak_lr=.inf", "training.warmup_steps=1e400", "model.extends=[a]", "=1"),
        *("name", "training.seed=" + "9" * 5000, "training.seed=99999999999999999999", "seed=" + "[" * 20_000),
        *(".".join("a" * 3000) + "=1", 'sources=["\\0.yaml"]', "name=no/", "training.seed='99999999999999999999'"),
    ],
    ids=lambda override: override[:30],
)
def test_a_wrong_override_is_one_message(own: Path, override: str) -> None:
    with pytest.raises(XmodelError):
        check(own, override)
