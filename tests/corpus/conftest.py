"""Texts of our own, and the room's doors: folders of raw files in, scans and corpora out."""

import gzip
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from xmodel_core.artifacts import Artifact, Store
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.corpus.config import CorpusConfig, ScanConfig
from xmodel_core.corpus.references import References
from xmodel_core.corpus.stage import SourceScan, build_corpus, find_near_pairs, keep_models, remove_lines, scan
from xmodel_core.specs import Source, SourceFiles, resolve

Row = dict[str, Any]

_words = str.split
SIZES = _words("small large narrow wooden quiet heavy bright early distant patient broken silver hollow crowded")
THINGS = _words(
    "bridge garden letter engine harbour village teacher river basket window ladder orchard captain lantern market "
    "station mountain carpenter violin kitchen museum painter tunnel meadow barrel candle printer valley"
)
ACTS = _words("crossed repaired described measured followed ignored carried visited remembered painted opened sold")
TIMES = ("before the storm", "after lunch", "during the long winter", "on a Sunday", "without any help", "for years")
PLACES = ("in the old town", "behind the mill", "near the northern coast", "under the hill", "at the end of the road")
ENGLISH = (
    "The {0} {2} {4} the {3} {6}.",
    "Nobody near the {2} {4} a {0} {3} {7}.",
    "She {4} and {5} the {2} {6}, not the {1} {3}.",
    "It was the {3} that {4} our {0} {2} {7}.",
    "{6}, the {3} {5} every {2} and {4} the {1} ones.",
    "If a {0} {2} is {4}, be kind to the {3} {7}.",
    "What they {4} {7} is a {1} {3} with the {0} {2}.",
)
大小 = _words("古老 狭窄 明亮 安静 沉重 遥远 破旧 宽敞 寒冷 温暖 陌生 拥挤")
东西 = _words(
    "桥梁 花园 信件 机器 港口 村庄 老师 河流 篮子 窗户 梯子 果园 船长 灯笼 市场 车站 高山 木匠 小提琴 厨房 博物馆 画家"
)
动作 = _words("修好 描写 测量 忘记 搬走 参观 记住 画下 打开 卖掉 寻找 看见")
时候 = _words("暴风雨以前 午饭之后 漫长的冬天里 星期天早晨 许多年里 天黑的时候")
CHINESE = (
    "{6}，{0}的{2}被人{4}了，{3}也一样。",
    "没有人知道那座{2}为什么比{3}更{0}。",
    "他在{6}{4}了{2}，又把{1}的{3}{5}了。",
    "我们都希望{3}能够{5}这个{0}的{2}，可是没有成功。",
    "如果你有一个{2}，就应该{6}去{4}它，不要等{3}。",
)
NAMES = _words("total count area width price index table buffer record node")


def _sentence(rng: random.Random, chinese: bool) -> str:
    forms, sizes, things, acts = (CHINESE, 大小, 东西, 动作) if chinese else (ENGLISH, SIZES, THINGS, ACTS)
    times, places = (时候, 时候) if chinese else (TIMES, PLACES)
    words = [*rng.sample(sizes, 2), *rng.sample(things, 2), *rng.sample(acts, 2), rng.choice(times), rng.choice(places)]
    sentence = rng.choice(forms).format(*words)
    return sentence[0].upper() + sentence[1:]


def write_text(lang: str, length: int = 12, seed: int = 0) -> str:
    """`length` sentences in paragraphs of four, or a program of `length` short functions."""
    rng = random.Random(f"{lang} {seed}")
    if lang == "code":
        return "\n\n".join(_function(rng, number) for number in range(length)) + "\n"
    sentences = [_sentence(rng, lang == "zh") for _ in range(length)]
    gap = "" if lang == "zh" else " "
    return "\n\n".join(gap.join(sentences[begin : begin + 4]) for begin in range(0, length, 4))


def _function(rng: random.Random, number: int) -> str:
    one, two = rng.sample(NAMES, 2)
    return (
        f"def {one}_of_{two}_{number}(values, limit={rng.randrange(900)}):\n    {two} = []\n    for {one} in values:\n"
        f"        if {one} > limit + {rng.randrange(900)}:\n            {two}.append({one} * {rng.randrange(90)})\n"
        f"    return sorted({two})[:{rng.randrange(90)}]"
    )


