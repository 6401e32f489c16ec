"""`xmodel init`: inspects files and writes specs that load, that are true, and that a run can use."""

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from flows.commands.init_specs import write_specs
from flows.recipes import load_recipe
from xmodel_core.artifacts import file_digest
from xmodel_core.errors import XmodelError
from xmodel_core.mixture.plan import Supply, make_plan
from xmodel_core.planning.inspect_files import inspect_paths
from xmodel_core.planning.supply import estimate_sources
from xmodel_core.specs import Mixture, Source, load_mixture, load_sources, resolve

EN = "The ferry leaves the small harbour at seven and returns when the fog has lifted from the water. "
ZH = "清晨的渡船七点离开小港，等到江面上的雾气散去以后才会回来，岸边的人们慢慢走向集市。"
CODE = 'def add_numbers(first, second):\n    """Add."""\n    total = first + second\n    return total\n\n\n'


def documents(text: str, count: int = 30) -> list[dict[str, object]]:
    rng = random.Random(text)
    return [{"id": f"d{i}", "text": f"{i}\n" + text * rng.randint(3, 9)} for i in range(count)]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)
        path.write_bytes(pack(data))
    return path


def made(paths: list[Path], into: Path) -> dict[str, Source]:
    write_specs(paths, "mine", into)
    return {source.name: source for source in load_sources(["sources.yaml"], into / "mine")}


def test_one_source_per_leaf_folder_named_after_it_in_every_format(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "zh" / "wiki" / "part-0.jsonl.gz", documents(ZH))
    write(data / "zh" / "wiki" / "part-1.jsonl.gz", documents(ZH, 3))
    write(data / "en_news" / "a.parquet", documents(EN))
    write(data / "tools" / "x.jsonl.zst", documents(CODE))
    sources = made([data], tmp_path)
    assert set(sources) == {"wiki", "en_news", "tools"}
    assert {s.name: (s.lang, s.category, s.format, s.policy) for s in sources.values()} == {
        "wiki": ("zh", "encyclopedia", "jsonl", "prose"),
        "en_news": ("en", "news", "parquet", "prose"),
        "tools": ("code", "code", "jsonl", "code"),
    }
    assert [len(resolve(source, file_digest).files) for source in sources.values()] == [1, 1, 2]


def test_what_is_written_loads_and_stays_right_when_both_folders_move_together(tmp_path: Path) -> None:
    write(tmp_path / "here" / "data" / "web" / "a.jsonl", documents(EN))
    written = write_specs([tmp_path / "here" / "data"], "mine", tmp_path / "here")
    assert [path.name for path in written] == ["recipe.yaml", "sources.yaml", "mixture.yaml"]
    (tmp_path / "here").rename(tmp_path / "there")
    recipe, path = load_recipe(str(tmp_path / "there" / "mine" / "recipe.yaml"))
    assert recipe.name == "mine"
    (source,) = load_sources(recipe.sources, path.parent)
    assert resolve(source, file_digest).files[0].name == "a.jsonl"
    mixture = load_mixture(recipe.mixture, path.parent)
    supplies = [Supply("web", "en", "web", None)]
    training = recipe.training
    planned = make_plan(mixture, training.phases(), supplies)
    assert sum(phase.steps for phase in planned) == training.total_steps


def test_files_named_by_themselves_and_differing_files_of_one_folder_are_a_source_each(tmp_path: Path) -> None:
    a = write(tmp_path / "data" / "chinese.jsonl", documents(ZH))
    write(tmp_path / "data" / "english.jsonl", documents(EN))
    assert {s.name: s.lang for s in made([tmp_path / "data"], tmp_path / "one").values()} == {
        "chinese": "zh",
        "english": "en",
    }
    assert set(made([a], tmp_path / "two")) == {"chinese"}


def test_parts_of_one_folder_are_one_source(tmp_path: Path) -> None:
    for part in range(3):
        write(tmp_path / "stories" / f"part-{part:05}-of-00003.jsonl", documents(EN))
    assert set(made([tmp_path / "stories"], tmp_path)) == {"stories"}


