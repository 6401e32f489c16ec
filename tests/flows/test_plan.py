"""`xmodel plan`: offline, without data, with the reports' figures; what is reused and why; what is assumed."""

import json
import os
import random
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from flows.commands.init_specs import write_specs
from flows.commands.plan import plan, print_plan
from flows.recipes import load_recipe
from flows.river import stages
from xmodel_core.artifacts import Store, digests
from xmodel_core.cluster import open_cluster
from xmodel_core.errors import XmodelError
from xmodel_core.planning import duration
from xmodel_core.specs import load_mixture, load_sources, resolve

# Parts of sentences: drawn by chance they give documents that no rule drops and none is a copy of.
PARTS = {
    "english": (
        ["The ferry", "My aunt", "A tired painter", "The old teacher", "That grey cat", "Our neighbour", "The baker"],
        [" waits near", " walks slowly to", " often thinks of", " has never seen", " came back from", " was afraid of"],
        [" the harbour", " a house on the hill", " the market square", " the frozen river", " that small garden"],
        [" in the morning.", " when it rains.", " and says nothing.", " with a heavy bag.", " before the war."],
    ),
    "chinese": (
        ["渡船上的老人", "我的姑妈", "一位疲倦的画家", "村里的老师", "那只灰猫", "隔壁的邻居", "卖面包的人"],
        ["在早晨", "在下雨的时候", "常常一个人", "很久以前", "带着沉重的口袋", "一句话也没有说就"],
        ["慢慢走向", "回到了", "想起了", "离开了", "看见了", "绕过了"],
        ["江边的小港。", "山坡上的房子。", "热闹的集市。", "结冰的河流。", "那个小小的花园。"],
    ),
}


def documents(name: str) -> list[dict[str, object]]:
    rng = random.Random(name)
    return [{"id": i, "text": "".join("".join(map(rng.choice, PARTS[name])) for _ in range(12))} for i in range(80)]


def planned(name: str, workspace: Path, *overrides: str) -> dict[str, Any]:
    recipe, path = load_recipe(name, overrides)
    return plan(recipe, path, workspace)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a plan asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("recipe", "parameters", "tokens"),
    [
        ("xmodel-lm-1.1b", 1_188_136_960, 2_064_384_000_000),
        ("xmodel2-1.2b", 1_251_755_520, 1_631_846_400_000),
        ("xmodel2-nano", 21_958_912, 433_766_400),
    ],
)
def test_the_published_recipes_have_the_reports_figures(
    tmp_path: Path, recipe: str, parameters: int, tokens: int
) -> None:
    plan = planned(recipe, tmp_path / "none")
    assert plan["parameters"] == parameters
    assert plan["tokens"] == tokens == sum(phase["tokens"] for phase in plan["details"]["phases"])
    assert all(plan[key] > 0 for key in ("documents", "flops", "hours"))
    assert json.loads(json.dumps(plan)) == plan
    assert not (tmp_path / "none").exists()


def test_xmodel_2_doubles_its_batch_and_keeps_its_mixture(tmp_path: Path) -> None:
    phases = planned("xmodel2-1.2b", tmp_path)["details"]["phases"]
    assert [(phase["phase"], phase["steps"], phase["global_batch_tokens"]) for phase in phases] == [
        ("stable", 270_000, 1_966_080),
        ("stable_2", 260_000, 3_932_160),
        ("decay", 20_000, 3_932_160),
    ]
    weights = [{row["source"]: row["weight"] for row in phase["sources"]} for phase in phases]
    assert weights[0] == weights[1] != weights[2]


def test_flops_are_six_per_parameter_and_the_attention(tmp_path: Path) -> None:
    """Xmodel-2: 6 x 1,251,755,520 + 12 x 48 layers x 24 heads x 64 x 4096, the count of Xmodel-LM's code."""
    plan = planned("xmodel2-1.2b", tmp_path)
    assert plan["details"]["flops_per_token"] == 6 * 1_251_755_520 + 12 * 48 * 24 * 64 * 4096
    assert plan["flops"] == pytest.approx(plan["details"]["flops_per_token"] * plan["tokens"])


