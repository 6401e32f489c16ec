"""What a recipe needs is told before anything starts: all of it at once, a line each, with what to do."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.recipes import load_recipe
from flows.river.preflight import missing_needs
from flows.river.session import Session, open_session
from flows.river.stages import STAGES
from tests.flows.checkpoints import xmodel
from xmodel_core.artifacts import Store
from xmodel_core.errors import XmodelError
from xmodel_core.planning import machine, needs
from xmodel_core.planning.needs import Need


def needs_of(workspace: Path, *overrides: str, recipe: str = "quickstart", through: str = "report") -> list[Need]:
    return missing_needs(Session(*load_recipe(recipe, overrides), Store(workspace)), through)


def only(found: list[Need]) -> Need:
    (need,) = found
    assert need.remedy and "\n" not in str(need)
    return need


def test_each_stage_that_has_needs_is_one_of_the_pipeline() -> None:
    assert {*needs.NEEDS, *needs.DISK} <= {stage.name for stage in STAGES}


def test_the_quickstart_needs_nothing_and_torch_is_not_loaded_to_say_so(tmp_path: Path) -> None:
    assert needs_of(tmp_path) == []
    script = (
        "import sys; from pathlib import Path; from flows.recipes import load_recipe; "
        "from xmodel_core.artifacts import Store; from flows.river.session import Session; "
        "from flows.river.preflight import missing_needs; "
        "missing_needs(Session(*load_recipe('quickstart'), Store(Path(sys.argv[1]))), 'report'); print(*sys.modules)"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "ray", "lm_eval", "prefect"}.isdisjoint(loaded)


@pytest.mark.parametrize("recipe", ["xmodel-lm-1.1b", "xmodel2-1.2b", "xmodel2-nano"])
def test_a_published_recipe_is_refused_before_anything_starts(tmp_path: Path, recipe: str) -> None:
    """They would train for weeks, and fail for want of benchmarks."""
    refused = xmodel("run", recipe, "--workspace", tmp_path / "w")
    assert refused.exit_code == 1
    planned = json.loads(xmodel("plan", recipe, "--workspace", tmp_path / "w", "--json").output)
    assert {"scan", "evaluation", "workspace"} <= {need["stage"] for need in planned["needs"]}
    for need in planned["needs"]:
        assert f"  {need['stage']}: {need['what']}; {need['remedy']}\n" in refused.stderr
    assert "gsm8k" in refused.stderr and "evaluation.suites=[]" in refused.stderr
    assert not (tmp_path / "w").exists()


def test_a_flow_from_a_deployment_is_refused_too(tmp_path: Path) -> None:
    with (
        pytest.raises(XmodelError, match="nothing was started"),
        open_session("xmodel2-nano", [], str(tmp_path / "w"), "report"),
    ):
        pass
    assert not (tmp_path / "w").exists()


def test_a_part_of_the_pipeline_needs_less_than_the_whole(tmp_path: Path) -> None:
    asked = "evaluation.suites=[commonsense]"
    assert needs_of(tmp_path, asked, through="run") == []
    assert only(needs_of(tmp_path, asked)).stage == "evaluation"
    session = Session(*load_recipe("quickstart", [asked]), Store(tmp_path))
    assert [need.stage for need in missing_needs(session, "evaluation", alone=True)] == ["evaluation"]


def test_every_absent_source_has_its_line(tmp_path: Path) -> None:
    lines = [
        f"{{name: {name}, lang: en, category: web, license: x, uri: {uri}}}"
        for name, uri in {"a": "gone", "b": "empty", "c": "here", "d": "unpublished://d"}.items()
    ]
    (tmp_path / "empty").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "x.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "sources.yaml").write_text("sources:\n" + "".join(f"  - {line}\n" for line in lines))
    (tmp_path / "mixture.yaml").write_text("phases: [{name: all, sources: {a: .4, b: .3, c: .2, d: .1}}]\n")
    (tmp_path / "recipe.yaml").write_text(
        "name: own\nextends: quickstart\nsample_world: null\nsources: [sources.yaml]\nmixture: mixture.yaml\n"
        "evaluation: {suites: []}\n"
    )
    found = needs_of(tmp_path / "w", recipe=str(tmp_path / "recipe.yaml"))
    assert [need.stage for need in found] == ["scan"] * 3
    text = "\n".join(map(str, found))
    assert "source a" in text and "no such path" in text and "source b" in text and "files of d are declared" in text


def benchmark(folder: Path, name: str, *questions: object, split: str = "test") -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / f"{split}.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    return folder


def test_benchmarks_without_data_are_left_out_by_name_unless_they_are_asked_for(tmp_path: Path) -> None:
    data = benchmark(tmp_path / "bench", "arc_easy", {"question": "?"})
    words = ["evaluation.suites=[commonsense]", f"evaluation.data={data}"]
    need = only(needs_of(tmp_path / "w", *words))
    assert not need.required and "piqa" in need.what and "arc_easy" not in need.what and "left out" in need.remedy
    need = only(needs_of(tmp_path / "w", *words, "evaluation.tasks=[arc_easy, piqa]"))
    assert need.required and "piqa" in need.what
    assert needs_of(tmp_path / "w", *words, "evaluation.tasks=[arc_easy]") == []
    need = only(needs_of(tmp_path / "w", *words, "evaluation.tasks=[arc_eazy]"))
    assert "arc_eazy" in need.what and "arc_easy" in need.remedy
    assert needs_of(tmp_path / "w", *words, "evaluation.suites=[]") == []
    assert only(needs_of(tmp_path / "w", "evaluation.suites=[commonsense]", f"evaluation.data={tmp_path}")).required


OWN = """name: own
tasks:
  - {task: t, format: multiple_choice, data: t, split: test, lang: en, metric: acc, context: "{{ask}}"}