def test_names_are_made_safe_and_unique_and_survive_yaml(tmp_path: Path) -> None:
    for folder in ("2024", "a/web", "b/web", "yes", "with space: and #hash", "中文"):
        write(tmp_path / "data" / folder / "x.jsonl", documents(EN))
    sources = made([tmp_path / "data"], tmp_path)
    assert set(sources) == {"2024", "web", "b_web", "yes", "with_space_and_hash", "中文"}
    assert resolve(sources["with_space_and_hash"], file_digest).files


def test_text_and_id_fields_are_found_by_looking(tmp_path: Path) -> None:
    rows = [{"title": f"t{i % 3}", "body": EN * 5, "doc_id": i, "id": "same"} for i in range(20)]
    source = made([write(tmp_path / "odd.jsonl", rows)], tmp_path)["odd"]
    assert (source.text_field, source.id_field) == ("body", "doc_id")
    rows = [{"text": EN * 5, "id": 7, "raw_html": EN * 50} for _ in range(20)]
    source = made([write(tmp_path / "repeats.jsonl", rows)], tmp_path / "second")["repeats"]
    assert (source.text_field, source.id_field) == ("text", None)


def test_a_mixed_source_is_multi_unless_its_records_say_what_it_is(tmp_path: Path) -> None:
    rows = documents(ZH, 20) + documents(EN, 20)
    assert made([write(tmp_path / "pages.jsonl", rows)], tmp_path)["pages"].lang == "multi"
    labelled = [{**row, "lang": "zh"} for row in rows]
    assert made([write(tmp_path / "labelled.jsonl", labelled)], tmp_path / "second")["labelled"].lang == "zh"
    assert "mixed: 50% " in (tmp_path / "second" / "mine" / "sources.yaml").read_text(encoding="utf-8")


def test_what_cannot_be_used_is_named_and_the_rest_is_written(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "good" / "a.jsonl", documents(EN))
    write(data / "chat" / "a.jsonl", [{"instruction": EN, "output": 7}] * 5)
    write(data / "numbers" / "a.jsonl", [{"value": 3}] * 5)
    (data / "broken").mkdir()
    (data / "broken" / "a.jsonl").write_bytes(b"\xff\xfe not json\n[1, 2]\n")
    (data / "broken" / "b.parquet").write_bytes(b"PAR1 not parquet")
    (data / "good" / "readme.txt").write_text("hello", encoding="utf-8")
    assert set(made([data], tmp_path)) == {"good"}
    spec = (tmp_path / "mine" / "sources.yaml").read_text(encoding="utf-8")
    for reason in (
        "chat: no record is instruction data of the alpaca form: 'output' is int, not text",
        "numbers: no field holds text",
        "broken: no record could be read",
        "1 files ending in .txt",
    ):
        assert reason in spec


def test_instruction_data_is_recognised_and_written_as_what_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "alpaca" / "a.jsonl", [{"instruction": f"讲一讲{n}。", "input": "", "output": ZH} for n in range(20)])
    write(data / "qa" / "a.parquet", [{"question": f"What {n}?", "answer": EN} for n in range(20)])
    turns = [{"from": "human", "value": "Tell me."}, {"from": "gpt", "value": EN}]
    write(data / "share" / "a.jsonl", [{"id": n, "conversations": turns, "tools": "[]"} for n in range(20)])
    messages = [{"role": "user", "content": "说吧。"}, {"role": "assistant", "content": ZH}]
    write(data / "messages" / "a.parquet", [{"messages": messages} for _ in range(20)])
    write(data / "lesson" / "a.jsonl", [{"text": EN * 3, "question": "Why?", "answer": "So."} for _ in range(20)])
    recognised = {s.name: (s.records, s.text_field, s.lang, s.category) for s in made([data], tmp_path).values()}
    assert recognised == {
        "alpaca": ("alpaca", "output", "zh", "sft"),
        "qa": ("alpaca", "answer", "en", "sft"),
        "share": ("sharegpt", "conversations", "en", "sft"),
        "messages": ("sharegpt", "messages", "zh", "sft"),
        "lesson": ("text", "text", "en", "web"),
    }
    recipe, path = load_recipe(str(tmp_path / "mine" / "recipe.yaml"))
    source = next(s for s in load_sources(recipe.sources, path.parent) if s.name == "qa")
    (estimate,) = estimate_sources(recipe, [source], None, None, {})
    assert estimate.chars == pytest.approx(20 * (len(EN) + 12), rel=0.3)