def test_xdata_epochs_follow_from_the_tables_weights(tmp_path: Path) -> None:
    sources = {row["source"]: row for row in planned("xmodel-lm-1.1b", tmp_path)["details"]["sources"]}
    assert sources["redpajama_book"]["epochs"] == pytest.approx(0.03 * 2_064_384_000_000 / 29_633_248_538, rel=1e-3)
    assert sources["redpajama_book"]["basis"] == "published"
    assert "its files are elsewhere" in sources["redpajama_book"]["missing"]


def test_what_nobody_published_is_said_and_not_invented(tmp_path: Path) -> None:
    plan = planned("xmodel2-1.2b", tmp_path)["details"]
    sources = {row["source"]: row for row in plan["sources"]}
    assert sources["cc_chn"]["tokens"] is sources["cc_chn"]["documents"] is sources["cc_chn"]["epochs"] is None
    assert any("taken to be large enough" in line and "cc_chn" in line for line in plan["assumed"])


def test_the_quickstart_is_planned_before_its_world_is_made(tmp_path: Path) -> None:
    plan = planned("quickstart", tmp_path)
    assert plan["documents"] > 5_000
    assert 0 < plan["hours"] < 0.5
    assert {row["state"] for row in plan["details"]["stages"]} == {"new"}


def test_more_steps_and_a_larger_model_cost_more(tmp_path: Path) -> None:
    before = planned("xmodel2-nano", tmp_path)
    longer = planned("xmodel2-nano", tmp_path, "training.stable_steps=5000")
    assert longer["tokens"] > before["tokens"]
    assert longer["hours"] > before["hours"]
    assert planned("xmodel2-nano", tmp_path, "model.num_hidden_layers=16")["flops"] > before["flops"]


