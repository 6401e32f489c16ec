"""What each stage of a recipe needs of this machine, and what of it is not there, told before anything starts.

Takes a recipe with its sources and a workspace; gives a line for each need that is not met, with what to do. A stage
has a function here, by its name in `flows/river/stages.py`. Sizes are estimates that err on the small side: a run is
refused only for what it cannot do without. Nothing is read but file names, sizes and the first line of each benchmark
file; no network is used, but for a Ray cluster whose address the recipe names.
"""

import importlib.util
import json
import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from xmodel_core.artifacts import Folder, LocalFolder
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.config import Recipe
from xmodel_core.errors import XmodelError
from xmodel_core.model.cost import count_parameters
from xmodel_core.planning import machine
from xmodel_core.planning.supply import BYTES_PER_CHAR, chars_per_token
from xmodel_core.specs import Source, list_source
from xmodel_core.specs.benchmarks import Suite, Task, load_suites
from xmodel_core.specs.sources import RAW_SCHEME, ListedSource
from xmodel_core.training.stage import cpp_compiler

BYTES_OF_TRAINING = 16
"""Of memory for each parameter: weight, gradient and AdamW's two means in fp32. Activations come on top."""
BYTES_OF_CHECKPOINT = 12
"""On disk for each parameter: the weight and AdamW's two means."""
PACKED = 0.45
"""Text on disk by zstd-1. This and the next two as in docs/scale.md."""
SCAN_BYTES_PER_DOCUMENT = 640
"""Beside the text."""
BYTES_PER_DOCUMENT = 3_300
UNPACKED = {".gz": 2.0, ".zst": 2.0, ".parquet": 1.5}
"""Suffix → bytes of text for each byte of a file, at least; plain files have one."""
SECONDS_TO_ANSWER = 2.0


@dataclass(frozen=True)
class Need:
    """One thing that a stage needs and that is not here."""

    stage: str
    what: str
    """What is not here, in a line."""
    remedy: str
    required: bool = True
    """False: the run goes on without it, and the line says what is then left out."""

    def __str__(self) -> str:
        """The line of a message."""
        return f"{self.stage}: {self.what}; {self.remedy}"


@dataclass(frozen=True)
class Asked:
    """What is asked of this machine."""

    recipe: Recipe
    spec_folder: Path
    """What paths of specs are relative to."""
    sources: Sequence[Source]
    workspace: Folder
    to_build: Mapping[str, Collection[str]]
    """Stage → its items that are to be built; a stage that is not here is built, or not asked for."""

    @property
    def parameters(self) -> int:
        """Of the model, with the vocabulary that the recipe asks for."""
        return count_parameters(self.recipe.model, self.recipe.tokenizer.vocab_size).total

    @property
    def elsewhere(self) -> bool:
        """Whether training may run on other machines than this one."""
        cluster = self.recipe.cluster
        return cluster.kind == "ray" and bool(cluster.address or os.environ.get("RAY_ADDRESS"))

    @cached_property
    def files(self) -> dict[str, ListedSource | XmodelError]:
        """Source → its files on this machine, or why there are none. Names and sizes only. Sources that lie elsewhere,
        or that the recipe makes itself, are left out."""
        found: dict[str, ListedSource | XmodelError] = {}
        for source in self.sources:
            if "://" not in source.uri:
                try:
                    found[source.name] = list_source(source)
                except XmodelError as error:
                    found[source.name] = error
        return found


def missing_needs(asked: Asked) -> list[Need]:
    """What the stages to build need and is not here, in their order."""
    needs = [*_workspace(asked), *_cluster(asked)] if asked.to_build else []
    for stage in asked.to_build:
        if stage in NEEDS:
            needs += NEEDS[stage](asked)
    return [*needs, *_disk(asked)]


def _of_error(stage: str, error: XmodelError, remedy: str = "check the recipe") -> Need:
    """An error of a reader as the line of a need."""
    parts = [
        error.what,
        *(f"{label} {value}" for label, value in (("found", error.found), ("at", error.where)) if value),
    ]
    expected = f" (expected {error.expected})" if error.expected else ""
    return Need(stage, ", ".join(parts) + expected, error.remedy or remedy)


