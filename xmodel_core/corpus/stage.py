"""The room's doors: raw files of one source → scan; scans of all sources → corpus.

A scan is one shard per raw file. A corpus is decided at once on the scans' columns (every decision
may look at every source), then its documents are written file by file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodel_core.artifacts import Artifact, Build, Identity, Store, fingerprint, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.corpus.config import CorpusConfig, ScanConfig
from xmodel_core.corpus.decide import Decisions, ScannedFile, contamination_rows, decide, ledger_rows
from xmodel_core.corpus.decontaminate import BenchmarkIndex, build_index, counted_files
from xmodel_core.corpus.documents import (
    DocumentsTask,
    masking_rows,
    write_decisions,
    write_documents,
    write_dropped_samples,
)
from xmodel_core.corpus.scan import scan_file
from xmodel_core.errors import XmodelError
from xmodel_core.specs import RawFile, Source, SourceFiles
from xmodel_core.specs.strict import nearest

SCAN_VERSION = 1
CORPUS_VERSION = 1
BENCHMARKS_VERSION = 1
INDEX = "index.npz"


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


def scan_identity(
    source_files: SourceFiles, config: ScanConfig, benchmarks: Artifact | Identity | None = None
) -> Identity:
    """A scan is made of the source's bytes, the scan's settings, and the benchmarks that are looked for."""
    inputs = {"source": source_files.fingerprint}
    if benchmarks:
        inputs["benchmarks"] = benchmarks.fingerprint
    return Identity("scans", source_files.source.name, SCAN_VERSION, config.model_dump(), inputs)


@dataclass(frozen=True)
class _ScanTask:
    folder: Path
    index: int
    source: Source
    file: RawFile
    config: ScanConfig
    benchmarks: Path | None

    @property
    def name(self) -> str:
        return f"{self.source.name}-{self.index:05d}"


def _scan_one(task: _ScanTask) -> None:
    with write_shard(task.folder, task.name) as shard:
        facts = scan_file(task.source, task.file, task.config, shard.file(f"{task.name}.parquet"), task.benchmarks)
        shard.facts.update(facts)


def scan(
    source_files: SourceFiles,
    config: ScanConfig,
    store: Store,
    cluster: Cluster,
    benchmarks: Artifact | None = None,
) -> Artifact:
    """The scan of one source: <source>-NNNNN.parquet per raw file. XmodelError where no record has the text field."""
    identity = scan_identity(source_files, config, benchmarks)
    if done := store.find(identity):
        return done
    build = store.build(identity)
    tasks = [
        _ScanTask(
            build.folder, index, source_files.source, file, config, benchmarks.path / INDEX if benchmarks else None
        )
        for index, file in enumerate(source_files.files)
    ]
    missing = [task for task in tasks if build.finished(task.name) is None]
    label = f"scan {source_files.source.name}"
    cluster.map(_scan_one, missing, label, unit="bytes", sizes=[task.file.bytes for task in missing])
    facts = [receipt.facts for task in tasks if (receipt := build.finished(task.name))]
    _check_text_field(source_files, facts)
    return build.commit(facts={"records": sum(fact["records"] for fact in facts)})


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


def corpus_identity(
    name: str, scans: Sequence[Artifact | Identity], sources: Sequence[Source], config: CorpusConfig
) -> Identity:
    """A corpus is made of its scans in their order, what each source admits, and the decisions' settings."""
    decisive = {
        **config.model_dump(exclude={"scan", "decontaminate"}),  # the scans know both
        "sources": [[source.name, source.lang, source.policy] for source in sources],
    }
    inputs = {source.name: scan.fingerprint for source, scan in zip(sources, scans, strict=True)}
    return Identity("corpus", name, CORPUS_VERSION, decisive, inputs)


def scanned_files(sources: Sequence[SourceFiles], scans: Sequence[Artifact]) -> list[ScannedFile]:
    """Every raw file with its scan, in the order in which copies survive."""
    return [
        ScannedFile(source.source, index, file.name, scan.path / f"{source.source.name}-{index:05d}.parquet")
        for source, scan in zip(sources, scans, strict=True)
        for index, file in enumerate(source.files)
    ]


def funnel(
    name: str, sources: Sequence[SourceFiles], scans: Sequence[Artifact], config: CorpusConfig
) -> dict[str, list[dict[str, Any]]]:
    """The ledger rows that a corpus would have (document_flow, document_drops); nothing is written."""
    identity = corpus_identity(name, scans, [source.source for source in sources], config)
    return ledger_rows(decide(scanned_files(sources, scans), config), identity.label)


def build_corpus(
    name: str,
    sources: Sequence[SourceFiles],
    scans: Sequence[Artifact],
    config: CorpusConfig,
    store: Store,
    cluster: Cluster,
    benchmarks: Artifact | None = None,
) -> Artifact:
    """The corpus: decisions, dropped, dropped_samples and documents; sources in the order in which copies survive."""
    identity = corpus_identity(name, scans, [source.source for source in sources], config)
    if done := store.find(identity):
        return done
    build = store.build(identity)
    files = scanned_files(sources, scans)
    decisions = decide(files, config)
    _write_decisions(build, decisions, config)
    tasks = [DocumentsTask(build.folder, file, config.mask.kinds) for file in files]
    missing = [task for task in tasks if build.finished(task.shard) is None]
    sizes = [float(task.file.scan.stat().st_size) for task in missing]
    cluster.map(write_documents, missing, "write documents", unit="bytes", sizes=sizes)
    written = [receipt.facts for task in tasks if (receipt := build.finished(task.shard))]
    masked = masking_rows(written, identity.label)
    rows = ledger_rows(decisions, identity.label)
    rows["document_flow"] += masked["document_flow"]
    if benchmarks:
        index = BenchmarkIndex.load(benchmarks.path / INDEX)
        rows["contamination"] = contamination_rows(decisions, identity.label, index)
    rows |= {"edits": masked["edits"], "sources": [_source_row(source) for source in sources]}
    return build.commit(rows, {"sources": _facts(build, sources)})


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
