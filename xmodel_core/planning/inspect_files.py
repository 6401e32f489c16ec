"""What files of documents hold, found by looking at some of their records.

Takes the paths that a person names; gives one `SourceProfile` per source to be: format, text and id fields,
language, category, size. Looks at the first records of a few files and extrapolates, so a terabyte
takes no longer than a gigabyte. Whatever cannot be used is named with its reason, never dropped silently.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from xmodel_core.corpus.read import documents_of, first_records
from xmodel_core.corpus.read.reader import Found
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.corpus.text.characters import well_formed
from xmodel_core.corpus.text.language import detect
from xmodel_core.errors import XmodelError
from xmodel_core.planning.guess_fields import described, id_field, instruction_form, text_field, why_not_text
from xmodel_core.specs import Source, list_source
from xmodel_core.specs.listing import list_files, readable_name
from xmodel_core.specs.sources import SUFFIXES

FILES_LOOKED_AT = 4
PAGES_LOOKED_AT = 200  # of an archive, or of a folder whose files are a document each; a page takes about 10 ms
RECORDS_PER_FILE = 2_000
CHARACTERS_PER_FILE = 32_000_000
CHARS_PER_DOCUMENT = 4_000
DOCUMENTS_JUDGED = 500

CLEAR_MAJORITY = 0.6
CODE_AMONG_COMMENTS = 0.25

DOCUMENT_A_FILE = ("html", "text")
# Files beside documents that are no documents.
ABOUT_THE_DATA = re.compile(r"(?:readme|licen[cs]e|notice|copying|changelog|authors)\b", re.I)
CATEGORIES = {
    "math": ("math", "gsm8k", "arithmetic"),
    "encyclopedia": ("wiki", "wikipedia", "baike", "encyclopedia"),
    "news": ("news", "agnews"),
    "law": ("law", "laws", "legal", "statutes"),
    "book": ("book", "books", "ebooks", "novel", "novels", "literature", "poetry", "gutenberg", "gitenberg"),
    "academic": ("paper", "papers", "arxiv", "abstracts", "pubmed", "patent", "patents"),
    "social": ("reviews", "forum", "chat", "reddit", "comments", "stackexchange"),
}


@dataclass(frozen=True)
class SourceProfile:
    """One source to be, and what its records look like. Sizes are extrapolated from the records looked at."""

    name: str
    uri: str
    """A file, a folder or a glob, absolute."""
    format: str
    records: str
    """text, alpaca or sharegpt, as in a source's spec."""
    text_field: str
    text_note: str
    """Why another field, whose name says that it is the text, is not; else empty."""
    id_field: str | None
    lang: str
    mixed: dict[str, float]
    """Share of documents per language, where no language is clear by itself; else empty."""
    category: str
    files: int
    documents: int
    bytes_text: int
    chars: int
    characters: frozenset[str]
    """The distinct characters of the records looked at: a vocabulary needs room for most of them."""
    unreadable: str
    """How many of the records looked at are no documents, and why; empty where all are."""


def languages_of(texts: list[str]) -> list[str]:
    """zh, en, code or other for each text: the corpus room's own judgement, so that `init` and the run agree."""
    encodable = [text.encode("utf-8", "replace").decode() for text in texts]
    return detect(encodable, make_batch(encodable))[0]


def _suffix(path: Path) -> tuple[str, str] | None:
    """The format of a file and the suffix that says so."""
    for kind, suffixes in SUFFIXES.items():
        for suffix in sorted(suffixes, key=len, reverse=True):
            if path.name.endswith(suffix):
                return kind, suffix
    return None


def _stem(path: Path) -> str:
    kind_and_suffix = _suffix(path)
    return path.name.removesuffix(kind_and_suffix[1]) if kind_and_suffix else path.stem


def _kind(file: Path, kinds_beside: set[str]) -> str | None:
    """The format of a file; None where it makes no source of its own, though its suffix says so."""
    kind = kind_and_suffix[0] if (kind_and_suffix := _suffix(file)) else None
    beside_records = kinds_beside - set(DOCUMENT_A_FILE)
    return None if kind == "text" and (beside_records or ABOUT_THE_DATA.match(file.name)) else kind


@dataclass(frozen=True)
class _Group:
    """A source to be: what its spec says of its place, and the files that a build lists there."""

    name: str
    uri: str
    format: str

    @cached_property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """(name, path), in the build's order."""
        spec = {"name": self.name, "lang": "multi", "category": "", "license": "", "uri": self.uri}
        listed = list_source(Source(**spec, format=self.format)).files  # pyright: ignore[reportArgumentType]
        return tuple((name, file) for name, file, _ in listed if isinstance(file, Path))