def _size(amount: float) -> str:
    return f"{amount / 1e9:,.1f} GB" if amount >= 1e8 else f"{amount / 1e6:,.1f} MB"


# every stage -------------------------------------------------------------------------------------------------------


def _workspace(asked: Asked) -> Iterator[Need]:
    if isinstance(asked.workspace, LocalFolder) and (why := machine.why_not_writable(asked.workspace.path)):
        remedy = "choose another --workspace, or allow writing to this one"
        yield Need("workspace", f"{asked.workspace.path} cannot be written to ({why})", remedy)


def _cluster(asked: Asked) -> Iterator[Need]:
    cluster = asked.recipe.cluster
    if cluster.kind != "ray":
        return
    if importlib.util.find_spec("ray") is None:
        yield Need("cluster", "Ray is not installed", "install it, or --set cluster.kind=local")
    address = cluster.address or os.environ.get("RAY_ADDRESS") or ""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
        except (OSError, OverflowError) as error:
            remedy = "start it, or correct cluster.address; see infra/ray/README.md"
            yield Need("cluster", f"no Ray cluster answers at {address} ({error})", remedy)


def _disk(asked: Asked) -> Iterator[Need]:
    """The room that the stages' artifacts take, all together, against what is free."""
    if not isinstance(asked.workspace, LocalFolder) or machine.why_not_writable(asked.workspace.path):
        return
    sizes = {stage: size(asked, items) for stage, items in asked.to_build.items() if (size := DISK.get(stage))}
    needed, free = sum(sizes.values()), machine.free_disk(asked.workspace.path)
    if needed > free:
        parts = ", ".join(f"{stage} {_size(size)}" for stage, size in sizes.items())
        what = f"about {_size(needed)} on disk ({parts}); at {asked.workspace.path} {_size(free)} are free"
        yield Need("workspace", what, "choose a --workspace on a larger disk")


def _text_bytes(asked: Asked, source: Source) -> float:
    """About how many bytes of text a source has, as far as its files' sizes or its publisher say; 0 where nobody
    knows."""
    files = asked.files.get(source.name)
    if isinstance(files, ListedSource):
        return sum(size * UNPACKED.get(PurePath(name).suffix, 1.0) for name, _, size in files.files)
    if source.uri.startswith(RAW_SCHEME):
        world = asked.recipe.sample_world
        return 1_000 * world.documents / len(asked.sources) if world else 0.0
    return (source.published_tokens or 0) * _bytes_per_token(asked, source)


def _bytes_per_token(asked: Asked, source: Source) -> float:
    return chars_per_token(source.lang, asked.recipe.tokenizer.vocab_size) * BYTES_PER_CHAR[source.lang]


def _scan_bytes(asked: Asked, items: Collection[str]) -> float:
    scanned = sum(_text_bytes(asked, source) for source in asked.sources if source.name in items)
    return (PACKED + SCAN_BYTES_PER_DOCUMENT / BYTES_PER_DOCUMENT) * scanned


def _corpus_bytes(asked: Asked, _: Collection[str]) -> float:
    return PACKED * sum(_text_bytes(asked, source) for source in asked.sources)


def _shard_bytes(asked: Asked, items: Collection[str]) -> float:
    width = 2 if asked.recipe.tokenizer.vocab_size <= 2**16 else 4
    encoded = [source for source in asked.sources if source.name in items]
    return width * sum(_text_bytes(asked, source) / _bytes_per_token(asked, source) for source in encoded)


def _checkpoint_bytes(asked: Asked, _: Collection[str]) -> float:
    training = asked.recipe.training
    saved = training.total_steps // training.checkpoint_every_steps
    kept = min(training.keep_checkpoints, saved) + len(training.phases())
    return BYTES_OF_CHECKPOINT * asked.parameters * kept


DISK: Mapping[str, Callable[[Asked, Collection[str]], float]] = {
    "scan": _scan_bytes,
    "corpus": _corpus_bytes,
    "shards": _shard_bytes,
    "run": _checkpoint_bytes,
}
"""About how many bytes the artifacts of a stage's items take."""


# scans -------------------------------------------------------------------------------------------------------------


