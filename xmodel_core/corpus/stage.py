"""The room's doors: raw files of one source → scan → rescan without boilerplate lines; all of them → pairs → corpus.

A scan and a rescan are one shard per raw file. Pairs and decisions are made at once on the columns of all sources,
then documents are written file by file.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from xmodel_core.artifacts import Artifact, Build, Folder, Identity, Store, StoredFile, fingerprint, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.corpus.boilerplate.rescan import LINES, RescanTask, repeated_lines, repeats_lines, rescan
from xmodel_core.corpus.config import LEAST_JACCARD, CorpusConfig, LinesConfig, ScanConfig
from xmodel_core.corpus.contamination.benchmark_index import BenchmarkIndex, build_index
from xmodel_core.corpus.contamination.benchmark_items import counted_files
from xmodel_core.corpus.copies import near
from xmodel_core.corpus.decide.decisions import Decisions, decide
from xmodel_core.corpus.decide.ledger_rows import contamination_rows, funnel_rows
from xmodel_core.corpus.measure.perplexity import NgramModels, PerplexityConfig, require_kenlm
from xmodel_core.corpus.measure.scan import load_index, load_models, scan_file
from xmodel_core.corpus.measure.scanned import ScannedFile, first_rows
from xmodel_core.corpus.measure.signature import key_names
from xmodel_core.corpus.write.documents import (
    DocumentsTask,
    masking_rows,
    write_decisions,
    write_documents,
    write_dropped_samples,
)
from xmodel_core.errors import XmodelError
from xmodel_core.specs import RawFile, Source, SourceFiles
from xmodel_core.specs.strict import nearest

SCAN_VERSION = 4
RESCAN_VERSION = 2
PAIRS_VERSION = 1
CORPUS_VERSION = 4
BENCHMARKS_VERSION = 2
MODELS_VERSION = 1
INDEX = "index.npz"
MODEL = ".kenlm"


def benchmarks_identity(name: str, folder: Path, evaluated: Mapping[str, set[str]], store: Store) -> Identity:
    """An index is made of the files of benchmarks that count."""
    files = [path for found in counted_files(folder, evaluated).values() for path in found]
    inputs = {path.relative_to(folder).as_posix(): store.digest(path) for path in files}
    return Identity("benchmarks", name, BENCHMARKS_VERSION, {}, inputs)


def index_benchmarks(name: str, folder: Path, evaluated: Mapping[str, set[str]], store: Store) -> Artifact:
    """index.npz: the passages of the benchmarks in a folder; `evaluated` names splits that count beside the usual."""
    identity = benchmarks_identity(name, folder, evaluated, store)
    if done := store.find(identity):
        return done
    build = store.build(identity)
    index = build_index(folder, evaluated)
    if build.finished("index") is None:
        with write_shard(build.folder, "index") as shard:
            index.save(shard.file(INDEX))
    return build.commit(facts={"benchmarks": list(index.benchmarks), "items": int(index.first_items[-1])})


def models_identity(name: str, config: PerplexityConfig, store: Store) -> Identity:
    """Models are what their files hold, wherever those lie. XmodelError: one is not there."""
    digests = {lang: store.digest(path) for lang, path in config.files().items()}
    return Identity("perplexity-models", name, MODELS_VERSION, {}, digests)


def keep_models(name: str, config: PerplexityConfig, store: Store) -> Artifact:
    """<language>.kenlm: copies of the n-gram models, so that every worker finds them and they stay what they were
    when texts were measured. XmodelError: a model, or the package that reads it, that cannot be used."""
    require_kenlm()
    identity = models_identity(name, config, store)
    if done := store.find(identity):
        return done
    files = config.files()
    NgramModels(files)  # what cannot be read is told now, not after hours of work
    build = store.build(identity)
    for lang, path in files.items():
        if build.finished(lang) is None:
            with write_shard(build.folder, lang) as shard:
                shutil.copyfile(path, shard.file(f"{lang}{MODEL}"))
    return build.commit(facts={lang: path.name for lang, path in files.items()})


def scan_identity(
    source_files: SourceFiles,
    config: ScanConfig,
    benchmarks: Artifact | Identity | None = None,
    models: Artifact | Identity | None = None,
) -> Identity:
    """A scan is made of the source's bytes, the scan's settings, the benchmarks that are looked for, and the models
    that prose is held against; programs are not."""
    inputs = {"source": source_files.fingerprint}
    if benchmarks:
        inputs["benchmarks"] = benchmarks.fingerprint
    if models and source_files.source.policy == "prose":
        inputs["perplexity models"] = models.fingerprint
    return Identity("scans", source_files.source.name, SCAN_VERSION, config.model_dump(by_alias=True), inputs)


class SourceScan(NamedTuple):
    """A source's files as the next stages see them."""

    files: SourceFiles
    scan: Artifact
    rescan: Artifact | None


