"""A small corpus artifact, as the corpus stage writes one: documents files, receipts, digests. And the real text."""

import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from xmodel_core.artifacts import Artifact, Identity, Store, fingerprint, write_shard
from xmodel_core.cluster import Cluster, ClusterConfig
from xmodel_core.specs import Source
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.stage import encode_source, train_tokenizer
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
    """A tokenizer of 500 pieces, trained on a little of each language."""
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


def write_corpus(
    root: Path, sources: dict[str, Sequence[Sequence[Document]]], place: str = "store", name: str = "small"
) -> Artifact:
    """A corpus of {source: [file, file …]}, a file being a list of documents, in a store of its own."""
    build = Store(root / place).build(Identity("corpus", name, 1, {}, {"place": place}))
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


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """make_corpus({source: [file, file …]}, place=…, name=…): see `write_corpus`."""
    return partial(write_corpus, tmp_path)


class Built(NamedTuple):
    """A corpus, its tokenizer and the token shards of its source `mixed`."""

    corpus: Artifact
    config: TokenizerConfig
    store: Store
    """Holds tokenizer and shards."""
    tokenizer: Artifact
    shards: Artifact

    @staticmethod
    def source(name: str, lang: Any = "en") -> Source:
        """The declaration of a source."""
        return Source(name=name, lang=lang, category="web", license="CC0-1.0", uri="nowhere")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built once, for tests that only read it; others copy it."""
    root = tmp_path_factory.mktemp("built")
    mixed = [write_documents("en", 60), [], write_documents("zh", 50) + write_documents("code", 10)]
    corpus = write_corpus(root, {"mixed": mixed, "b": [write_documents("zh", 9)]})
    config = TokenizerConfig(vocab_size=450, sample_characters=40_000, validation_documents=4)
    store = Store(root / "built")
    tokenizer = train_tokenizer("small", corpus, [], config, store)
    cluster = Cluster(ClusterConfig(workers=1))
    shards = encode_source(Built.source("mixed", "multi"), corpus, tokenizer, config, store, cluster)
    return Built(corpus, config, store, tokenizer, shards)


def strings(value: Any) -> Iterator[str]:
    """The strings of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def texts_of(path: Path, every: int) -> list[str]:
    """The strings of every n-th record of a file, or of a WARC file's pages as UTF-8 gives them. Which record is
    the first depends on the file's name alone."""
    first = random.Random(path.name).randrange(every)
    if path.name.endswith(".warc.gz"):
        with path.open("rb") as stream:
            records = islice(ArchiveIterator(stream, record_types=WarcRecordType.response), first, None, every)
            return [record.reader.read().decode("utf-8", "replace") for record in records]
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        return [text for line in islice(lines, first, None, every) for text in strings(json.loads(line))]


def real_files(data: Path, every: int) -> Iterator[list[str]]:
    """Text of the real data, a file at a time: corpora, instructions, benchmarks, pages as they were crawled."""
    paths = [*data.rglob("*.jsonl"), *data.rglob("*.jsonl.gz"), *data.glob("web/warc/*.warc.gz")]
    return (texts_of(path, every) for path in sorted(paths))


@pytest.fixture(scope="session")
def real_sample(shared_data: Path) -> list[list[str]]:
    """A fiftieth of the real data."""
    return list(real_files(shared_data, 50))


@pytest.fixture(params=[pytest.param(50, id="sample"), pytest.param(1, id="all", marks=pytest.mark.exhaustive)])
def real_texts(request: pytest.FixtureRequest, shared_data: Path) -> tuple[Iterable[list[str]], int]:
    """Text of the real data, a file at a time, and of how many records one was taken."""
    files = real_files(shared_data, 1) if request.param == 1 else request.getfixturevalue("real_sample")
    return files, request.param
