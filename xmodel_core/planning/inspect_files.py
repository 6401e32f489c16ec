"""What files of documents hold, found by looking at some of their records.

Takes the paths that a person names; gives one `SourceProfile` per source to be: format, text and id fields,
language, category, size. Looks at the first records of a few files and extrapolates, so a terabyte
takes no longer than a gigabyte. Whatever cannot be used is named with its reason, never dropped silently.
"""

import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from xmodel_core.corpus.read import first_documents
from xmodel_core.corpus.read.instructions import PROMPT_FIELDS, NotOfTheForm, as_text
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.corpus.text.language import detect
from xmodel_core.errors import XmodelError
from xmodel_core.specs.sources import SUFFIXES

FILES_LOOKED_AT = 4
PAGES_LOOKED_AT = 200  # of an archive, or of a folder whose files are a document each; a page takes about 10 ms
RECORDS_PER_FILE = 2_000
BYTES_PER_FILE = 32_000_000
CHARS_PER_DOCUMENT = 4_000
DOCUMENTS_JUDGED = 500

CLEAR_MAJORITY = 0.6
CODE_AMONG_COMMENTS = 0.25

TEXT_FIELDS = ("text", "content")
ID_FIELDS = ("id", "_id", "doc_id", "document_id", "uuid", "guid", "hash", "sha1", "sha256", "url", "path")
ANSWER_FIELDS = ("output", "response", "completion", "answer", "solution")
TURNS_FIELDS = ("conversations", "messages")
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


@dataclass
class _Records:
    """Records of some files of a source, and what share of its stored bytes they came from."""

    rows: list[dict[str, Any]]
    share: float
    bad: int = 0
    """Lines that are no JSON objects, or pages without text."""


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


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(root).parts)


def _stem(path: Path) -> str:
    kind_and_suffix = _suffix(path)
    return path.name.removesuffix(kind_and_suffix[1]) if kind_and_suffix else path.stem


def _kind(file: Path, kinds_beside: set[str]) -> str | None:
    """The format of a file; None where it is no document, though its suffix says so."""
    kind = kind_and_suffix[0] if (kind_and_suffix := _suffix(file)) else None
    beside_records = kinds_beside - set(DOCUMENT_A_FILE)
    return None if kind == "text" and (beside_records or ABOUT_THE_DATA.match(file.name)) else kind


def groups(path: Path) -> tuple[list[tuple[str, str, str, list[Path]]], Counter[str]]:
    """(name, uri, format, files) per source under a path, and how many files of other kinds it holds, by suffix.

    One source per leaf folder. A file named by itself is a source; so is each file of a folder that has no folders
    inside and whose files are not parts of one thing (their names differ in more than digits). Where a file is a
    document: one source per folder of the path, however deep, or the path itself if it holds some directly."""
    if path.is_file():
        kind_and_suffix = _suffix(path)
        if kind_and_suffix is None:
            return [], Counter({path.suffix: 1})
        return [(_stem(path), str(path), kind_and_suffix[0], [path])], Counter()
    others: Counter[str] = Counter()
    files_of: dict[Path, list[Path]] = {}
    for file in sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p, path)):
        files_of.setdefault(file.parent, []).append(file)
    by_folder: dict[tuple[Path, str], list[Path]] = {}
    for folder, files in files_of.items():
        kinds = {kind_and_suffix[0] for file in files if (kind_and_suffix := _suffix(file))}
        for file in files:
            kind = _kind(file, kinds)
            if kind is None:
                others[file.suffix or "no suffix"] += 1
            else:
                by_folder.setdefault((folder, kind), []).append(file)
    for kind in DOCUMENT_A_FILE:
        deep = {folder: by_folder.pop((folder, kind)) for folder, each in list(by_folder) if each == kind}
        for folder, files in deep.items():
            top = path if path in deep else path / folder.relative_to(path).parts[0]
            by_folder.setdefault((top, kind), []).extend(files)
    sources = []
    for (folder, kind), files in by_folder.items():
        leaf = not any(p.is_dir() and not p.name.startswith((".", "_")) for p in folder.iterdir())
        parts_of_one = len({re.sub(r"\d+", "", _stem(file)) for file in files}) == 1
        if kind in DOCUMENT_A_FILE or (leaf and (folder != path or parts_of_one)):
            sources.append((folder.name, str(folder), kind, files))
        else:
            sources += [(_stem(file), str(file), kind, [file]) for file in files]
    return sources, others