def _scan(asked: Asked) -> Iterator[Need]:
    """Files of every source that lies on this machine; those elsewhere are asked for before the first is read."""
    for files in asked.files.values():
        if isinstance(files, XmodelError):
            yield _of_error("scan", files)
    uris = {source.name: source.uri for source in asked.sources if "://" in source.uri}
    absent = [name for name, uri in uris.items() if not uri.startswith(RAW_SCHEME) and not is_remote(uri)]
    if absent:
        what = f"the files of {', '.join(absent)} are declared, and no reader can fetch them"
        yield Need("scan", what, "give the folders of copies as `uri`, or leave them out of sources and mixture")


def _benchmarks(asked: Asked) -> Iterator[Need]:
    folder = asked.recipe.corpus.decontaminate.benchmarks
    if folder is not None and not folder.startswith(RAW_SCHEME) and not Path(folder).expanduser().is_dir():
        what = f"there is no folder {folder} of benchmarks to keep out of the corpus"
        yield Need("benchmarks", what, "correct corpus.decontaminate.benchmarks, or set it to null")


def _perplexity_models(asked: Asked) -> Iterator[Need]:
    if not asked.recipe.corpus.perplexity.named():
        return
    if importlib.util.find_spec("kenlm") is None:
        what = "corpus.perplexity names a model, but the package that reads it, kenlm, is not installed"
        remedy = "uv pip install kenlm==0.3.0 into this environment (it is compiled: g++, two minutes), or name none"
        yield Need("perplexity models", what, remedy)
    try:
        asked.recipe.corpus.perplexity.files()
    except XmodelError as error:
        yield _of_error("perplexity models", error)


# training ----------------------------------------------------------------------------------------------------------


def _run(asked: Asked) -> Iterator[Need]:
    training, workers = asked.recipe.training, asked.recipe.training.workers
    if training.longest_sequence > asked.recipe.model.max_position_embeddings:
        what = (
            f"sequences of {training.longest_sequence:,} tokens are longer than the model's context, "
            f"model.max_position_embeddings {asked.recipe.model.max_position_embeddings:,}"
        )
        yield Need("run", what, "lengthen the one or shorten the other")
    if training.compile and cpp_compiler() is None:
        remedy = "install one (Debian: apt install g++), name it in CXX, or --set training.compile=false"
        yield Need("run", "training.compile needs a C++ compiler (g++ or clang++), and there is none", remedy)
    if asked.elsewhere:  # other machines' devices and memory are not known here
        return
    found = machine.gpus() if training.device != "cpu" and machine.torch_cuda() else []
    if training.device == "cuda" and len(found) < workers:
        yield Need("run", _too_few_gpus(workers, len(found)), "--set training.device=cpu, or fewer training.workers")
    yield from _memory(asked, [gpu.memory_bytes for gpu in found[:workers]])


def _too_few_gpus(workers: int, usable: int) -> str:
    listed = len(machine.gpus())
    here = f"there are {listed}, beside a torch that is built for CPUs" if listed > usable else f"there are {usable}"
    return f"a GPU for each of {workers} workers, as training.device=cuda says, and here {here}"


def _memory(asked: Asked, gpu_memory: Sequence[int]) -> Iterator[Need]:
    training = asked.recipe.training
    each = BYTES_OF_TRAINING * asked.parameters
    of_it = f"{BYTES_OF_TRAINING} bytes for each of {asked.parameters:,} parameters"
    size = f"{_size(each)} for each of {training.workers} workers ({of_it})"
    if gpu_memory and min(gpu_memory) < each:
        remedy = "take a smaller model, or larger GPUs"
        yield Need("run", f"at least {size}, and a GPU here has {_size(min(gpu_memory))}", remedy)
    free = machine.free_memory()
    if not gpu_memory and training.device != "cuda" and free < each * training.workers:
        remedy = "take a smaller model or fewer training.workers, or close what else runs"
        yield Need("run", f"at least {size}, and {_size(free)} of memory are free", remedy)


# evaluation --------------------------------------------------------------------------------------------------------


