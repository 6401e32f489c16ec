"""The documents: the same bytes every time, the truth about each, and nothing that the tasks ask."""

import ast
import gzip
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.parquet as pq
import pytest

from xmodel_core.artifacts import Artifact, Store, file_digest
from xmodel_core.sample_world import stage
from xmodel_core.sample_world.config import SampleWorldConfig
from xmodel_core.sample_world.planting import NEAR, ngrams, similarity
from xmodel_core.specs import load_mixture, load_sources, resolve
from xmodel_core.specs.benchmarks import load_suites

SMALL = SampleWorldConfig(documents=540, planted_share=0.3, documents_per_file=100)
Documents = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return stage.run(SMALL, Store(tmp_path_factory.mktemp("world")))


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in gzip.open(path, "rt", encoding="utf-8")]


def read_world(world: Artifact) -> Documents:
    """Documents by (source, id), in order, joined with their truth under "truth"."""
    documents: Documents = {}
    for folder in sorted((world.path / "documents").iterdir()):
        for file in sorted(folder.iterdir()):
            for record in read(file):
                documents[folder.name, record["id"]] = record
    with (world.path / "truth.jsonl").open(encoding="utf-8") as stream:
        for line in stream:
            truth = json.loads(line)
            documents[truth["source"], truth["id"]]["truth"] = truth
    return documents


@pytest.fixture(scope="module")
def documents(world: Artifact) -> Documents:
    return read_world(world)


def texts(documents: Documents, planted: str) -> list[str]:
    return [record["text"] for record in documents.values() if record["truth"]["planted"] == planted]


def bytes_of(artifact: Artifact) -> dict[str, str]:
    files = [*artifact.path.glob("documents/**/*.*"), *artifact.path.glob("benchmarks/**/*.*")]
    files.append(artifact.path / "truth.jsonl")
    return {path.relative_to(artifact.path).as_posix(): file_digest(path) for path in files}


def test_two_builds_give_the_same_bytes_and_a_third_builds_nothing(world: Artifact, tmp_path: Path) -> None:
    store = Store(tmp_path)
    again = stage.run(SMALL, store)
    assert bytes_of(again) == bytes_of(world)
    assert again.fingerprint == world.fingerprint
    before = {path: path.stat().st_mtime_ns for path in again.path.rglob("*")}
    assert stage.run(SMALL, store) == again
    assert {path: path.stat().st_mtime_ns for path in again.path.rglob("*")} == before


def test_a_killed_build_continues_and_ends_in_the_same_bytes(world: Artifact, tmp_path: Path) -> None:
    store = Store(tmp_path)
    world = stage.run(SMALL, store)
    (world.path / "manifest.json").unlink()
    (world.path / "receipts" / "en_web.json").unlink()
    (world.path / "documents" / "en_web" / "part-00000.jsonl.gz").unlink()
    kept = world.path / "documents" / "zh_web" / "part-00000.jsonl.gz"
    before = kept.stat().st_mtime_ns
    assert bytes_of(stage.run(SMALL, store)) == bytes_of(world)
    assert kept.stat().st_mtime_ns == before, "a finished shard was written again"


def test_another_seed_is_another_world(world: Artifact, tmp_path: Path) -> None:
    other = stage.run(SMALL.model_copy(update={"seed": 2}), Store(tmp_path))
    assert other.fingerprint != world.fingerprint
    assert not set(bytes_of(other).values()) & set(bytes_of(world).values())


def test_the_truth_speaks_of_every_document_once(world: Artifact, documents: Documents) -> None:
    assert all("truth" in record for record in documents.values())
    planted = Counter(record["truth"]["planted"] for record in documents.values())
    assert planted == world.manifest()["facts"]["documents"]
    assert planted["clean"] == SMALL.documents
    assert sum(planted.values()) == pytest.approx(SMALL.documents * (1 + SMALL.planted_share), abs=4)
    assert min(planted.values()) >= 10
    assert len((world.path / "truth.jsonl").read_text(encoding="utf-8").splitlines()) == len(documents)
    for (source, name), record in documents.items():
        assert name.startswith(source)
        assert record["url"].startswith("https://") and record["meta"]["month"].startswith("2025-")


def test_copies_stand_after_their_originals(documents: Documents) -> None:
    order = {key: place for place, key in enumerate(documents)}
    sources = list(stage.SHARES)
    seen = Counter()
    for key, record in documents.items():
        truth = record["truth"]
        if truth["planted"] not in ("exact_copy", "near_copy"):
            assert truth["of"] is None
            continue
        original = documents[tuple(truth["of"])]
        assert original["truth"]["planted"] == "clean"
        if truth["kind"] == "same_source":
            assert key[0] == truth["of"][0] and order[key] > order[tuple(truth["of"])]
        else:
            assert sources.index(key[0]) > sources.index(truth["of"][0])
        if truth["planted"] == "exact_copy":
            assert record["text"] == original["text"]
        else:
            left = similarity(original["text"], record["text"], truth["lang"])
            assert NEAR[0] <= left < 1 and left == pytest.approx(truth["details"]["jaccard"], abs=1e-4)
        seen[truth["planted"], truth["kind"]] += 1
    assert len(seen) == 4, "copies in the same source and across sources"


