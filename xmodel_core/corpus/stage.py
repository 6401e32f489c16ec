"""The stages of the corpus room, in order; for each its identity and its entry point.

| stage | takes | gives |
|---|---|---|
| `index_benchmarks`, `keep_models` | benchmark files, n-gram models | the references that texts are compared with |
| `scan` | raw files of one source | text, features and signature of every document |
| `remove_lines` | a scan | the documents that lost boilerplate lines, measured again |
| `find_near_pairs` | all scans | pairs of similar documents |
| `build_corpus` (`funnel`: decisions alone) | all scans, pairs | decisions, kept documents, samples of the dropped |

An entry point finds the finished artifact, or opens a build, calls the stage's work in the room next to it, and
commits. Scans and rescans are one shard per raw file; pairs and decisions are computed on the columns of all sources
at once, then documents are written file by file.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xmodel_core.artifacts import Artifact, Build, Identity, Store, fingerprint, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.corpus.boilerplate.rescan import counts_lines, rescan_source
from xmodel_core.corpus.config import LEAST_JACCARD, CorpusConfig, LinesConfig, PerplexityConfig, ScanConfig
from xmodel_core.corpus.contamination.benchmark_index import BenchmarkIndex, build_index
from xmodel_core.corpus.contamination.benchmark_items import counted_files
from xmodel_core.corpus.copies.near import read_pairs, write_pairs
from xmodel_core.corpus.decide.decisions import decide
from xmodel_core.corpus.decide.ledger_rows import contamination_rows, funnel_rows
from xmodel_core.corpus.measure.perplexity import NgramModels, require_kenlm
from xmodel_core.corpus.measure.scan_task import scan_source
from xmodel_core.corpus.measure.scanned import ScannedFile
from xmodel_core.corpus.references import INDEX, MODEL_SUFFIX, References
from xmodel_core.corpus.write.decisions import write_all_decisions
from xmodel_core.corpus.write.documents import documents_tasks, write_all_documents
from xmodel_core.corpus.write.masked import masking_rows
from xmodel_core.specs import Source, SourceFiles
from xmodel_core.specs.listing import readable_name

SCAN_VERSION = 4
RESCAN_VERSION = 2
PAIRS_VERSION = 1
CORPUS_VERSION = 5
BENCHMARKS_VERSION = 2
MODELS_VERSION = 1
NO_REFERENCES = References()


class SourceScan(NamedTuple):
    """A source's files as the next stages see them."""

    files: SourceFiles
    scan: Artifact
    rescan: Artifact | None


def benchmarks_identity(name: str, folder: Path, evaluated: Mapping[str, set[str]], store: Store) -> Identity:
    """An index depends on the benchmark files that count."""
    files = [path for paths in counted_files(folder, evaluated).values() for path in paths]
    names = [path.relative_to(folder).as_posix() for path in files]
    inputs = dict(zip(names, store.digests.of(files), strict=True))
    return Identity("benchmarks", name, BENCHMARKS_VERSION, {}, inputs)


def index_benchmarks(name: str, folder: Path, evaluated: Mapping[str, set[str]], store: Store) -> Artifact:
    """index.npz: the passages of the benchmarks in a folder; `evaluated` names splits that count beside the usual."""
    identity = benchmarks_identity(name, folder, evaluated, store)
    if finished := store.find(identity):
        return finished
    build = store.build(identity)
    index = build_index(folder, evaluated)
    if build.finished("index") is None:
        with write_shard(build.folder, "index") as shard:
            index.save(shard.file(INDEX))
    return build.commit(facts={"benchmarks": list(index.benchmarks), "items": int(index.first_items[-1])})


def models_identity(name: str, config: PerplexityConfig, store: Store) -> Identity:
    """Models depend on the contents of their files, not on paths. XmodelError: a file is missing."""
    digests = {lang: store.digest(path) for lang, path in config.files().items()}
    return Identity("perplexity-models", name, MODELS_VERSION, {}, digests)