def groups(path: Path) -> tuple[list[_Group], list[str]]:
    """The sources under a path, and a line for whatever else it holds.

    One source per leaf folder. A file named by itself is a source; so is each file of a folder that has no folders
    inside and whose files are not parts of one thing (their names differ in more than digits). Where a file is a
    document: one source per folder of the path, however deep, or the path itself if it holds some directly."""
    listing = list_files(path)
    if path.is_file():
        kind_and_suffix = _suffix(path)
        if kind_and_suffix is None:
            return [], [f"1 files ending in {path.suffix}"]
        return [_Group(_stem(path), str(path), kind_and_suffix[0])], []
    files_of: dict[Path, list[Path]] = {}
    for file in listing.files:
        files_of.setdefault(file.parent, []).append(file)
    by_folder: dict[tuple[Path, str], list[Path]] = {}
    for folder, files in files_of.items():
        kinds = {kind_and_suffix[0] for file in files if (kind_and_suffix := _suffix(file))}
        for file in files:
            if kind := _kind(file, kinds):
                by_folder.setdefault((folder, kind), []).append(file)
    for kind in DOCUMENT_A_FILE:
        deep = {folder: by_folder.pop((folder, kind)) for folder, each in list(by_folder) if each == kind}
        for folder, files in deep.items():
            top = path if path in deep else path / folder.relative_to(path).parts[0]
            by_folder.setdefault((top, kind), []).extend(files)
    sources: list[_Group] = []
    for (folder, kind), files in by_folder.items():
        leaf = not any(folder in other.parents for other in files_of)
        parts_of_one = len({re.sub(r"\d+", "", _stem(file)) for file in files}) == 1
        if kind in DOCUMENT_A_FILE or (leaf and (folder != path or parts_of_one)):
            sources.append(_Group(folder.name, str(folder), kind))
        else:
            sources += [_Group(_stem(file), str(file), kind) for file in files]
    read = {file for source in sources for _, file in source.files}
    others = Counter(file.suffix or "no suffix" for file in listing.files if file not in read)
    left_out = [f"{count} files ending in {readable_name(suffix)}" for suffix, count in others.items()]
    left_out += [f"{listing.hidden} hidden files or folders"] if listing.hidden else []
    return sources, [*left_out, *listing.left_out]


def _some(files: Sequence[tuple[str, Path]], most: int) -> Iterator[tuple[str, Path]]:
    """The first file, the last and some between."""
    count = min(most, len(files))
    yield from (files[round(i * (len(files) - 1) / max(count - 1, 1))] for i in range(count))


@dataclass(frozen=True)
class _Sample:
    """The first records of some files of a source, and what share of it they are."""

    kind: str
    files: list[tuple[str, list[Found]]]
    share: float

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The fields of the records that can be read."""
        return [record.fields for _, records in self.files for record in records if record.wrong is None]

    def documents(
        self, text_field: str, id_field: str | None = None, records: str = "text"
    ) -> tuple[list[str], Counter[str]]:
        """The texts that a scan makes of them, and why others are none."""
        documents, wrong = documents_of(self.kind, self.files, text_field, id_field, records)
        return [document.text for document in documents], wrong


def _sampled(kind: str, files: Sequence[tuple[str, Path]]) -> _Sample:
    most_files = PAGES_LOOKED_AT if kind in DOCUMENT_A_FILE else FILES_LOOKED_AT
    most = RECORDS_PER_FILE if kind in ("jsonl", "parquet") else PAGES_LOOKED_AT
    sample, taken = [], 0.0
    for name, file in _some(files, most_files):
        first = first_records(kind, file, most, CHARACTERS_PER_FILE)
        sample.append((readable_name(name), first.found))
        taken += first.share * file.stat().st_size
    total = sum(file.stat().st_size for _, file in files)
    return _Sample(kind, sample, min(taken / total, 1.0) if total else 1.0)


def _declared(name: str, rows: list[dict[str, Any]]) -> str | None:
    """The language that the records, or else the source's name, state. Used only where looking is not clear."""
    stated = Counter(str(row.get("lang") or row.get("language") or "").lower()[:4] for row in rows).most_common(1)[0][0]
    tokens = [stated, *re.split(r"[\W_]+", name.lower())]
    words = {"zh": ("zh", "cn", "zh-c", "chinese"), "en": ("en", "engl", "english"), "code": ("code",)}
    return next((lang for token in tokens for lang, names in words.items() if token in names), None)


