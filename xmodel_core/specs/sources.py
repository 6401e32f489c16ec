"""Sources: where documents come from, in which format, in which language, under which licence.

Takes `datasets_spec/sources/*.yaml` or a user's file; gives `Source` values, and the files of one with their digests.
A source's fingerprint covers only what changes bytes: its name, format, fields, language and policy, and its files'
relative names, sizes and contents.
"""

import glob
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from xmodel_core.artifacts import Artifact, fingerprint, remote
from xmodel_core.errors import MissingInput, XmodelError
from xmodel_core.specs.strict import Strict, nearest, read_yaml, validate

DATASETS_SPEC = Path(__file__).resolve().parents[2] / "datasets_spec"
RAW_SCHEME = "raw://"
SUFFIXES = {
    "jsonl": (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json"),
    "parquet": (".parquet",),
    "warc": (".warc", ".warc.gz", ".wet", ".wet.gz"),
    "html": (".html", ".html.gz", ".htm", ".htm.gz", ".xhtml", ".xhtml.gz"),
    "text": (".txt", ".txt.gz", ".md", ".md.gz"),
}


class Source(Strict):
    """One source of documents."""

    name: str
    """Its name in mixtures, the ledger and document keys."""
    lang: Literal["zh", "en", "code", "multi"]
    """The declared language; `multi` declares nothing."""
    category: str
    """web, book, academic, code, math, social, encyclopedia, news, law, sft …"""
    license: str
    """The licence of the text, as its publisher states it."""
    uri: str
    """Where the files are: a path or glob, relative to the spec's file; s3://… or hf://datasets/OWNER/NAME/…, read
    remotely; raw://… for what a recipe makes itself."""
    format: Literal["jsonl", "parquet", "warc", "html", "text"] = "jsonl"
    """The files' format; all but parquet may be packed. warc: WARC and WET; html and text: a file is a document."""
    records: Literal["text", "alpaca", "sharegpt"] = "text"
    """What a record is: a document's text, or instruction data that becomes text: alpaca (instruction, input, output)
    or sharegpt (turns, perhaps tools)."""
    text_field: str = "text"
    """The field that holds a document's text; of alpaca the answer (default `output`), of sharegpt the turns (default
    `conversations`)."""
    id_field: str | None = "id"
    """The field that holds a document's id; null: documents are named file:row."""
    policy: Literal["prose", "code"] = "prose"
    """Which quality rules apply."""
    gated: bool | None = None
    """Whether the publisher asks for an account's consent before a download; null: not stated."""
    published_tokens: int | None = None
    """Tokens, as published by the source's report."""
    published_weight: float | None = None
    """Share of training tokens, as published by the report."""
    published_epochs: float | None = None
    """Epochs, as published by the report."""

    @model_validator(mode="before")
    @classmethod
    def _text_field_of_its_records(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("records") in ("alpaca", "sharegpt"):
            return {"text_field": "output" if data["records"] == "alpaca" else "conversations", **data}
        return data


class SourceFamily(Strict):
    """One file of sources."""

    description: str = ""
    """What the family is, in a line."""
    sources: list[Source]
    """The sources; of two copies of a document the one from the earlier source survives."""


@dataclass(frozen=True)
class RawFile:
    """One raw file. `name`: relative to the source's folder, the same on every machine. `address`: a path, or an
    address on an object store or hub. `digest`: its SHA-256."""

    name: str
    address: str
    bytes: int
    digest: str


@dataclass(frozen=True)
class SourceFiles:
    """A source and its files, in name order."""

    source: Source
    files: tuple[RawFile, ...]

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits over what changes bytes: not licence, consent, category, published figures or places."""
        spec = self.source.model_dump(include={"name", "format", "text_field", "id_field", "lang", "policy"})
        if self.source.records != "text":
            spec["records"] = self.source.records
        return fingerprint([spec, [[file.name, file.bytes, file.digest] for file in self.files]])


def named_spec(kind: str, name: str, beside: Path) -> Path:
    """The file of a spec: `name.yaml` of datasets_spec, or a path relative to `beside`. XmodelError: no such name."""
    if name.endswith((".yaml", ".yml")):
        return (beside / name).resolve()
    path = DATASETS_SPEC / kind / f"{name}.yaml"
    if not path.exists():
        names = sorted(p.stem for p in (DATASETS_SPEC / kind).glob("*.yaml"))
        near = nearest(name, names)
        raise XmodelError(
            f"there is no {kind.rstrip('s')} spec named {name}",
            expected=f"one of {', '.join(names)}, or the path of a .yaml file",
            where=DATASETS_SPEC.name + "/" + kind,
            remedy=f"did you mean {near}?" if near else "check the name",
        )
    return path


def load_sources(names: list[str], beside: Path) -> list[Source]:
    """The sources of several families in order, paths made absolute; each name once."""
    sources: dict[str, Source] = {}
    for name in names:
        path = named_spec("sources", name, beside)
        for source in validate(SourceFamily, read_yaml(path), path).sources:
            if source.name in sources:
                raise XmodelError(f"the source {source.name} is declared twice", where=path, remedy="rename one")
            if "://" not in source.uri:
                source = source.model_copy(update={"uri": str(path.parent / source.uri)})
            sources[source.name] = source
    return list(sources.values())


Digest = Callable[[Any], str]
"""SHA-256 of a file: a path of this machine, or a `RemoteFile`."""


def _matches(uri: str, suffixes: tuple[str, ...]) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files."""
    path = Path(uri)
    if path.is_dir():
        return path, sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(suffixes))
    if path.is_file():
        return path.parent, [path]
    folder = Path(_folder_of_glob(uri))
    return folder, sorted(Path(p) for p in glob.iglob(uri, recursive=True) if Path(p).is_file())  # noqa: PTH207 - an absolute glob


def _folder_of_glob(uri: str) -> str:
    """The folder above the first path component with a *, ? or [ in it."""
    return posixpath.dirname(uri.split("*")[0].split("?")[0].split("[")[0])


def _remote_matches(uri: str, suffixes: tuple[str, ...]) -> tuple[str, list[remote.RemoteFile]]:
    """The same on an object store or hub."""
    if glob.has_magic(uri):
        return _folder_of_glob(uri), remote.list_glob(uri)
    if file := remote.stat(uri):
        return uri.rpartition("/")[0], [file]
    return uri, [file for file in remote.list_below(uri) if file.address.endswith(suffixes)]


def place_of(source: Source, raw: Artifact | None) -> str:
    """The address of a source's files. `raw`: the artifact that the recipe makes itself, for raw://… sources."""
    if not source.uri.startswith(RAW_SCHEME):
        return source.uri
    assert raw is not None, f"{source.name} is in a raw artifact and none is given"
    return f"{raw.folder}/{source.uri.removeprefix(RAW_SCHEME)}"


def resolve(source: Source, digest: Digest, raw: Artifact | None = None) -> SourceFiles:
    """The files of a source, on this machine or on an object store or hub.

    MissingInput: an address that cannot be read from, a missing path, or no file of the format. XmodelError: an
    object store or hub that refuses access.
    """
    uri, suffixes = place_of(source, raw), SUFFIXES[source.format]
    if "://" in uri and not remote.is_remote(uri):
        raise MissingInput(
            f"the source {source.name} is declared but not available",
            expected="a folder or glob on this machine, s3://… or hf://…",
            found=uri,
            remedy="give the folder of a copy as the uri, or leave it out of the recipe's sources",
        )
    if remote.is_remote(uri):
        uri = uri.rstrip("/")
        folder, listed = _remote_matches(uri, suffixes)
        files = tuple(
            RawFile(file.address.removeprefix(f"{folder}/"), file.address, file.bytes, digest(file)) for file in listed
        )
        missing = not glob.has_magic(uri)
    else:
        here, paths = _matches(uri, suffixes)
        files = tuple(RawFile(p.relative_to(here).as_posix(), str(p), p.stat().st_size, digest(p)) for p in paths)
        missing = not here.exists() or not (glob.has_magic(uri) or Path(uri).exists())
    if not files:
        raise MissingInput(
            f"the source {source.name} has no files",
            expected=f"{source.format} files ({', '.join(suffixes)})",
            found="no such path" if missing else "none that match",
            where=uri,
            remedy="check `uri` in the source's spec",
        )
    return SourceFiles(source, files)