def nearest_pair(documents: Documents) -> tuple[float, str]:
    """The highest 5-gram Jaccard similarity between two documents that are no copies, by counting shared n-grams."""
    kept = [r for r in documents.values() if r["truth"]["planted"] in ("clean", "personal_data", "benchmark")]
    grams = [ngrams(record["text"], record["truth"]["lang"]) for record in kept]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    best = (0.0, "")
    for number, own in enumerate(grams):
        shared: Counter[int] = Counter()
        for gram in own:
            # A 5-gram of many documents is a phrase of the grammar; the highest counts come from rarer ones too.
            shared.update(holders[gram])
            holders[gram].append(number)
        for other, count in shared.most_common(3):
            left = count / (len(own) + len(grams[other]) - count)
            best = max(best, (left, f"{kept[other]['text']}\n=====\n{kept[number]['text']}"))
    return best


def test_clean_documents_are_far_from_each_other(documents: Documents) -> None:
    left, pair = nearest_pair(documents)
    assert left < 0.5, pair


def test_no_document_holds_a_question_but_the_planted_riddles(world: Artifact, documents: Documents) -> None:
    everything = "\n".join(record["text"] for record in documents.values())
    assert "至于" not in everything and "As for" not in everything
    for path in world.path.glob("benchmarks/*/test.jsonl"):
        items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if "riddles" not in path.parent.name:
            assert not any(item["context"] in everything for item in items), path.parent.name
            continue
        for item in items:
            solved = item["context"] + item["choices"][item["label"]]
            holding = {key for key, record in documents.items() if solved in record["text"]}
            recorded = {
                key for key, record in documents.items() if item["id"] in record["truth"]["details"].get("items", ())
            }
            assert holding == recorded
        assert 0 < sum(item["context"] in everything for item in items) <= len(items) / 2


def test_personal_data_stands_in_the_text_as_the_truth_says(documents: Documents) -> None:
    kinds = Counter()
    for record in documents.values():
        if record["truth"]["planted"] == "personal_data":
            details = record["truth"]["details"]
            assert all(text in record["text"] for _, text in details["personal"] + details["look_alikes"])
            kinds.update(kind for kind, _ in details["personal"])
    assert set(kinds) == {"email", "mobile", "id_number", "ip", "bank_card"}


def test_wrong_languages_are_not_the_declared_one(documents: Documents) -> None:
    counted = Counter()
    scripts = {"ru": "\u0430", "ja": "の", "ko": "다", "de": " der ", "fr": " la ", "en": " the ", "zh": "的"}
    for (source, _), record in documents.items():
        truth = record["truth"]
        if truth["planted"] == "wrong_language":
            assert source.startswith(truth["details"]["declared"]) and truth["lang"] != truth["details"]["declared"]
            assert scripts[truth["lang"]] in record["text"]
            counted[truth["lang"]] += 1
    assert set(counted) == set(scripts)


def test_programs_are_valid_python(documents: Documents) -> None:
    programs = [record["text"] for (source, _), record in documents.items() if source == "code_programs"]
    assert len(programs) > 20
    for program in programs:
        ast.parse(program)


def test_sums_are_right(documents: Documents) -> None:
    sums = 0
    for (source, _), record in documents.items():
        if source == "arithmetic" and record["truth"]["planted"] == "clean":
            for a, sign, b, c in re.findall(r"(\d+) ?([-+×÷]) ?(\d+) ?= ?(\d+)", record["text"]):
                left, right = int(a), int(b)
                assert {"+": left + right, "-": left - right, "×": left * right, "÷": left / right}[sign] == int(c)
                sums += 1
    assert sums > 200


def test_the_specs_fit_the_world(world: Artifact) -> None:
    sources = load_sources(["sample_world"], Path())
    assert [source.name for source in sources] == list(stage.SHARES)
    for source in sources:
        files = resolve(source, file_digest, world).files
        on_disk = sorted(path.name for path in (world.path / "documents" / source.name).iterdir())
        assert [Path(file.name).name for file in files] == on_disk
        assert source.license == "CC0-1.0"
    for phase in load_mixture("quickstart", Path()).phases:
        assert set(phase.sources) == {source.name for source in sources}
    (suite,) = load_suites(["quickstart"], Path())
    asked = {task.task: task for task in suite.tasks}
    assert {path.name for path in (world.path / "benchmarks").iterdir()} == set(asked)
    for task in asked.values():
        folder = task.folder(None, world.path)
        assert folder is not None
        item = json.loads((folder / f"{task.split}.jsonl").read_text(encoding="utf-8").splitlines()[0])
        choices = ast.literal_eval(jinja2.Template(task.choices).render(**item))
        # What the model reads is the context and the choice as the data joins them, with one space or none.
        for rendered, choice in zip(choices, item["choices"], strict=True):
            assert jinja2.Template(task.context).render(**item) + task.delimiter + rendered == item["context"] + choice
    assert {gate.task: gate.above_task for gate in suite.gates} == {
        "world_cloze_zh": "world_wrong_name_zh",
        "world_cloze_en": "world_wrong_name_en",
    }


@pytest.mark.slow
def test_clean_documents_are_far_from_each_other_at_full_size(tmp_path: Path) -> None:
    left, pair = nearest_pair(read_world(stage.run(SampleWorldConfig(), Store(tmp_path))))
    assert left < 0.6, pair