@dataclass(frozen=True)
class _ScanTask:
    folder: Folder
    index: int
    source: Source
    file: RawFile
    config: ScanConfig
    benchmarks: StoredFile | None
    models: Mapping[str, StoredFile]

    @property
    def name(self) -> str:
        return f"{self.source.name}-{self.index:05d}"


def _scan_one(task: _ScanTask) -> None:
    with write_shard(task.folder, task.name) as shard:
        target = shard.file(f"{task.name}.parquet")
        index, models = load_index(task.benchmarks), load_models(task.models)
        shard.facts.update(scan_file(task.source, task.file, task.config, target, index, models))


def scan(
    source_files: SourceFiles,
    config: ScanConfig,
    store: Store,
    cluster: Cluster,
    benchmarks: Artifact | None = None,
    models: Artifact | None = None,
) -> Artifact:
    """The scan of one source: <source>-NNNNN.parquet per raw file. XmodelError where no record has the text field."""
    identity = scan_identity(source_files, config, benchmarks, models)
    if done := store.find(identity):
        return done
    build = store.build(identity)
    aids = _stored(source_files.source, benchmarks, models)
    tasks = [
        _ScanTask(build.folder, index, source_files.source, file, config, *aids)
        for index, file in enumerate(source_files.files)
    ]
    missing = [task for task in tasks if build.finished(task.name) is None]
    label = f"scan {source_files.source.name}"
    cluster.map(_scan_one, missing, label, unit="bytes", sizes=[task.file.bytes for task in missing])
    facts = [receipt.facts for task in tasks if (receipt := build.finished(task.name))]
    _check_text_field(source_files, facts)
    return build.commit(facts={"records": sum(fact["records"] for fact in facts)})


def _stored(
    source: Source, benchmarks: Artifact | None, models: Artifact | None
) -> tuple[StoredFile | None, dict[str, StoredFile]]:
    """What a source's texts are held against: the index of benchmarks, and the models by language."""
    index = benchmarks.stored()[INDEX] if benchmarks else None
    files = models.stored() if models and source.policy == "prose" else {}
    return index, {name.removesuffix(MODEL): file for name, file in files.items()}


def _check_text_field(source_files: SourceFiles, facts: Sequence[Mapping[str, Any]]) -> None:
    """A field name that no record has is a mistake in the spec, not a thousand unreadable documents."""
    fields: dict[str, int] = {}
    for fact in facts:
        for name, records in fact["fields"].items():
            fields[name] = fields.get(name, 0) + records
    wanted = source_files.source.text_field
    if fields and wanted not in fields:
        names = sorted(fields, key=lambda name: (-fields[name], name))
        near = nearest(wanted, names)
        raise XmodelError(
            f"no record of the source {source_files.source.name} has a field {wanted!r}",
            expected="the field that holds the text",
            found=f"the fields {', '.join(names[:12])}",
            where=source_files.source.uri,
            remedy=f"did you mean text_field: {near}?" if near else "name the right text_field in the source's spec",
        )


def rescan_identity(source: Source, scan: Artifact | Identity, config: LinesConfig) -> Identity | None:
    """A rescan is made of a scan and what counts as boilerplate; a source whose lines are not counted has none."""
    if not repeats_lines(source):
        return None
    return Identity("rescans", source.name, RESCAN_VERSION, config.model_dump(), {"scan": scan.fingerprint})


def remove_lines(
    source_files: SourceFiles,
    scan: Artifact,
    config: CorpusConfig,
    store: Store,
    cluster: Cluster,
    benchmarks: Artifact | None = None,
    models: Artifact | None = None,
) -> SourceScan:
    """The scan with its rescan: <source>-NNNNN.parquet per raw file, the documents that lost lines, measured again."""
    identity = rescan_identity(source_files.source, scan, config.lines)
    if identity is None:
        return SourceScan(source_files, scan, None)
    if done := store.find(identity):
        return SourceScan(source_files, scan, done)
    build = store.build(identity)
    files = scanned_files([SourceScan(source_files, scan, None)])
    if build.finished("lines") is None:
        with write_shard(build.folder, "lines") as shard:
            np.save(shard.file(LINES), repeated_lines(files, config.lines))
    aids = _stored(source_files.source, benchmarks, models)
    tasks = [RescanTask(build.folder, file, config.lines, config.scan, *aids) for file in files]
    missing = [task for task in tasks if build.finished(task.file.name) is None]
    sizes = [float(task.file.scan.bytes) for task in missing]
    cluster.map(rescan, missing, f"remove lines {source_files.source.name}", unit="bytes", sizes=sizes)
    written = [receipt for task in tasks if (receipt := build.finished(task.file.name))]
    done = build.commit(facts={"documents": sum(receipt.facts["documents"] for receipt in written)})
    return SourceScan(source_files, scan, done)