def test_a_mixture_that_cannot_be_filled_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "mixture.yaml").write_text(
        "phases: [{name: all, sources: {amps: {weight: 1, max_epochs: 1}}}]", encoding="utf-8"
    )
    with pytest.raises(XmodelError, match="more tokens than its sources may give"):
        planned("xmodel-lm-1.1b", tmp_path, f"mixture={tmp_path / 'mixture.yaml'}")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sources of our own and the recipe that `init` writes for them."""
    folder = tmp_path_factory.mktemp("own")
    for name in PARTS:
        (folder / "data" / name).mkdir(parents=True)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in documents(name))
        (folder / "data" / name / "a.jsonl").write_text(lines, encoding="utf-8")
    write_specs([folder / "data"], "own", folder)
    return folder / "own" / "recipe.yaml"


def test_own_files_are_estimated_by_looking(own: Path, tmp_path: Path) -> None:
    plan = planned(str(own), tmp_path)
    sources = {row["source"]: row for row in plan["details"]["sources"]}
    assert sources["english"]["documents"] == pytest.approx(80, rel=0.3)
    assert sources["chinese"]["basis"] == "estimated from its files"
    assert not any(row["missing"] for row in sources.values())


def test_files_that_are_not_there_yet_stop_no_plan(own: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in own.parent.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    plan = planned(str(copy / "recipe.yaml"), tmp_path / "workspace")
    assert all(row["missing"] for row in plan["details"]["sources"])
    assert plan["parameters"] > 0


def test_what_is_built_is_reused_and_a_change_is_named(own: Path, tmp_path: Path) -> None:
    from xmodel_core.corpus import stage as corpus_room

    recipe, path = load_recipe(str(own))
    store = Store(tmp_path)
    with open_cluster(recipe.cluster.model_copy(update={"workers": 1})) as cluster:
        files = [resolve(source, store.digest) for source in load_sources(recipe.sources, path.parent)]
        scanned = []
        for file in files:
            scan = corpus_room.scan(file, recipe.corpus.scan, store, cluster)
            scanned.append(corpus_room.remove_lines(file, scan, recipe.corpus, store, cluster))
        pairs = corpus_room.find_near_pairs(recipe.name, scanned, recipe.corpus.scan, store, cluster)
        corpus = corpus_room.build_corpus(recipe.name, scanned, pairs, recipe.corpus, store, cluster)

    def states(*overrides: str) -> dict[tuple[str, str], str]:
        rows = planned(str(own), tmp_path, *overrides)["details"]["stages"]
        return {(row["stage"], row["name"]): row["state"] for row in rows}

    built = states()
    assert built["scan", "english"] == built["corpus", "own"] == "reused"
    assert built["tokenizer", "own"] == "new"
    assert built["run", "own"] == "known after the shards"
    kept = {row["source"]: row["documents"] for row in planned(str(own), tmp_path)["details"]["sources"]}
    assert kept == {name: facts["docs"] for name, facts in corpus.manifest()["facts"]["sources"].items()}
    changed = states("corpus.english.min_words=30")
    assert changed["scan", "english"] == "reused"
    assert "english.min_words 8 → 30" in changed["corpus", "own"]
    assert changed["tokenizer", "own"] == "known after the corpus"
    model = tmp_path / "zh.kenlm"
    named = states(f"corpus.perplexity.chinese={model}")
    assert named["perplexity models", "own"] == "its files are not here"
    assert named["scan", "english"] == "known after the perplexity models"
    model.write_bytes(b"a model, as far as a plan looks")
    named = states(f"corpus.perplexity.chinese={model}")
    assert named["perplexity models", "own"] == "new"
    assert "input perplexity models" in named["scan", "english"]
    hours = {row["stage"]: row["hours"] for row in planned(str(own), tmp_path)["details"]["stages"]}
    assert hours["corpus"] == hours["scan"] == 0

    def unreadable(file: Path) -> str:
        raise AssertionError(f"a plan read {file}")

    def states_without_reading() -> dict[str, str]:
        """The scans' states where the files are too large to be read for a plan."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stages, "PLAN_READS_BYTES", 0)
            patch.setattr(stages, "read_digest", unreadable)
            patch.setattr(digests, "read_digest", unreadable)
            return {name: state for (stage, name), state in states().items() if stage in ("scan", "near copies")}

    assert set(states_without_reading().values()) == {"reused"}  # remembered
    english = own.parent.parent / "data" / "english" / "a.jsonl"
    os.utime(english, ns=(1, 1))
    assert states()["scan", "english"] == "reused"  # small enough to look
    without = states_without_reading()
    assert without["english"].startswith("known once its files are read")
    assert (without["chinese"], without["own"]) == ("reused", "known after the scans")
    # Rates are those of the newest corpus's own scans, whatever else lies in the workspace, and of no other workspace.
    with (
        pytest.MonkeyPatch.context() as patch,
        open_cluster(recipe.cluster.model_copy(update={"workers": 1})) as cluster,
    ):
        patch.setattr(duration, "SHORTEST_SECONDS", 0)
        before = duration.measured_throughput(store)
        used = [made for made in scanned if made.rescan]
        seconds = sum(made.scan.manifest()["seconds"] for made in scanned)
        assert before["scan_mb_per_second_and_core"].seconds == seconds
        assert before["lines_mb_per_second_and_core"].seconds == sum(
            made.rescan.manifest()["seconds"] for made in used if made.rescan
        )
        coarser = recipe.corpus.scan.model_copy(update={"minhash_bands": 10})
        corpus_room.scan(files[0], coarser, store, cluster)
        assert duration.measured_throughput(store) == before
        assert duration.measured_throughput(Store(tmp_path / "elsewhere")) == {}
    for made in (tmp_path / "scans").glob("english-*"):
        shutil.rmtree(made)
    assert states_without_reading()["english"] == "new"  # there is nothing of this name to compare with


def test_a_source_takes_hours_by_its_own_size(tmp_path: Path) -> None:
    details = planned("xmodel2-1.2b", tmp_path)["details"]
    hours = {(row["stage"], row["name"]): row["hours"] for row in details["stages"]}
    characters = {row["source"]: row["characters"] for row in details["sources"]}
    for stage in ("scan", "lines", "shards"):
        ratio = hours[stage, "dolma"] / hours[stage, "open_web_math"]
        assert ratio > 100
        assert ratio == pytest.approx(characters["dolma"] / characters["open_web_math"], rel=1e-3)


def test_the_page_says_what_a_person_wants_to_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(planned("xmodel2-1.2b", tmp_path))
    printed = capsys.readouterr().out
    for words in ("1,251,755,520", "fineweb_edu", "phase decay", "FLOPs", "days", "assumed", "not met on this machine"):
        assert words in printed


def test_mixture_phases_of_the_reports_are_their_schedules() -> None:
    for name in ("xmodel-lm-1.1b", "xmodel2-1.2b", "xmodel2-nano"):
        recipe, path = load_recipe(name)
        mixture = load_mixture(recipe.mixture, path.parent)
        assert [phase.name for phase in mixture.phases] == [
            phase.name for phase in recipe.training.phases() if not phase.continues_previous
        ]