def _open(path: Path) -> tuple[io.BufferedIOBase, IO[bytes]]:
    """The decompressed stream and the stored one, whose position says how far the first has come."""
    stored = path.open("rb")
    if path.name.endswith(".gz"):
        return gzip.GzipFile(fileobj=stored), stored
    if path.name.endswith(".zst"):
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(stored)), stored
    return stored, stored


def _jsonl(path: Path) -> tuple[list[dict[str, Any]], int, int]:
    """Records, stored bytes that they took, lines that are no JSON object."""
    stream, stored = _open(path)
    rows: list[dict[str, Any]] = []
    bad = read = 0
    with stored, stream:
        try:
            for line in stream:
                read += len(line)
                try:
                    record = json.loads(line)
                    rows.append(record) if isinstance(record, dict) else None
                    bad += not isinstance(record, dict)
                except ValueError:
                    bad += bool(line.strip())
                if len(rows) + bad >= RECORDS_PER_FILE or read >= BYTES_PER_FILE:
                    return rows, max(stored.tell(), 1), bad
        except (OSError, EOFError, zstandard.ZstdError):
            bad += 1  # a broken tail: what came before it counts, the corpus room names the rest
    return rows, path.stat().st_size, bad


def _parquet(path: Path) -> tuple[list[dict[str, Any]], int, int]:
    try:
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(batch_size=RECORDS_PER_FILE), None)
            rows = batch.to_pylist() if batch is not None else []
            return rows, round(path.stat().st_size * len(rows) / max(file.metadata.num_rows, 1)), 0
    except (pa.ArrowException, OSError):
        return [], path.stat().st_size, 1


def _pages(kind: str, path: Path) -> tuple[list[dict[str, Any]], int, int]:
    """The same of pages and texts."""
    documents, stored = first_documents(kind, path, PAGES_LOOKED_AT)
    rows = [{"text": document.text} for document in documents if document.text]
    return rows, stored, len(documents) - len(rows)


def _some(files: list[Path], most: int) -> Iterator[Path]:
    """The first file, the last and some between."""
    count = min(most, len(files))
    yield from (files[round(i * (len(files) - 1) / max(count - 1, 1))] for i in range(count))


def _records(kind: str, files: list[Path]) -> _Records:
    rows: list[dict[str, Any]] = []
    taken = bad = 0
    for file in _some(files, PAGES_LOOKED_AT if kind in DOCUMENT_A_FILE else FILES_LOOKED_AT):
        if kind in ("jsonl", "parquet"):
            some, stored, wrong = _jsonl(file) if kind == "jsonl" else _parquet(file)
        else:
            some, stored, wrong = _pages(kind, file)
        rows, taken, bad = rows + some, taken + stored, bad + wrong
    total = sum(file.stat().st_size for file in files)
    return _Records(rows, min(taken / total, 1.0) if total else 1.0, bad)


def text_field(rows: list[dict[str, Any]]) -> str | None:
    """`text` or `content` where most records have it, else the field with the longest strings."""
    lengths: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for row in rows:
        for key, value in row.items():
            if isinstance(value, str) and value.strip():
                lengths[key] += len(value)
                seen[key] += 1
    often = [key for key in lengths if seen[key] * 2 >= len(rows)]
    return next((key for key in TEXT_FIELDS if key in often), max(often, key=lambda key: lengths[key], default=None))


def id_field(rows: list[dict[str, Any]]) -> str | None:
    """A field named like an id that every record has and that never repeats among the records looked at."""
    named = sorted(
        (key for key in rows[0] if key in ID_FIELDS or key.lower().endswith("_id")),
        key=lambda key: ID_FIELDS.index(key) if key in ID_FIELDS else len(ID_FIELDS),
    )
    for key in named:
        values = [row.get(key) for row in rows]
        all_usable = all(isinstance(value, str | int) and str(value) for value in values)
        if all_usable and len(set(values)) == len(rows):
            return key
    return None


def _declared(name: str, rows: list[dict[str, Any]]) -> str | None:
    """The language that the records, or else the source's name, state. Used only where looking is not clear."""
    stated = Counter(str(row.get("lang") or row.get("language") or "").lower()[:4] for row in rows).most_common(1)[0][0]
    tokens = [stated, *re.split(r"[\W_]+", name.lower())]
    words = {"zh": ("zh", "cn", "zh-c", "chinese"), "en": ("en", "engl", "english"), "code": ("code",)}
    return next((lang for token in tokens for lang, names in words.items() if token in names), None)


