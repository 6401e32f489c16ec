"""The scan of one source on the cluster: one task and one shard per raw file.

Takes the source's raw files and the references that its texts are compared with; gives <source>-NNNNN.parquet in the
build's folder, and the number of records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xmodel_core.artifacts import Build, Folder, finished_shard, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.measure.scan import load_index, load_models, scan_file
from xmodel_core.corpus.references import ReferenceFiles
from xmodel_core.errors import XmodelError
from xmodel_core.specs import RawFile, Source, SourceFiles
from xmodel_core.specs.strict import nearest


@dataclass(frozen=True)
class ScanTask:
    """One raw file to scan."""

    folder: Folder
    index: int
    source: Source
    file: RawFile
    config: ScanConfig
    references: ReferenceFiles

    @property
    def name(self) -> str:
        return f"{self.source.name}-{self.index:05d}"


def run_scan_task(task: ScanTask) -> None:
    """Writes <source>-NNNNN.parquet with its receipt."""
    if finished_shard(task.folder, task.name):
        return
    with write_shard(task.folder, task.name) as shard:
        target = shard.file(f"{task.name}.parquet")
        index, models = load_index(task.references.benchmarks), load_models(task.references.models)
        shard.facts.update(scan_file(task.source, task.file, task.config, target, index, models))


def scan_source(
    build: Build, source_files: SourceFiles, config: ScanConfig, references: ReferenceFiles, cluster: Cluster
) -> int:
    """Scans the files that have no receipt yet; the number of records of all files.

    XmodelError: no record has the source's text field."""
    source = source_files.source
    tasks = [
        ScanTask(build.folder, index, source, file, config, references) for index, file in enumerate(source_files.files)
    ]
    missing = [task for task in tasks if build.finished(task.name) is None]
    sizes = [task.file.bytes for task in missing]
    cluster.map(run_scan_task, missing, f"scan {source.name}", unit="bytes", sizes=sizes)
    facts = [receipt.facts for task in tasks if (receipt := build.finished(task.name))]
    check_text_field(source, facts)
    return sum(fact["records"] for fact in facts)


def check_text_field(source: Source, facts: Sequence[Mapping[str, Any]]) -> None:
    """A field name that no record has is a mistake in the spec, not a thousand unreadable documents.

    XmodelError: there are records with named fields, and none has the source's text field."""
    fields: dict[str, int] = {}
    for fact in facts:
        for name, records in fact["fields"].items():
            fields[name] = fields.get(name, 0) + records
    wanted = source.text_field
    if fields and wanted not in fields:
        names = sorted(fields, key=lambda name: (-fields[name], name))
        suggestion = nearest(wanted, names)
        raise XmodelError(
            f"no record of the source {source.name} has a field {wanted!r}",
            expected="the field that holds the text",
            found=f"the fields {', '.join(names[:12])}",
            where=source.uri,
            remedy=f"did you mean text_field: {suggestion}?"
            if suggestion
            else "name the right text_field in the source's spec",
        )