"""


@pytest.mark.parametrize(
    ("questions", "words"),
    [
        ([{"ask": "?", "choices": ["a"], "label": 0}], None),
        ([{"question": "?", "choices": ["a"], "label": 0}], "asks for ask"),
        ([["a list"]], "no JSON object"),
        ([], "no JSON object"),
    ],
    ids=["fits", "another field", "a list", "empty"],
)
def test_the_fields_of_a_benchmark_are_looked_at(tmp_path: Path, questions: list, words: str | None) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    data = benchmark(tmp_path / "bench", "t", *questions)
    found = needs_of(tmp_path / "w", f"evaluation.suites=[{tmp_path}/own.yaml]", f"evaluation.data={data}")
    assert found == [] if words is None else words in only(found).what


def test_a_benchmark_with_subjects_needs_their_field(tmp_path: Path) -> None:
    data = benchmark(tmp_path / "bench", "mmlu", {"question": "?"})
    benchmark(data, "mmlu", {"question": "?"}, split="dev")
    words = ["evaluation.suites=[problem_solving]", "evaluation.tasks=[mmlu]", f"evaluation.data={data}"]
    assert "asks for subject" in only(needs_of(tmp_path / "w", *words)).what


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, gigabytes: float = 80, cuda: str | None = "12.8") -> None:
    monkeypatch.setattr(machine, "gpus", lambda: [machine.Gpu("H100", int(gigabytes * 1e9))] * count)
    monkeypatch.setattr(machine, "torch_cuda", lambda: cuda)


def test_devices_and_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("training.device=cuda", "training.workers=2", "training.micro_batch_sequences=4")
    gpus(monkeypatch, 0, cuda=None)
    assert "a GPU for each of 2 workers" in only(needs_of(tmp_path, *asked)).what
    gpus(monkeypatch, 1)
    assert "here there are 1" in only(needs_of(tmp_path, *asked)).what
    gpus(monkeypatch, 2, cuda=None)
    assert "built for CPUs" in only(needs_of(tmp_path, *asked)).what
    gpus(monkeypatch, 2)
    assert needs_of(tmp_path, *asked) == []
    gpus(monkeypatch, 2, gigabytes=0.001)
    assert "a GPU here has" in only(needs_of(tmp_path, *asked)).what
    assert only(needs_of(tmp_path)).stage == "run"  # device: auto takes the GPU that is there
    assert needs_of(tmp_path, "training.device=cpu") == []
    assert needs_of(tmp_path, *asked, "cluster.kind=ray", "cluster.address=auto") == []  # not this machine's


def test_memory_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0, cuda=None)
    monkeypatch.setattr(machine, "free_memory", lambda: 10**6)
    assert "1.0 MB of memory are free" in only(needs_of(tmp_path)).what
    monkeypatch.setattr(machine, "free_memory", lambda: 10**12)
    monkeypatch.setattr(machine, "free_disk", lambda _: 10**6)
    need = only(needs_of(tmp_path))
    assert need.stage == "workspace" and "scan" in need.what and "1.0 MB are free" in need.what


def test_optional_packages_and_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "cpp_compiler", lambda: None)
    assert "training.compile=false" in only(needs_of(tmp_path, "training.compile=true")).remedy
    found = needs_of(tmp_path, f"corpus.perplexity.english={tmp_path}/en.kenlm")
    assert {need.stage for need in found} == {"perplexity models"}
    assert "en.kenlm" in str(found[-1])


def test_a_ray_cluster_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as silent:  # bound and not listening: nobody else can answer there
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        need = only(needs_of(tmp_path, "cluster.kind=ray", f"cluster.address={address}"))
    assert need.stage == "cluster" and address in need.what