def keep_models(name: str, config: PerplexityConfig, store: Store) -> Artifact:
    """<language>.kenlm: copies of the n-gram models, so that every worker finds them and they stay what they were
    when texts were measured.

    XmodelError: a model is missing or cannot be read, or the package that reads it is not installed."""
    require_kenlm()
    identity = models_identity(name, config, store)
    if finished := store.find(identity):
        return finished
    files = config.files()
    NgramModels(files)  # a model that cannot be read fails here, not after hours of work
    build = store.build(identity)
    for lang, path in files.items():
        if build.finished(lang) is None:
            with write_shard(build.folder, lang) as shard:
                shutil.copyfile(path, shard.file(f"{lang}{MODEL_SUFFIX}"))
    return build.commit(facts={lang: path.name for lang, path in files.items()})


def scan_identity(source_files: SourceFiles, config: ScanConfig, references: References = NO_REFERENCES) -> Identity:
    """A scan depends on the source's bytes, the scan's settings and the references its texts are compared with."""
    inputs = {"source": source_files.fingerprint, **references.fingerprints(source_files.source)}
    return Identity("scans", source_files.source.name, SCAN_VERSION, config.model_dump(by_alias=True), inputs)


def scan(
    source_files: SourceFiles,
    config: ScanConfig,
    store: Store,
    cluster: Cluster,
    references: References = NO_REFERENCES,
) -> Artifact:
    """The scan of one source: <source>-NNNNN.parquet per raw file. XmodelError: no record has the text field."""
    identity = scan_identity(source_files, config, references)
    if finished := store.find(identity):
        return finished
    build = store.build(identity)
    records = scan_source(build, source_files, config, references.files(source_files.source), cluster)
    return build.commit(facts={"records": records})


def rescan_identity(source: Source, scan: Artifact | Identity, config: LinesConfig) -> Identity | None:
    """A rescan depends on a scan and what counts as boilerplate; None for a source whose lines are not counted."""
    if not counts_lines(source):
        return None
    return Identity("rescans", source.name, RESCAN_VERSION, config.model_dump(), {"scan": scan.fingerprint})


def remove_lines(
    source_files: SourceFiles,
    scan: Artifact,
    config: CorpusConfig,
    store: Store,
    cluster: Cluster,
    references: References = NO_REFERENCES,
) -> SourceScan:
    """The scan with its rescan: <source>-NNNNN.parquet per raw file, the documents that lost lines, measured again."""
    identity = rescan_identity(source_files.source, scan, config.lines)
    if identity is None:
        return SourceScan(source_files, scan, None)
    if finished := store.find(identity):
        return SourceScan(source_files, scan, finished)
    build = store.build(identity)
    files = scanned_files([SourceScan(source_files, scan, None)])
    documents = rescan_source(build, files, config, references.files(source_files.source), cluster)
    return SourceScan(source_files, scan, build.commit(facts={"documents": documents}))


def scanned_files(scanned: Sequence[SourceScan]) -> list[ScannedFile]:
    """Every raw file with its scan and rescan, in the order in which copies survive."""
    files = []
    for source_files, scan, rescan in scanned:
        scans, rescans = scan.stored(), rescan.stored() if rescan else {}
        for index, file in enumerate(source_files.files):
            name = f"{source_files.source.name}-{index:05d}.parquet"
            files.append(
                ScannedFile(source_files.source, index, readable_name(file.name), scans[name], rescans.get(name))
            )
    return files


def pairs_identity(
    name: str, scans: Sequence[Artifact | Identity], rescans: Sequence[Artifact | Identity | None]
) -> Identity:
    """Pairs depend on all scans and rescans, in their order."""
    inputs = {f"{part.kind} {part.name}": part.fingerprint for part in (*scans, *rescans) if part}
    order = [scan.name for scan in scans]
    return Identity("pairs", name, PAIRS_VERSION, {"order": order, "least": LEAST_JACCARD}, inputs)