def jsonl(records: Iterable[Row | bytes]) -> bytes:
    """Records as JSON lines; bytes stand for a line as they are."""
    lines = [r if isinstance(r, bytes) else json.dumps(r, ensure_ascii=False).encode() for r in records]
    return b"".join(line + b"\n" for line in lines)


def source_at(place: Path, name: str = "", **fields: Any) -> Source:
    """A source over a folder (or file), English unless told otherwise."""
    spec = {"name": name or place.name, "lang": "en", "category": "web", "license": "CC0-1.0", "uri": str(place)}
    return Source(**{**spec, **fields})


@dataclass(frozen=True)
class Corpus:
    """A built corpus, its files read."""

    artifact: Artifact
    scanned: tuple[SourceScan, ...]
    pairs: Artifact

    @property
    def sources(self) -> tuple[SourceFiles, ...]:
        return tuple(part.files for part in self.scanned)

    @property
    def scans(self) -> tuple[Artifact, ...]:
        return tuple(part.scan for part in self.scanned)

    def rows(self, kind: str) -> list[Row]:
        """All rows of decisions, documents or dropped, files in the sources' order."""
        names = [f"{s.source.name}-{i:05d}" for s in self.sources for i in range(len(s.files))]
        return [r for name in names for r in pq.read_table(self.artifact.path / kind / f"{name}.parquet").to_pylist()]

    @property
    def decisions(self) -> list[Row]:
        return self.rows("decisions")

    def ledger(self, table: str) -> list[Row]:
        return self.artifact.manifest()["rows"][table]

    def samples(self, reason: str) -> list[Row]:
        with gzip.open(self.artifact.path / "dropped_samples" / f"{reason}.jsonl.gz", "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]

    def data(self) -> dict[str, bytes]:
        """Every byte that must not depend on the machine: all files but receipts and manifest, which hold times."""
        return {
            path.relative_to(self.artifact.path).as_posix(): path.read_bytes()
            for path in sorted(self.artifact.path.rglob("*"))
            if path.is_file() and path.suffix != ".json"
        }


def scan_source(source: Source, store: Store, config: ScanConfig | None = None) -> list[Row]:
    """The rows of a source's scan, made through the room's door."""
    config = config or ScanConfig()
    with open_cluster(ClusterConfig(workers=1)) as cluster:
        made = scan(resolve(source, store.digest), config, store, cluster)
    rows = [row for path in sorted(made.path.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert len(rows) == made.manifest()["facts"]["records"]
    return rows


def make_corpus(
    sources: Sequence[Source], store: Store, config: CorpusConfig | None = None, workers: int = 1
) -> Corpus:
    """Scans and corpus of some sources, made through the room's doors."""
    config = config or CorpusConfig()
    found = tuple(resolve(source, store.digest) for source in sources)
    models = keep_models("small", config.perplexity, store) if config.perplexity.named() else None
    references = References(models=models)
    with open_cluster(ClusterConfig(workers=workers)) as cluster:
        scans = [scan(files, config.scan, store, cluster, references) for files in found]
        scanned = tuple(
            remove_lines(*both, config, store, cluster, references) for both in zip(found, scans, strict=True)
        )
        pairs = find_near_pairs("small", scanned, config.scan, store, cluster)
        return Corpus(build_corpus("small", scanned, pairs, config, store, cluster), scanned, pairs)


@pytest.fixture(scope="session")
def text() -> Callable[..., str]:
    """text(lang, length=12, seed=0)"""
    return write_text


@pytest.fixture(name="jsonl", scope="session")
def jsonl_fixture() -> Callable[[Iterable[Row | bytes]], bytes]:
    return jsonl


@pytest.fixture(scope="session")
def source() -> Callable[..., Source]:
    """source(place, name="", **fields of the spec)"""
    return source_at


@pytest.fixture(scope="session")
def scanned() -> Callable[..., list[Row]]:
    """scanned(source, store, config=None)"""
    return scan_source


@pytest.fixture(scope="session")
def corpus() -> Callable[..., Corpus]:
    """corpus(sources, store, config=None, workers=1)"""
    return make_corpus


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