def instruction_form(rows: list[dict[str, Any]]) -> tuple[str, str] | None:
    """(alpaca or sharegpt, the field with the answer or the turns), or None: records with a text of their own."""
    keys = {key for row in rows[:50] for key, value in row.items() if value is not None}
    if keys & set(TEXT_FIELDS):
        return None
    for field in TURNS_FIELDS:
        if isinstance(next((row[field] for row in rows if row.get(field)), None), list):
            return "sharegpt", field
    answer = next((field for field in ANSWER_FIELDS if field in keys), None)
    return ("alpaca", answer) if answer and keys & set(PROMPT_FIELDS) else None


def texts_of(rows: list[dict[str, Any]], records: str, field: str) -> tuple[list[str], Counter[str]]:
    """The texts of records of a form, and why others have none."""
    texts: list[str] = []
    wrong: Counter[str] = Counter()
    for row in rows:
        try:
            text = (row if records == "text" else as_text(row, records, field)).get(field)
        except NotOfTheForm as error:
            wrong[str(error)] += 1
            continue
        if isinstance(text, str) and text.strip():
            texts.append(text)
    return texts, wrong


def measure(kind: str, files: list[Path], records: str, field: str) -> tuple[int, int, int]:
    """About how many documents, bytes of text and characters some files hold."""
    sample = _records(kind, files)
    return _sizes(texts_of(sample.rows, records, field)[0], sample.share)


def _sizes(texts: list[str], share: float) -> tuple[int, int, int]:
    """Documents, bytes and characters of texts that are a share of all."""
    size, chars = sum(len(text.encode("utf-8", "replace")) for text in texts), sum(map(len, texts))
    return round(len(texts) / share), round(size / share), round(chars / share)


def inspect_source(name: str, uri: str, kind: str, files: list[Path]) -> SourceProfile | str:
    """What a source holds, or why it cannot be used."""
    sample = _records(kind, files)
    if not sample.rows:
        return "no record could be read" + (
            f" ({sample.bad} {'lines are not JSON objects' if kind == 'jsonl' else 'have no text'})"
            if sample.bad
            else ""
        )
    records, field = instruction_form(sample.rows) or ("text", text_field(sample.rows))
    if field is None:
        return "no field holds text"
    texts, wrong = texts_of(sample.rows, records, field)
    if not texts:
        return f"no record is instruction data of the {records} form: {wrong.most_common(1)[0][0]}"
    judged = texts[:: max(1, len(texts) // DOCUMENTS_JUDGED)]
    counted = Counter(languages_of([text[:CHARS_PER_DOCUMENT] for text in judged]))
    shares = {lang: count / len(judged) for lang, count in counted.most_common()}
    lang, share = next(iter(shares.items()))
    declared = _declared(name, sample.rows)
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
        uri=uri,
        format=kind,
        records=records,
        text_field=field,
        id_field=id_field(sample.rows),
        lang=lang,
        mixed={} if shares.get(lang, 0) >= CLEAR_MAJORITY else {key: round(value, 2) for key, value in shares.items()},
        category="sft" if records != "text" else "code" if lang == "code" else category,
        files=len(files),
        documents=documents,
        bytes_text=size,
        chars=chars,
        characters=frozenset().union(*texts),
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
                "there is nothing at this path", expected="a file or folder", found="no such path", where=path
            )
        sources, others = groups(path.resolve())
        kinds = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
        if not sources:
            held = ", ".join(f"{count} {suffix}" for suffix, count in others.items() if count) or "nothing"
            raise XmodelError(
                f"no documents under {path.name}", expected=f"files ending in {kinds}", found=held, where=path
            )
        left_out += [f"{path.name}: {count} files ending in {suffix}" for suffix, count in others.items() if count]
        for name, uri, kind, files in sources:
            safe = re.sub(r"[^\w-]+", "_", name).strip("_") or "source"
            for other in (f"{Path(uri).parent.name}_{safe}", *(f"{safe}_{n}" for n in range(2, len(names) + 3))):
                if safe not in names:
                    break
                safe = re.sub(r"[^\w-]+", "_", other)
            result = inspect_source(safe, uri, kind, files)
            if isinstance(result, str):
                left_out.append(f"{name}: {result}")
                continue
            names.add(safe)
            seen.append(result)
    if not seen:
        raise XmodelError("nothing here can be read", expected="records with a text field", found="; ".join(left_out))
    return seen, left_out