def _evaluation(asked: Asked) -> Iterator[Need]:
    """Data for each task of the suites. A recipe that names its tasks needs all of them; one that names none takes
    those that have data, needs one, and is told which are left out."""
    config = asked.recipe.evaluation
    suites = load_suites(config.suites, asked.spec_folder)
    if not suites:
        return
    tasks = [task for suite in suites for task in suite.tasks]
    known = [task.task for task in tasks]
    if unknown := sorted(set(config.tasks or []) - set(known)):
        what = f"evaluation.tasks names {', '.join(unknown)}, which no suite has"
        yield Need("evaluation", what, f"name some of {', '.join(known)}")
    device = config.device or asked.recipe.training.device
    if device == "cuda" and not (machine.torch_cuda() and machine.gpus()):
        yield Need(
            "evaluation",
            "a GPU, as evaluation.device or training.device says, and there is none here",
            "--set evaluation.device=cpu",
        )
    asked_for = [task for task in tasks if config.tasks is None or task.task in config.tasks]
    absent = {task.task: why for task in asked_for if (why := _absence(asked, task))}
    all_absent = len(absent) == len(asked_for)
    if absent and (config.tasks is not None or all_absent):
        what = f"no data for {_grouped(absent)}"
        yield Need("evaluation", what, f"{_data_remedy(suites)}, or --set evaluation.suites=[] to evaluate nothing")
    elif absent:
        remedy = f"left out; {_data_remedy(suites)} to evaluate them too"
        yield Need("evaluation", f"no data for {_grouped(absent)}", remedy, required=False)
    for task in asked_for:
        if task.task not in absent and (unfit := _unfit(asked, task)):
            yield Need("evaluation", unfit, "check the file, or the task in its suite")


def _grouped(absent: Mapping[str, str]) -> str:
    """Tasks and why, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for task, why in absent.items():
        reasons.setdefault(why, []).append(task)
    return "; ".join(f"{', '.join(tasks)} ({why})" for why, tasks in reasons.items())


def _data_remedy(suites: Sequence[Suite]) -> str:
    raw = all(task.is_raw for suite in suites for task in suite.tasks)
    return (
        "a recipe with sample_world makes it" if raw else "--set evaluation.data=DIR with DIR/<benchmark>/<split>.jsonl"
    )


def _files(asked: Asked, task: Task) -> dict[str, Path]:
    """The files of a task by split, where it has a folder on this machine."""
    data = asked.recipe.evaluation.data
    folder = task.folder(Path(data).expanduser() if data else None, None)
    return {split: folder / f"{split}.jsonl" for split in task.splits} if folder else {}


def _absence(asked: Asked, task: Task) -> str:
    """Why a task has no data; empty where it has."""
    if task.is_raw:
        return "" if asked.recipe.sample_world else "the recipe has no sample_world"
    files = _files(asked, task)
    if not files:
        return "the recipe has no evaluation.data"
    missing = [path for path in files.values() if not path.is_file()]
    return f"not in {asked.recipe.evaluation.data}" if missing else ""


def _unfit(asked: Asked, task: Task) -> str:
    """What the first question of a task's files lacks; empty where it lacks nothing that is known here. The prompts of
    stock tasks are the harness's, which is not loaded for this."""
    wanted = {task.subject_field} if task.subject_field else set()
    if task.format is not None:
        wanted |= _fields_of(task)
    for path in _files(asked, task).values():
        with path.open("rb") as stream:
            first = next((line for line in stream if line.strip()), b"")
        try:
            question = json.loads(first) if first else None
        except (ValueError, RecursionError):
            question = None
        if not isinstance(question, dict):
            return f"the first line of {path} is no JSON object"
        if lacking := sorted(wanted - question.keys()):
            return f"{task.task} asks for {', '.join(lacking)}, and {path} has {', '.join(question)}"
    return ""


def _fields_of(task: Task) -> set[str]:
    """The fields that the templates of a task of our own name."""
    import jinja2.meta  # late: few recipes have such tasks

    environment = jinja2.Environment(autoescape=True)
    texts = (task.context, task.choices, task.label)
    return {name for text in texts for name in jinja2.meta.find_undeclared_variables(environment.parse(text))}


NEEDS: Mapping[str, Callable[[Asked], Iterator[Need]]] = {
    "benchmarks": _benchmarks,
    "perplexity models": _perplexity_models,
    "scan": _scan,
    "run": _run,
    "evaluation": _evaluation,
}
"""What a stage needs, by its name; a stage that is not here needs nothing but room in the workspace."""
