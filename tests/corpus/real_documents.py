"""The real documents that labels name: the shared corpora, instruction data and web pages as sources of the room.

Takes the folder of the shared data; writes what is not text yet (instructions, pages) as JSON lines into a folder of
the caller's and gives `Source` values over all. The labels hold ids and verdicts only, so the text they speak of is
made here, the same each time: an instruction is its parts with a blank line between, a page is what resiliparse
takes for its main content, under its address.
"""

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import xxhash

from xmodel_core.specs import Source

LABELS = Path(__file__).with_name("labels.tsv")
WEB = {"web_zh": ("zh", "ja"), "web_en": ("en", "de", "es", "fr", "pl", "pt", "it")}
"""Declared sources of pages, by the language that the collection's index gives: foreign pages stand among both."""


@dataclass(frozen=True)
class Label:
    """One document, read and judged before any rule was asked."""

    source: str
    id: str
    weight: float
    """How many documents of the whole it stands for: its stratum's size over the stratum's labels."""
    half: str
    """tuning or held_out: the one that rules may be mended on, and the one that is only reported."""
    verdict: str
    """keep or drop."""
    kind: str
    """What is wrong with it, or what it is."""
    lang: str
    """zh, en, code, or the ISO 639-1 code of another language."""
    script: str

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.id


def read_labels() -> list[Label]:
    """All labels, in order."""
    with LABELS.open(encoding="utf-8", newline="") as stream:
        return [Label(**{**row, "weight": float(row["weight"])}) for row in csv.DictReader(stream, delimiter="\t")]


def chance(purpose: str, source: str, id: str) -> int:
    """64 bits drawn by the document's key alone: the order of the draw, and (even or odd) which half it is in."""
    return xxhash.xxh3_64_intdigest(f"{purpose}\0{source}\0{id}")


def half_of(source: str, id: str) -> str:
    """tuning or held_out."""
    return "tuning" if chance("half", source, id) % 2 == 0 else "held_out"


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
            yield from map(json.loads, stream)


def _instruction(row: dict[str, Any]) -> str:
    if "conversations" in row:
        return "\n\n".join(f"{turn['from']}: {turn['value']}" for turn in row["conversations"])
    return "\n\n".join(part for part in (row["instruction"], row["input"], row["output"]) if part.strip())


def page_languages(shared: Path) -> dict[str, str]:
    """The language that the collection's index gives, by address."""
    index = (shared / "web/index.jsonl").read_text(encoding="utf-8").split("\n")
    return {row["url"]: row["lang"] for row in map(json.loads, filter(None, index))}


def pages(shared: Path) -> Iterator[tuple[str, str, str]]:
    """(address, language by the index, main text) of each web page that has any; needs fastwarc and resiliparse."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import detect_encoding
    from resiliparse.parse.html import HTMLTree

    languages = page_languages(shared)
    seen: set[str] = set()
    for path in sorted((shared / "web/warc").glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                url = record.headers["WARC-Target-URI"]
                content = record.reader.read()
                if url in seen or url not in languages:
                    continue
                seen.add(url)
                tree = HTMLTree.parse_from_bytes(content, detect_encoding(content) or "utf-8")
                text = extract_plain_text(tree, main_content=True, preserve_formatting=True)
                if text.strip():
                    yield url, languages[url], text


def _web(shared: Path) -> Iterator[tuple[str, str, str]]:
    for url, lang, text in pages(shared):
        yield next(name for name, languages in WEB.items() if lang in languages), url, text


def real_documents(shared: Path, web: bool = True) -> dict[str, dict[str, str]]:
    """Text by id by source; pages, which need fastwarc and resiliparse, only where `web`."""
    texts: dict[str, dict[str, str]] = {}
    for folder in sorted(shared.glob("corpora/*")):
        texts[folder.name] = {row["id"]: row["text"] for row in _lines(folder)}
    for folder in sorted(shared.glob("sft/*")):
        texts[folder.name] = {row["id"]: _instruction(row) for row in _lines(folder)}
    for source, url, text in _web(shared) if web else ():
        texts.setdefault(source, {})[url] = text
    return texts


def declared(name: str) -> Literal["zh", "en", "code"]:
    """The language a source of the shared data calls itself."""
    family = name.split("_")[0]
    if family in ("zh", "code"):
        return family
    return "zh" if family in ("sft", "web") and "zh" in name.split("_") else "en"


def write_sources(documents: Mapping[str, Mapping[str, str]], folder: Path) -> list[Source]:
    """One source of JSON lines per name, written into the folder."""
    sources = []
    for name, texts in documents.items():
        place = folder / name
        place.mkdir(parents=True)
        lines = (json.dumps({"id": id, "text": text}, ensure_ascii=False) + "\n" for id, text in texts.items())
        (place / "documents.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
        lang = declared(name)
        sources.append(
            Source(
                name=name,
                lang=lang,
                category="web",
                license="see the data's README",
                uri=str(place),
                policy="code" if lang == "code" else "prose",
            )
        )
    return sources