def test_a_broken_gzip_tail_costs_only_the_tail(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.jsonl.gz", documents(EN, 400))
    path.write_bytes(path.read_bytes()[:-60])
    (profile,), left_out = inspect_paths([path])
    assert profile.lang == "en"
    assert profile.documents > 200
    assert left_out == []


def test_sizes_are_extrapolated_from_what_was_looked_at(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows: list[dict[str, object]] = [
        {"text": " ".join(f"word{rng.random()}" for _ in range(rng.randint(5, 40)))} for _ in range(6_000)
    ]
    for name in ("a.jsonl", "b.jsonl.gz", "c.parquet"):
        (profile,), _ = inspect_paths([write(tmp_path / name, rows)])
        assert profile.documents == pytest.approx(6_000, rel=0.1), name
        assert profile.chars == pytest.approx(sum(len(str(row["text"])) for row in rows), rel=0.15), name


def test_an_existing_name_is_never_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", documents(EN))
    write_specs([path], "mine", tmp_path)
    before = (tmp_path / "mine" / "recipe.yaml").read_bytes()
    with pytest.raises(XmodelError, match="already"):
        write_specs([path], "mine", tmp_path)
    assert (tmp_path / "mine" / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize("name", ["", "a/b", "../up", "-x", "名"])
def test_a_name_that_no_folder_or_recipe_may_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(XmodelError, match="name"):
        write_specs([write(tmp_path / "a.jsonl", documents(EN))], name, tmp_path)


def test_a_missing_path_an_empty_folder_and_nothing_readable_are_one_message_each(tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="no such path"):
        write_specs([tmp_path / "nowhere"], "mine", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(XmodelError, match="no documents under empty"):
        write_specs([tmp_path / "empty"], "mine", tmp_path)
    write(tmp_path / "empty" / "a.jsonl", [])
    with pytest.raises(XmodelError, match="nothing here can be read"):
        write_specs([tmp_path / "empty"], "mine", tmp_path)
    assert not (tmp_path / "mine").exists()


def shares(mixture: Mixture) -> dict[str, float]:
    return {name: share.weight for name, share in mixture.phases[0].sources.items()}


def test_languages_are_balanced_and_sources_of_one_keep_their_natural_shares(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "en_big" / "a.jsonl", documents(EN, 900))
    write(data / "en_small" / "a.jsonl", documents(EN, 300))
    write(data / "zh" / "a.jsonl", documents(ZH, 900))
    write(data / "code" / "a.jsonl", documents(CODE, 900))
    made([data], tmp_path)
    weights = shares(load_mixture("mixture.yaml", tmp_path / "mine"))
    assert weights["zh"] == pytest.approx(45, abs=0.1)
    assert weights["en_big"] + weights["en_small"] == pytest.approx(45, abs=0.1)
    assert weights["en_big"] / weights["en_small"] == pytest.approx(3, rel=0.1)
    assert weights["code"] == pytest.approx(10, abs=0.1)


def test_a_small_language_gives_what_four_epochs_of_it_hold(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "en" / "a.jsonl", documents(EN, 12_000))
    write(data / "zh" / "a.jsonl", documents(ZH, 30))
    made([data], tmp_path)
    weights = shares(load_mixture("mixture.yaml", tmp_path / "mine"))
    assert 0 < weights["zh"] < 5
    assert sum(weights.values()) == pytest.approx(100, abs=0.1)


@pytest.mark.shared_data
@pytest.mark.slow
def test_the_language_of_every_real_source_comes_out_as_its_name_says(shared_data: Path) -> None:
    profiles, left_out = inspect_paths([shared_data / "corpora"])
    assert left_out == []
    assert len(profiles) == 43
    by_prefix = {"zh": "zh", "en": "en", "code": "code", "math": "en"}
    assert {s.name: s.lang for s in profiles} == {s.name: by_prefix[s.name.split("_")[0]] for s in profiles}
    assert {(s.text_field, s.id_field) for s in profiles} == {("text", "id")}
