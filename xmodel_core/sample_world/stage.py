"""The stage: from a config to a `raw` artifact, one shard per source, and one for tasks and truth.

Gives documents/<source>/part-NNNNN.jsonl.gz (arithmetic: .parquet, so that both readers run),
benchmarks/<task>/test.jsonl and truth.jsonl. The world is generated in memory in a few seconds; only
missing shards are written. Bytes are fixed: gzip headers carry no time and no file name.
"""

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.artifacts import Artifact, Identity, Store, write_shard
from xmodel_core.sample_world.arithmetic import arithmetic
from xmodel_core.sample_world.benchmarks import Item, make_benchmarks
from xmodel_core.sample_world.biographies import biographies
from xmodel_core.sample_world.config import SampleWorldConfig
from xmodel_core.sample_world.facts import make_people
from xmodel_core.sample_world.planting import Document, Planter, number_documents, summary
from xmodel_core.sample_world.programs import programs
from xmodel_core.sample_world.stories import stories

VERSION = 1

# Share of the clean documents, in the order in which sources win over each other's copies. Biographies are
# about 70 % of the tokens; programs are longer and Chinese stories shorter, so these are not shares of tokens.
SHARES = {
    "zh_chronicle": 0.28,
    "en_chronicle": 0.28,
    "zh_web": 0.09,
    "en_web": 0.09,
    "zh_stories": 0.07,
    "en_stories": 0.06,
    "arithmetic": 0.07,
    "code_programs": 0.06,
}
PARQUET = ("arithmetic",)


def identity(config: SampleWorldConfig, name: str = "quickstart") -> Identity:
    """A world depends on its config alone."""
    return Identity("raw", name, VERSION, config.model_dump(mode="json"), {})


def _alternate(*pages: Iterator[str]) -> Iterator[tuple[str, str]]:
    for zh, en in zip(*pages, strict=True):
        yield zh, "zh"
        yield en, "en"


def _clean_pages(source: str, config: SampleWorldConfig) -> Iterator[tuple[str, str]]:
    """An endless stream of texts, each with its language."""
    people = make_people(config.seed)
    rng = Random(f"{source} {config.seed}")
    lang, _, style = source.partition("_")
    if source == "code_programs":
        return ((page, "code") for page in programs(rng))
    if source == "arithmetic":
        return _alternate(arithmetic("zh", rng), arithmetic("en", rng))
    pages = stories(lang, rng) if style == "stories" else biographies(people, lang, style, rng)
    return ((page, lang) for page in pages)


def make_world(config: SampleWorldConfig) -> tuple[dict[str, list[Document]], dict[str, list[Item]]]:
    """Every document by source, in order and numbered, and every task's items."""
    clean = {}
    for source, share in SHARES.items():
        pages = itertools.islice(_clean_pages(source, config), round(config.documents * share))
        clean[source] = [Document(source, text, lang, place) for place, (text, lang) in enumerate(pages)]
    people = make_people(config.seed)
    tasks = make_benchmarks(people, config.seed)
    writers = {lang: biographies(people, lang, "web", Random(f"more {lang} {config.seed}")) for lang in ("zh", "en")}
    planted = Planter(clean, writers, tasks, config.seed).plant(round(config.documents * config.planted_share))
    return number_documents([*itertools.chain(*clean.values()), *planted]), tasks


def _record(document: Document) -> dict[str, Any]:
    day = document.number * 37 % 365
    return {
        "id": document.id,
        "text": document.text,
        "url": f"https://{document.source.replace('_', '-')}.example/{document.number}",
        "meta": {"month": f"2025-{day // 31 + 1:02d}", "edition": document.number % 7 + 1},
    }


def _json_lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _write_documents(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    else:
        path.write_bytes(gzip.compress(_json_lines(rows), compresslevel=5, mtime=0))


def run(config: SampleWorldConfig, store: Store, name: str = "quickstart") -> Artifact:
    """The world, built where it is missing; `name` is the recipe's."""
    world_identity = identity(config, name)
    if finished := store.find(world_identity):
        finished.verify(store.digests)  # its documents' digests are those of the sources: damage would be built upon
        return finished
    build = store.build(world_identity)
    world, tasks = make_world(config)
    for source, documents in world.items():
        if build.finished(source):
            continue
        with write_shard(build.folder, source) as shard:
            suffix = ".parquet" if source in PARQUET else ".jsonl.gz"
            for part, start in enumerate(range(0, len(documents), config.documents_per_file)):
                batch = documents[start : start + config.documents_per_file]
                path = shard.file(f"documents/{source}/part-{part:05d}{suffix}")
                _write_documents(path, [_record(document) for document in batch])
            shard.facts["documents"] = summary(documents)
    if not build.finished("tasks-and-truth"):
        with write_shard(build.folder, "tasks-and-truth") as shard:
            for task, items in tasks.items():
                shard.file(f"benchmarks/{task}/test.jsonl").write_bytes(_json_lines([*items]))
            truth = [document.truth() for documents in world.values() for document in documents]
            shard.file("truth.jsonl").write_bytes(_json_lines(truth))
    documents = summary([*itertools.chain(*world.values())])
    return build.commit(facts={"documents": documents, "tasks": {task: len(items) for task, items in tasks.items()}})
