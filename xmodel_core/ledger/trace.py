"""Traces one document: from its decision through its tokens to the training steps that consumed it.

Takes `[SOURCE:]ID`; gives one plain dict per match in any corpus of the workspace. Nothing is stored for this:
decisions and documents are Parquet files that DuckDB reads in place, row n of a documents file is entry n of the index
with the same number, and the order of consumption is computed by a function that the caller passes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from xmodel_core.artifacts import Artifact, Place, Store
from xmodel_core.errors import XmodelError

StepsOf = Callable[[Artifact, int, int], list[dict[str, Any]]]
"""(token shards, start, end) -> the training steps that consumed these train tokens; offsets count over all of the
source's train shards in order, end excluded."""


def _rows(
    connection: duckdb.DuckDBPyConnection, files: list[Path], where: str, values: list[str]
) -> list[dict[str, Any]]:
    """The matching rows of some Parquet files, with their file and row number."""
    if not files:
        return []
    try:
        result = connection.execute(
            f"select * from read_parquet($1, filename = true, file_row_number = true, union_by_name = true) "
            f"where {where} order by filename, file_row_number",
            [[str(path) for path in files], *values],
        )
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise XmodelError(
            "a file of the corpus cannot be read",
            expected="the Parquet files that `xdata-build` wrote",
            found=str(error).splitlines()[0],
            where=files[0].parent,
            remedy="`xmodel audit` names the damaged file and what to delete",
        ) from None


def _span(index: Path, row: int) -> tuple[int, int]:
    """Start and end, in tokens, of document `row` inside its shard."""
    ends = np.memmap(index, dtype="<u8", mode="r") if index.stat().st_size else np.empty(0, "<u8")
    if row >= len(ends):
        return 0, 0
    return int(ends[row - 1]) if row else 0, int(ends[row])


def _tokens_before(shards: Artifact, shard: str) -> int:
    """Train tokens of all shards before this one."""
    before = 0
    for index in shards.files("documents-*.index").values():
        if index.stem == shard:
            break
        if index.stat().st_size:
            before += int(np.memmap(index, dtype="<u8", mode="r")[-1])
    return before


def _encodings(
    store: Store, source: str, digest: str | None, number: str, row: int, steps_of: StepsOf | None
) -> list[dict[str, Any]]:
    """The tokens of a kept document in each tokenizer's shards of these documents."""
    encodings = []
    for shards in store.artifacts("shards", source):
        facts = shards.manifest()["facts"]
        if digest is None or facts.get("documents_digest") != digest:
            continue
        stored = shards.stored()
        for part in ("documents", "validation"):
            shard = f"{part}-{number}"
            if f"{shard}.index" not in stored:
                continue
            start, end = _span(shards.file(f"{shard}.index"), row)
            if end == start:
                continue  # it is in the other part
            held_out = part == "validation"
            place: dict[str, Any] = {
                "shards": shards.label,
                "tokenizer": facts.get("tokenizer"),
                "shard": shard,
                "start": start,
                "end": end,
                "held_out": held_out,
                "steps": [],
            }
            if steps_of is not None and not held_out:
                before = _tokens_before(shards, shard)
                place["steps"] = steps_of(shards, before + start, before + end)
            encodings.append(place)
    return encodings


def trace(workspace: Place, document: str, steps_of: StepsOf | None = None) -> list[dict[str, Any]]:
    """Every match of `[SOURCE:]ID` in every corpus: `corpus`, `source`, `id`, `kept`, `decision` (stage, reason, and
    the document that was kept instead), `document` (lang, raw_file, raw_row, url … of a kept one, and its `file` and
    `row`) and `tokens` (per token shards: shard, start, end, held_out, steps).

    XmodelError: no corpus yet, or no such document.
    """
    store = Store(workspace)
    corpora = store.artifacts("corpus")
    if not corpora:
        raise XmodelError("there is no corpus yet", where=store.root, remedy="`xmodel xdata-build` builds one")
    source, colon, rest = document.partition(":")
    # An id may contain a colon, so the whole text is tried as an id too.
    where, values = (
        ("id = $2 or (source = $3 and id = $4)", [document, source, rest]) if colon else ("id = $2", [document])
    )
    matches: list[dict[str, Any]] = []
    with duckdb.connect() as connection:
        for corpus in corpora:
            digests = {
                name: facts.get("documents_digest")
                for name, facts in corpus.manifest()["facts"].get("sources", {}).items()
            }
            for decision in _rows(connection, list(corpus.files("decisions/*.parquet").values()), where, values):
                name = Path(decision["filename"]).name
                match: dict[str, Any] = {
                    "corpus": corpus.label,
                    **{key: decision[key] for key in ("source", "id", "kept")},
                    "decision": {k: decision.get(k) for k in ("stage", "reason", "kept_source", "kept_id")},
                    "document": None,
                    "tokens": [],
                }
                # A key (source, id) is unique in a corpus, and a document stays in the file of its raw file's number.
                kept = _rows(
                    connection,
                    [path for path in [corpus.folder.file(f"documents/{name}")] if decision["kept"] and path.exists()],
                    "source = $2 and id = $3",
                    [decision["source"], decision["id"]],
                )
                for row in kept:
                    number = row.pop("file_row_number")
                    del row["filename"]
                    match["document"] = {**row, "file": f"corpus/{corpus.label}/documents/{name}", "row": number}
                    match["tokens"] = _encodings(
                        store,
                        decision["source"],
                        digests.get(decision["source"]),
                        Path(name).stem.rpartition("-")[2],
                        number,
                        steps_of,
                    )
                matches.append(match)
    if not matches:
        raise XmodelError(
            f"no document {document}",
            expected="[SOURCE:]ID as in the decisions; without an id field the id is file:row",
            found=f"no match in {len(corpora)} corpora: {', '.join(corpus.label for corpus in corpora)}",
            where=store.root,
            remedy='a few ids: xmodel ledger "select source, id from '
            f"read_parquet('{corpora[-1].folder}/decisions/*.parquet') limit 5\"",
        )
    return matches