def find_near_pairs(
    name: str, scanned: Sequence[SourceScan], config: ScanConfig, store: Store, cluster: Cluster
) -> Artifact:
    """pairs.parquet: similar documents of all sources, and their Jaccard similarity."""
    identity = pairs_identity(name, [part.scan for part in scanned], [part.rescan for part in scanned])
    if finished := store.find(identity):
        return finished
    build = store.build(identity)
    try:
        facts = write_pairs(build, tuple(scanned_files(scanned)), config, cluster)
    except Exception:
        # A builder that completes the artifact removes what another may still be reading: that one takes the artifact.
        if finished := build.completed_by_another():
            return finished
        raise
    return build.commit(facts=facts)


def corpus_identity(
    name: str,
    scans: Sequence[Artifact | Identity],
    rescans: Sequence[Artifact | Identity | None],
    sources: Sequence[Source],
    config: CorpusConfig,
) -> Identity:
    """A corpus depends on its scans in their order, the languages each source admits, and the decisions' settings."""
    decisive = {
        # These settings are in the identities of the scans and rescans.
        **config.model_dump(exclude={"scan", "decontaminate", "perplexity", "lines"}),
        "sources": [[source.name, source.lang, source.policy] for source in sources],
    }
    # The pairs follow from the scans and rescans.
    inputs = {"pairs": pairs_identity(name, scans, rescans).fingerprint}
    return Identity("corpus", name, CORPUS_VERSION, decisive, inputs)


def _corpus_identity(name: str, scanned: Sequence[SourceScan], config: CorpusConfig) -> Identity:
    sources, scans, rescans = zip(*scanned, strict=True)
    return corpus_identity(name, scans, rescans, [files.source for files in sources], config)


def funnel(
    name: str, scanned: Sequence[SourceScan], pairs: Artifact, config: CorpusConfig
) -> dict[str, list[dict[str, Any]]]:
    """The ledger rows that a corpus would have (document_flow, document_drops); nothing is written."""
    decisions = decide(scanned_files(scanned), read_pairs(pairs, config.near.jaccard_threshold), config)
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
    if finished := store.find(identity):
        return finished
    build = store.build(identity)
    decisions = decide(scanned_files(scanned), read_pairs(pairs, config.near.jaccard_threshold), config)
    write_all_decisions(build, decisions, config.dropped_samples_per_reason)
    scans = {
        files.source.name: [scan.fingerprint, rescan.fingerprint if rescan else None] for files, scan, rescan in scanned
    }
    tasks = documents_tasks(build, decisions, scans, config.mask, store)
    masked = masking_rows(write_all_documents(build, tasks, cluster), identity.label)
    rows = funnel_rows(decisions, identity.label)
    for table in ("document_flow", "edits"):
        rows[table] += masked[table]
    if benchmarks:
        index = BenchmarkIndex.load(benchmarks.file(INDEX))
        rows["contamination"] = contamination_rows(decisions, identity.label, index)
    rows["sources"] = [_source_row(part.files) for part in scanned]
    return build.commit(rows, {"sources": {part.files.source.name: _facts(build, part.files) for part in scanned}})


def _facts(build: Build, source_files: SourceFiles) -> dict[str, Any]:
    """What the manifest says of one source's kept documents."""
    source = source_files.source
    shards = [f"documents-{source.name}-{index:05d}" for index in range(len(source_files.files))]
    receipts = [receipt for shard in shards if (receipt := build.finished(shard))]
    assert len(receipts) == len(shards), f"documents of {source.name} are missing"
    return {
        "documents_digest": fingerprint([[e.path, e.sha256] for receipt in receipts for e in receipt.files]),
        "docs": sum(receipt.facts["docs"] for receipt in receipts),
        "chars": sum(receipt.facts["chars"] for receipt in receipts),
        "lang": source.lang,
        "category": source.category,
    }


def _source_row(source_files: SourceFiles) -> dict[str, Any]:
    """The source's row of the ledger's table `sources`."""
    source = source_files.source
    return {
        "source": source.name,
        "lang": source.lang,
        "category": source.category,
        "license": source.license,
        "uri": readable_name(source.uri),
        "format": source.format,
        "files": len(source_files.files),
        "bytes": sum(file.bytes for file in source_files.files),
        "published_tokens": source.published_tokens,
        "published_weight": source.published_weight,
        "published_epochs": source.published_epochs,
    }
