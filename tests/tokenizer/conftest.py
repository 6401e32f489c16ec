"""A small corpus artifact, as the corpus room leaves one: documents files, receipts, digests. And all the real text."""

import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from xmodel_core.artifacts import Artifact, Identity, Store, fingerprint, write_shard
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.train import train

Document = tuple[str, str, str]
"""id, text, language"""

SUBJECTS = ["the farmer", "a teacher", "my neighbour", "the old captain", "every student", "her cousin", "the engineer"]
ACTIONS = ["repairs", "describes", "forgets", "carries", "measures", "remembers", "paints", "studies"]
THINGS = ["a wooden boat", "the small lamp", "three letters", "an empty box", "the garden wall", "some music", "bread"]
人 = ["农民", "老师", "邻居", "老船长", "学生", "表姐", "工程师"]
做 = ["修理", "描写", "忘记", "搬运", "测量", "记得", "画出", "研究"]
物 = ["一条木船", "那盏小灯", "三封信", "空箱子", "花园的墙", "一些音乐", "面包"]


def english(rng: random.Random) -> str:
    """A page of simple sentences."""
    return "\n\n".join(
        " ".join(f"{rng.choice(SUBJECTS).capitalize()} {rng.choice(ACTIONS)} {rng.choice(THINGS)}." for _ in range(4))
        for _ in range(3)
    )


def chinese(rng: random.Random) -> str:
    """The same in Chinese."""
    return "\n".join("".join(f"{rng.choice(人)}{rng.choice(做)}{rng.choice(物)}。" for _ in range(4)) for _ in range(3))


def code(rng: random.Random) -> str:
    """A short program, indented by spaces or by tabs."""
    indent = rng.choice(["    ", "\t"])
    name = rng.choice(["total", "count", "area"])
    lines = [f"def {name}(values):", f"{indent}for value in values:", f"{indent * 2}if value > {rng.randrange(99)}:"]
    return "\n".join([*lines, f"{indent * 3}print(value)", f"{indent}return {name}", ""])


WRITERS = {"zh": chinese, "en": english, "code": code}


def write_documents(lang: str, count: int, seed: int = 0) -> list[Document]:
    """Numbered documents in one language."""
    rng = random.Random(f"{lang} {seed}")
    return [(f"{lang}-{number}", WRITERS[lang](rng), lang) for number in range(count)]


WriteDocuments = Callable[..., list[Document]]
MakeCorpus = Callable[..., Artifact]


@pytest.fixture(scope="session")
def documents() -> WriteDocuments:
    """documents(lang, count, seed=0)"""
    return write_documents


def trained(**settings: Any) -> Tokenizer:
    """A tokenizer of 500 pieces that saw a little of everything."""
    texts = [text for lang in WRITERS for _, text, _ in write_documents(lang, 60)]
    config = TokenizerConfig(vocab_size=500, **settings)
    return Tokenizer(train(lambda: (line for text in texts for line in text.split("\n")), config))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A unigram tokenizer."""
    return trained()


@pytest.fixture(scope="session", params=["unigram", "bpe"])
def either(request: pytest.FixtureRequest) -> Tokenizer:
    """A tokenizer of each kind, with reserved tokens."""
    return trained(model_type=request.param, reserved_tokens=2)


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """make_corpus({source: [file, file …]}) with a file a list of documents; each corpus in a store of its own."""

    def make(sources: dict[str, Sequence[Sequence[Document]]], place: str = "store", name: str = "small") -> Artifact:
        build = Store(tmp_path / place).build(Identity("corpus", name, 1, {}, {"place": place}))
        facts = {}
        for source, files in sources.items():
            digests = []
            for number, rows in enumerate(files):
                with write_shard(build.folder, f"documents-{source}-{number:05d}") as shard:
                    ids, texts, languages = zip(*rows, strict=True) if rows else ((), (), ())
                    columns = {"source": [source] * len(rows), "id": ids, "text": texts, "lang": languages}
                    schema = pa.schema([(column, pa.string()) for column in columns])
                    table = pa.table({key: list(values) for key, values in columns.items()}, schema)
                    pq.write_table(table, shard.file(f"documents/{source}-{number:05d}.parquet"))
                    shard.facts.update(source=source, lang="en", docs=len(rows))
                receipt = build.finished(f"documents-{source}-{number:05d}")
                assert receipt is not None
                digests.append([receipt.files[0].path, receipt.files[0].sha256])
            facts[source] = {"documents_digest": fingerprint(digests), "docs": sum(map(len, files))}
        return build.commit(facts={"sources": facts})

    return make


def strings(value: Any) -> Iterator[str]:
    """The strings of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def texts_of(path: Path) -> list[str]:
    """Every string of a file of records, or every page of a WARC file as UTF-8 gives it."""
    if path.name.endswith(".warc.gz"):
        with path.open("rb") as stream:
            records = ArchiveIterator(stream, record_types=WarcRecordType.response)
            return [record.reader.read().decode("utf-8", "replace") for record in records]
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        return [text for line in lines for text in strings(json.loads(line))]


@pytest.fixture
def real_texts(shared_data: Path) -> Iterator[list[str]]:
    """All text of the real data, a file at a time: corpora, instructions, benchmarks, pages as they were crawled."""
    paths = [*shared_data.rglob("*.jsonl"), *shared_data.rglob("*.jsonl.gz"), *shared_data.glob("web/warc/*.warc.gz")]
    return (texts_of(path) for path in sorted(paths))