def measure(kind: str, files: list[Path], records: str, field: str) -> tuple[int, int, int]:
    """About how many documents, bytes of text and characters some files hold."""
    sample = _sampled(kind, [(file.name, file) for file in files])
    return _sizes(sample.documents(field, records=records)[0], sample.share)


def _sizes(texts: list[str], share: float) -> tuple[int, int, int]:
    """Documents, bytes and characters of texts that are a share of all."""
    size, chars = sum(len(text.encode("utf-8", "replace")) for text in texts), sum(map(len, texts))
    return round(len(texts) / share), round(size / share), round(chars / share)


def _reasons(wrong: Counter[str]) -> str:
    return ", ".join(f"{count} {why}" for why, count in wrong.most_common(3))


def inspect_source(name: str, group: _Group) -> SourceProfile | str:
    """What a source holds, or why it cannot be used."""
    sample = _sampled(group.format, group.files)
    rows = sample.rows
    if not rows:
        wrong = sample.documents("text")[1]
        return "no record could be read" + (f" ({_reasons(wrong)})" if wrong else "")
    records, field = instruction_form(rows) or ("text", text_field(rows))
    if field is None:
        return f"no field holds text: {described(rows[0])}"
    identifier = id_field(rows)
    texts, wrong = sample.documents(field, identifier, records)
    if not texts:
        form = f"no record is instruction data of the {records} form" if records != "text" else "no record has a text"
        return f"{form}: {wrong.most_common(1)[0][0]}"
    judged = texts[:: max(1, len(texts) // DOCUMENTS_JUDGED)]
    counted = Counter(languages_of([text[:CHARS_PER_DOCUMENT] for text in judged]))
    shares = {lang: count / len(judged) for lang, count in counted.most_common()}
    lang, share = next(iter(shares.items()))
    declared = _declared(name, rows)
    # Programs with long comments look like prose one by one; no source of prose has this share of code.
    commented = declared == "code" and shares.get("code", 0) >= CODE_AMONG_COMMENTS
    clear = share >= CLEAR_MAJORITY and lang != "other" and not commented
    if not clear:
        lang = declared or "multi"
    tokens = set(re.split(r"[\W_\d]+", name.lower())) | {name.lower()}
    category = next((c for c, words in CATEGORIES.items() if tokens & set(words)), "web")
    documents, size, chars = _sizes(texts, sample.share)
    return SourceProfile(
        name=name,
        uri=group.uri,
        format=group.format,
        records=records,
        text_field=field,
        text_note=why_not_text(rows, field) if records == "text" else "",
        id_field=identifier,
        lang=lang,
        mixed={} if shares.get(lang, 0) >= CLEAR_MAJORITY else {key: round(value, 2) for key, value in shares.items()},
        category="sft" if records != "text" else "code" if lang == "code" else category,
        files=len(group.files),
        documents=documents,
        bytes_text=size,
        chars=chars,
        characters=frozenset().union(*texts),
        unreadable=_reasons(wrong),
    )


def inspect_paths(paths: list[Path]) -> tuple[list[SourceProfile], list[str]]:
    """The sources under some paths, each with a name of its own, and a line for each thing that is left out.

    XmodelError: a path that does not exist, a folder without documents, nothing that can be read."""
    seen: list[SourceProfile] = []
    left_out: list[str] = []
    names: set[str] = set()
    for path in paths:
        if not path.exists():
            raise XmodelError(
                "there is nothing at this path",
                expected="a file or folder",
                found="no such path",
                where=readable_name(str(path)),
            )
        sources, others = groups(path.resolve())
        name = readable_name(path.name)
        if not sources:
            kinds = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
            raise XmodelError(
                f"no documents under {name}",
                expected=f"files ending in {kinds}",
                found=", ".join(others) or "nothing",
                where=readable_name(str(path)),
            )
        left_out += [f"{name}: {line}" for line in others]
        for group in sources:
            safe = re.sub(r"[^\w-]+", "_", group.name).strip("_") or "source"
            for other in (f"{Path(group.uri).parent.name}_{safe}", *(f"{safe}_{n}" for n in range(2, len(names) + 3))):
                if safe not in names:
                    break
                safe = re.sub(r"[^\w-]+", "_", other)
            result = inspect_source(safe, group)
            if isinstance(result, str):
                left_out.append(f"{readable_name(group.name)}: {well_formed(result)}")
                continue
            names.add(safe)
            seen.append(result)
    if not seen:
        raise XmodelError("nothing here can be read", expected="records with a text field", found="; ".join(left_out))
    return seen, left_out
