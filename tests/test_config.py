"""Recipes: inheritance, typed overrides, and clear errors for what a person types wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.recipes import load_recipe, recipe_names
from xmodel_core.errors import XmodelError


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_ours_is_read_and_says_what_it_is(name: str) -> None:
    recipe, path = load_recipe(name)
    assert recipe.name == name == path.stem
    assert recipe.description
    assert recipe.training.sequence_length <= recipe.model.max_position_embeddings


def test_a_recipe_that_extends_another_states_only_what_differs(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: xmodel2-1.2b\nname: mine\nmodel: {num_hidden_layers: 12}\n")
    own, _ = load_recipe(str(path))
    base, _ = load_recipe("xmodel2-1.2b")
    assert own.name == "mine"
    assert own.model == base.model.model_copy(update={"num_hidden_layers": 12})
    assert own.training == base.training


def test_paths_are_relative_to_the_recipe_that_states_them(tmp_path: Path) -> None:
    write(
        tmp_path / "base",
        "extends: xmodel2-nano\nname: base\nmixture: mix.yaml\nsources: [mine.yaml, xdata]\n",
        "base.yaml",
    )
    path = write(tmp_path / "far", "extends: ../base/base.yaml\nname: far\n")
    recipe, _ = load_recipe(str(path))
    assert recipe.mixture == str(tmp_path / "base" / "mix.yaml")
    assert recipe.sources == [str(tmp_path / "base" / "mine.yaml"), "xdata"]


def test_a_circle_of_recipes_is_named(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\n", "a.yaml")
    with pytest.raises(XmodelError, match=r"a\.yaml → b\.yaml → a\.yaml"):
        load_recipe(str(write(tmp_path, "extends: a.yaml\n", "b.yaml").with_name("a.yaml")))


def test_overrides_are_typed_and_the_last_one_counts() -> None:
    changes = [
        "training.peak_lr=0.005",
        "training.warmup_steps=7",
        "training.warmup_steps=9",
        "training.precision=fp32",
    ]
    training = load_recipe("xmodel2-nano", changes)[0].training
    assert (training.peak_lr, training.warmup_steps, training.precision) == (0.005, 9, "fp32")
    assert load_recipe("xmodel2-nano", ["evaluation.suites=[chinese]"])[0].evaluation.suites == ["chinese"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.peaklr=1", ["training.peaklr", "did you mean `peak_lr`?", "--set training.peaklr=1"]),
        ("trainning.peak_lr=1", ["trainning", "did you mean `training`?"]),
        ("training.peak_lr=fast", ["training.peak_lr", "fast"]),
        ("training.peak_lr", ["--set key.inner=value"]),
        ("model.num_key_value_heads=3", ["num_attention_heads 4 must be a multiple"]),
    ],
)
def test_a_wrong_override_is_one_clear_message(override: str, words: list[str]) -> None:
    with pytest.raises(XmodelError) as error:
        load_recipe("xmodel2-nano", [override])
    for word in words:
        assert word in str(error.value)


def test_a_wrong_key_in_a_file_names_file_key_and_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: xmodel2-nano\nname: mine\ntokenizer: {vocabsize: 500}\n")
    with pytest.raises(XmodelError) as error:
        load_recipe(str(path))
    assert all(word in str(error.value) for word in (str(path), "tokenizer.vocabsize", "did you mean `vocab_size`?"))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "name: mine\nsources: [xdata]\nmixture: xdata\n")
    with pytest.raises(XmodelError, match="`tokenizer`: field required"):
        load_recipe(str(path))


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(XmodelError, match=r"did you mean xmodel2-1\.2b"):
        load_recipe("xmodel2-1.2")


def test_a_missing_file_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match=r"there is no file nothing\.yaml"):
        load_recipe(str(tmp_path / "nothing.yaml"))


def test_reading_recipes_imports_nothing_heavy() -> None:
    code = (
        "import sys; from flows.recipes import load_recipe; load_recipe('xmodel2-1.2b');"
        "heavy = 'torch ray datatrove duckdb sentencepiece prefect lm_eval pyarrow'.split();"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_tokenizer_may_extend_one_of_the_reports() -> None:
    recipe, _ = load_recipe("xmodel2-nano", ["tokenizer.extends=xmodel-lm-32k", "tokenizer.reserved_tokens=3"])
    assert (recipe.tokenizer.vocab_size, recipe.tokenizer.reserved_tokens) == (32_000, 3)
    assert recipe.tokenizer.sample_characters == 20_000_000, "what the recipe states is kept"
    assert load_recipe("xmodel2-nano")[0].tokenizer.vocab_size == 65_280
    with pytest.raises(XmodelError, match=r"(?s)no tokenizer named xmodel2-65.*did you mean xmodel2-65k"):
        load_recipe("quickstart", ["tokenizer.extends=xmodel2-65"])


def test_a_model_may_extend_one_of_the_reports() -> None:
    lm, _ = load_recipe("xmodel-lm-1.1b")
    assert (lm.model.hidden_size, lm.model.tie_word_embeddings) == (2048, False)
    own, _ = load_recipe("xmodel2-1.2b", ["model.extends=xmodel2-tiny", "model.num_key_value_heads=8"])
    assert (own.model.hidden_size, own.model.num_hidden_layers, own.model.num_key_value_heads) == (512, 18, 8)
    with pytest.raises(XmodelError, match=r"(?s)no model named xmodel2-1b.*did you mean xmodel2-1\.2b"):
        load_recipe("quickstart", ["model.extends=xmodel2-1b"])
    with pytest.raises(XmodelError, match="there is no model named"):
        load_recipe("quickstart", ["model.extends=[xmodel2-nano]"])
