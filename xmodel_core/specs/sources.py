"""Sources: where documents come from, in which format, in which language, under which licence.

Takes `datasets_spec/sources/*.yaml` or a user's file; gives `Source` values, and the files of one with their digests.
A source's fingerprint covers only what changes bytes: its name, format, fields, language and policy, and its files'
relative names, sizes and contents.
"""

import glob
import posixpath
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from xmodel_core.artifacts import Artifact, fingerprint, remote
from xmodel_core.errors import MissingInput, XmodelError
from xmodel_core.specs.listing import list_files, readable_name
from xmodel_core.specs.plain_yaml import read_yaml, real_path
from xmodel_core.specs.strict import Strict, nearest, validate

DATASETS_SPEC = Path(__file__).resolve().parents[2] / "datasets_spec"
RAW_SCHEME = "raw://"
SUFFIXES = {
    "jsonl": (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json"),
    "parquet": (".parquet",),
    "warc": (".warc", ".warc.gz", ".wet", ".wet.gz"),
    "html": (".html", ".html.gz", ".htm", ".htm.gz", ".xhtml", ".xhtml.gz"),
    "text": (".txt", ".txt.gz", ".md", ".md.gz"),
}


LONGEST_NAME_BYTES = 180
"""Of 255 that a file's name may have; shards and what is written aside add to it."""
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029/\\:#~*?\[\]<>|\"]")


def _usable_name(name: str) -> str:
    """A name that can be part of a file's name, of a document's key (source:id#file:row) and of a mixture's."""
    if not name:
        raise ValueError("a name must not be empty")
    if wrong := _NOT_IN_NAMES.search(name):
        raise ValueError(f"a name must not hold {wrong.group()!r}: files, document keys and mixtures carry it")
    if name != name.strip() or name[0] == "." or name[-1] == ".":
        raise ValueError("a name must not begin or end with a blank or a full stop: files carry it")
    if len(name.encode()) > LONGEST_NAME_BYTES:
        raise ValueError(f"a name must not be longer than {LONGEST_NAME_BYTES} bytes: files carry it")
    return name


Name = Annotated[str, AfterValidator(_usable_name)]
"""A source's name, or a category's: what artifacts and mixtures carry."""


class Source(Strict):
    """One source of documents."""

    name: Name
    """Its name in mixtures, the ledger and document keys."""
    lang: Literal["zh", "en", "code", "multi"]
    """The declared language; `multi` declares nothing."""
    category: Name
    """web, book, academic, code, math, social, encyclopedia, news, law, sft …"""
    license: str
    """The licence of the text, as its publisher states it."""
    uri: str = Field(min_length=1)
    """Where the files are: a path or glob, relative to the spec's file; s3://… or hf://datasets/OWNER/NAME/…, read
    remotely; raw://… for what a recipe makes itself."""
    format: Literal["jsonl", "parquet", "warc", "html", "text"] = "jsonl"
    """The files' format; all but parquet may be packed. warc: WARC and WET; html and text: a file is a document."""
    records: Literal["text", "alpaca", "sharegpt"] = "text"
    """What a record is: a document's text, or instruction data that becomes text: alpaca (instruction, input, output)
    or sharegpt (turns, perhaps tools)."""
    text_field: str = Field(default="text", min_length=1)
    """The field that holds a document's text; of alpaca the answer (default `output`), of sharegpt the turns (default
    `conversations`)."""
    id_field: str | None = Field(default="id", min_length=1)
    """The field that holds a document's id; null: documents are named file:row."""
    policy: Literal["prose", "code"] = "prose"
    """Which quality rules apply."""
    gated: bool | None = None
    """Whether the publisher asks for an account's consent before a download; null: not stated."""
    published_tokens: int | None = Field(default=None, ge=0)
    """Tokens, as published by the source's report."""
    published_weight: float | None = Field(default=None, ge=0)
    """Share of training tokens, as published by the report."""
    published_epochs: float | None = Field(default=None, ge=0)
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
    left_out: tuple[str, ...] = ()
    """A line for each link to nothing or folder that could not be opened."""

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits over what changes bytes: not licence, consent, category, published figures or places."""
        spec = self.source.model_dump(include={"name", "format", "text_field", "id_field", "lang", "policy"})
        if self.source.records != "text":
            spec["records"] = self.source.records
        return fingerprint([spec, [[readable_name(file.name), file.bytes, file.digest] for file in self.files]])


def named_spec(kind: str, name: str, beside: Path) -> Path:
    """The file of a spec: `name.yaml` of datasets_spec, or a path relative to `beside`. XmodelError: no such name."""
    if name.endswith((".yaml", ".yml")):
        return real_path(beside / name)
    path = DATASETS_SPEC / kind / f"{name}.yaml"
    if len(name.encode()) > LONGEST_NAME_BYTES or not path.exists():
        names = sorted(p.stem for p in (DATASETS_SPEC / kind).glob("*.yaml"))
        near = nearest(name, names)
        raise XmodelError(
            f"there is no {kind.rstrip('s')} spec named {name[:80]}",
            expected=f"one of {', '.join(names)}, or the path of a .yaml file",
            where=DATASETS_SPEC.name + "/" + kind,
            remedy=f"did you mean {near}?" if near else "check the name",
        )
    return path


def folder_name(name: str) -> str:
    """A name as a disk that ignores case, and how letters are composed, sees it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def load_sources(names: list[str], beside: Path) -> list[Source]:
    """The sources of several families in order, paths made absolute; each name once."""
    sources: dict[str, Source] = {}
    folders: dict[str, str] = {}  # the name as a disk that ignores case sees it → as it was written
    for name in names:
        path = named_spec("sources", name, beside)
        for source in validate(SourceFamily, read_yaml(path), path).sources:
            other = folders.setdefault(folder_name(source.name), source.name)
            if source.name in sources:
                raise XmodelError(f"the source {source.name} is declared twice", where=path, remedy="rename one")
            if other != source.name:
                raise XmodelError(
                    f"the sources {other} and {source.name} differ only in case",
                    expected="names that are different folders on every disk",
                    where=path,
                    remedy="rename one",
                )
            if "://" not in source.uri:
                source = source.model_copy(update={"uri": str(path.parent / source.uri)})
            sources[source.name] = source
    return list(sources.values())


Digest = Callable[..., str]
"""SHA-256 of a file: a path of this machine, and where a source lies elsewhere a `RemoteFile`, too."""
DigestAll = Callable[[Sequence[Path | remote.RemoteFile]], Sequence[str]]
"""The same of many files at once, in their order."""


@dataclass(frozen=True)
class ListedSource:
    """A source's files before they are read, in name order."""

    source: Source
    files: tuple[tuple[str, Path | remote.RemoteFile, int], ...]
    """(name relative to the source's folder, the file, bytes)."""
    hidden: int = 0
    """Files and folders passed over because their names start with a dot."""
    left_out: tuple[str, ...] = ()
    """A line for each link to nothing or folder that could not be opened."""

    @property
    def bytes(self) -> int:
        """Of all files, as they lie on disk."""
        return sum(size for *_, size in self.files)


def _folder_of_glob(uri: str) -> str:
    """The folder above the first path component with a *, ? or [ in it."""
    return posixpath.dirname(uri.split("*")[0].split("?")[0].split("[")[0])


def _remote_matches(uri: str) -> tuple[str, list[remote.RemoteFile]]:
    """The folder that names are relative to, and the files, on an object store or hub."""
    if not {"*", "?"} & set(uri):  # brackets may be the name's own
        if file := remote.stat(uri):
            return uri.rpartition("/")[0], [file]
        if (listed := remote.list_below(uri)) or "[" not in uri:
            return uri, listed
    return _folder_of_glob(uri), remote.list_glob(uri)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def place_of(source: Source, raw: Artifact | None) -> str:
    """The address of a source's files. `raw`: the artifact that the recipe makes itself, for raw://… sources."""
    if not source.uri.startswith(RAW_SCHEME):
        return source.uri
    assert raw is not None, f"{source.name} is in a raw artifact and none is given"
    return f"{raw.folder}/{source.uri.removeprefix(RAW_SCHEME)}"


def list_source(source: Source, raw: Artifact | None = None) -> ListedSource:
    """The files of a source, on this machine or on an object store or hub, without reading them.

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
        folder, matching = _remote_matches(uri)
        named = {file.address.removeprefix(f"{folder}/"): file for file in matching}
        if not _hidden(uri.removeprefix(folder)):
            named = {name: file for name, file in named.items() if not _hidden(name)}
        chosen = folder != uri  # a file, or what a glob matches, whatever its suffix
        files = [(name, file, file.bytes) for name, file in named.items() if chosen or name.endswith(suffixes)]
        listed = ListedSource(source, tuple(files), len(matching) - len(named))
        missing = not glob.has_magic(uri)
    else:
        found = list_files(uri)
        chosen = not Path(uri).is_dir()
        paths = [path for path in found.files if chosen or path.name.endswith(suffixes)]
        files = [(path.relative_to(found.folder).as_posix(), path, path.stat().st_size) for path in paths]
        listed = ListedSource(source, tuple(files), found.hidden, found.left_out)
        missing = not found.folder.exists() or not (glob.has_magic(uri) or Path(uri).exists())
    if not listed.files:
        passed = [*listed.left_out, *([f"{listed.hidden} hidden"] if listed.hidden else [])]
        raise MissingInput(
            f"the source {source.name} has no files",
            expected=f"{source.format} files ({', '.join(suffixes)})",
            found="no such path" if missing else "none that match" + (f" ({'; '.join(passed)})" if passed else ""),
            where=readable_name(uri),
            remedy="check `uri` in the source's spec",
        )
    return listed


def resolve_all(
    sources: Sequence[Source], digest_all: DigestAll, raw: Artifact | None = None
) -> dict[str, SourceFiles]:
    """Source → its files with their digests, of all sources in one batch. Raises what `list_source` does, before
    anything is read."""
    listed = [list_source(source, raw) for source in sources]
    digests = iter(digest_all([file for of_one in listed for _, file, _ in of_one.files]))
    return {
        of_one.source.name: SourceFiles(
            of_one.source,
            tuple(
                RawFile(name, file.address if isinstance(file, remote.RemoteFile) else str(file), size, next(digests))
                for name, file, size in of_one.files
            ),
            of_one.left_out,
        )
        for of_one in listed
    }


def resolve(source: Source, digest: Digest, raw: Artifact | None = None) -> SourceFiles:
    """The files of one source with their digests. Raises what `list_source` does."""
    return resolve_all([source], lambda files: [digest(file) for file in files], raw)[source.name]