def pairs_identity(
    name: str, scans: Sequence[Artifact | Identity], rescans: Sequence[Artifact | Identity | None]
) -> Identity:
    """Pairs are made of all scans and rescans, in their order."""
    inputs = {f"{part.kind} {part.name}": part.fingerprint for part in (*scans, *rescans) if part}
    order = [scan.name for scan in scans]
    return Identity("pairs", name, PAIRS_VERSION, {"order": order, "least": LEAST_JACCARD}, inputs)


def find_near_pairs(
    name: str, scanned: Sequence[SourceScan], config: ScanConfig, store: Store, cluster: Cluster
) -> Artifact:
    """pairs.parquet: documents of all sources that are alike, and how much."""
    identity = pairs_identity(name, [part.scan for part in scanned], [part.rescan for part in scanned])
    if done := store.find(identity):
        return done
    build = store.build(identity)
    files = tuple(scanned_files(scanned))
    if build.finished("first-copies") is None:
        with write_shard(build.folder, "first-copies") as shard:
            np.save(shard.file(near.FIRST_COPIES), near.first_copies(files))
    keys = near.key_tasks(build.folder, key_names(config), files)
    missing = [task for task in keys if build.finished(task.shard) is None]
    cluster.map(near.meet, missing, "find near copies", "keys", [float(len(task.keys)) for task in missing])
    met = np.unique(np.concatenate([np.load(build.folder.file(f"{task.shard}.npy")) for task in keys]), axis=0)

    begins = first_rows(files)
    documents = np.unique(met)
    tasks = [
        near.ShinglesTask(build.folder, file, documents[(documents >= begin) & (documents < begin + file.rows)] - begin)
        for file, begin in zip(files, begins, strict=False)
    ]
    missing = [task for task in tasks if build.finished(task.shard) is None]
    sizes = [float(len(task.rows)) for task in missing]
    cluster.map(near.write_shingles, missing, "compare near copies", "docs", sizes)
    if build.finished("pairs") is None:
        with write_shard(build.folder, "pairs") as shard:
            pq.write_table(near.alike(met, near.compared(tasks, begins, met)), shard.file("pairs.parquet"))
    for task in (*keys, *tasks):
        build.discard(task.shard)  # as large as the text they are made of
    return build.commit(facts={"compared": len(met), "documents": len(documents)})


def corpus_identity(
    name: str,
    scans: Sequence[Artifact | Identity],
    rescans: Sequence[Artifact | Identity | None],
    sources: Sequence[Source],
    config: CorpusConfig,
) -> Identity:
    """A corpus is made of its scans in their order, what each source admits, and the decisions' settings."""
    decisive = {
        # What the scans and rescans know already is not asked again.
        **config.model_dump(exclude={"scan", "decontaminate", "perplexity", "lines"}),
        "sources": [[source.name, source.lang, source.policy] for source in sources],
    }
    # The pairs follow from the scans and rescans.
    inputs = {"pairs": pairs_identity(name, scans, rescans).fingerprint}
    return Identity("corpus", name, CORPUS_VERSION, decisive, inputs)


def scanned_files(scanned: Sequence[SourceScan]) -> list[ScannedFile]:
    """Every raw file with its scan and rescan, in the order in which copies survive."""
    files = []
    for source_files, once, again in scanned:
        scans, rescans = once.stored(), again.stored() if again else {}
        for index, file in enumerate(source_files.files):
            name = f"{source_files.source.name}-{index:05d}.parquet"
            files.append(ScannedFile(source_files.source, index, file.name, scans[name], rescans.get(name)))
    return files


def _corpus_identity(name: str, scanned: Sequence[SourceScan], config: CorpusConfig) -> Identity:
    sources, scans, rescans = zip(*scanned, strict=True)
    return corpus_identity(name, scans, rescans, [files.source for files in sources], config)


def funnel(
    name: str, scanned: Sequence[SourceScan], pairs: Artifact, config: CorpusConfig
) -> dict[str, list[dict[str, Any]]]:
    """The ledger rows that a corpus would have (document_flow, document_drops); nothing is written."""
    alike = near.read_pairs(pairs, config.near.jaccard_threshold)
    decisions = decide(scanned_files(scanned), alike, config)
    rows = funnel_rows(decisions, _corpus_identity(name, scanned, config).label)
    return {table: rows[table] for table in ("document_flow", "document_drops")}


def build_corpus(
    name: str,
    scanned: Sequence[SourceScan],
    pairs: Artifact,
    config: CorpusConfig,
    store: Store,
    cluster: Cluster,
    benchmarks: Artifact | None = None,
) -> Artifact:
    """The corpus: decisions, dropped, dropped_samples and documents; sources in the order in which copies survive."""
    identity = _corpus_identity(name, scanned, config)
    if done := store.find(identity):
        return done
    build = store.build(identity)
    decisions = decide(scanned_files(scanned), near.read_pairs(pairs, config.near.jaccard_threshold), config)
    _write_decisions(build, decisions, config)
    tasks = _documents_tasks(build, decisions, scanned, config, store)
    missing = [task for task in tasks if build.finished(task.shard) is None]
    sizes = [float(task.file.scan.bytes) for task in missing]
    cluster.map(write_documents, missing, "write documents", unit="bytes", sizes=sizes)
    written = [receipt.facts for task in tasks if (receipt := build.finished(task.shard))]
    masked = masking_rows(written, identity.label)
    rows = funnel_rows(decisions, identity.label)
    for table in ("document_flow", "edits"):
        rows[table] += masked[table]
    if benchmarks:
        index = BenchmarkIndex.load(benchmarks.file(INDEX))
        rows["contamination"] = contamination_rows(decisions, identity.label, index)
    sources = [part.files for part in scanned]
    rows["sources"] = [_source_row(source) for source in sources]
    return build.commit(rows, {"sources": _facts(build, sources)})


def _documents_tasks(
    build: Build, decisions: Decisions, scanned: Sequence[SourceScan], config: CorpusConfig, store: Store
) -> list[DocumentsTask]:
    """One per file; where an earlier corpus of this name made the same documents of the same, they are copied."""
    prints = {files.source.name: [once.fingerprint, again and again.fingerprint] for files, once, again in scanned}
    earlier = {
        (name, receipt.facts["made_of"]): corpus
        for corpus in store.artifacts("corpus", build.identity.name)
        for name, receipt in corpus.receipts().items()
        if "made_of" in receipt.facts
    }
    tasks = []
    for index, file in enumerate(decisions.files):
        made_of = fingerprint(
            [CORPUS_VERSION, *prints[file.source.name], config.mask.model_dump(), decisions.kept_digest(index)]
        )
        task = DocumentsTask(build.folder, file, config.mask.kinds, made_of)
        tasks.append(replace(task, earlier=earlier.get((task.shard, made_of))))
    return tasks


def _write_decisions(build: Build, decisions: Decisions, config: CorpusConfig) -> None:
    for index, file in enumerate(decisions.files):
        shard = f"decisions-{file.name}"
        if build.finished(shard) is None:
            with write_shard(build.folder, shard) as writer:
                write_decisions(writer, decisions, index)
    if build.finished("dropped-samples") is None:
        with write_shard(build.folder, "dropped-samples") as writer:
            write_dropped_samples(writer, decisions, config.dropped_samples_per_reason)


def _facts(build: Build, sources: Sequence[SourceFiles]) -> dict[str, dict[str, Any]]:
    facts = {}
    for source_files in sources:
        source = source_files.source
        receipts = [build.finished(f"documents-{source.name}-{i:05d}") for i in range(len(source_files.files))]
        whole = [receipt for receipt in receipts if receipt is not None]
        assert len(whole) == len(receipts), f"documents of {source.name} are missing"
        facts[source.name] = {
            "documents_digest": fingerprint([[e.path, e.sha256] for receipt in whole for e in receipt.files]),
            "docs": sum(receipt.facts["docs"] for receipt in whole),
            "chars": sum(receipt.facts["chars"] for receipt in whole),
            "lang": source.lang,
            "category": source.category,
        }
    return facts


def _source_row(source_files: SourceFiles) -> dict[str, Any]:
    source = source_files.source
    return {
        "source": source.name,
        "lang": source.lang,
        "category": source.category,
        "license": source.license,
        "uri": source.uri,
        "format": source.format,
        "files": len(source_files.files),
        "bytes": sum(file.bytes for file in source_files.files),
        "published_tokens": source.published_tokens,
        "published_weight": source.published_weight,
        "published_epochs": source.published_epochs,
    }
