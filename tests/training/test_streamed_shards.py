"""Shards read through a real S3 server and a cache of a tenth of their size: the same stream, read ahead."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.made_shards import random_lengths
from xmodel_core.artifacts import Artifact, Identity, Store, write_shard
from xmodel_core.artifacts.cache import cache_root
from xmodel_core.artifacts.page_cache import PageCache
from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.errors import XmodelError
from xmodel_core.training.loader import Batch, PhaseOrder, TokenStream

pytestmark = pytest.mark.xdist_group("s3")
SOURCES = {"a": 3, "b": 2}
"""Shards of each; about a million tokens in each shard."""
PHASES = [PhaseOrder("stable", 15, 512, 64, (650, 310)), PhaseOrder("decay", 10, 1024, 32, (250, 70))]
AHEAD = 4
TOKENIZER = "t" * 64


def put_shards(store: Store, source: str) -> Artifact:
    build = store.build(Identity("shards", source, 1, {}, {}))
    rng = np.random.default_rng(SOURCES[source])
    for number, lengths in enumerate(random_lengths(SOURCES[source], [3400] * SOURCES[source], 180)):
        with write_shard(build.folder, f"documents-{number:05d}") as shard:
            tokens = rng.integers(0, 32_000, sum(lengths)).astype("<u2")
            shard.file(f"documents-{number:05d}.tokens").write_bytes(tokens.tobytes())
            shard.file(f"documents-{number:05d}.index").write_bytes(np.cumsum(lengths).astype("<u8").tobytes())
    return build.commit(facts={"dtype": "uint16", "tokenizer": TOKENIZER})


def stream(store: Store, pages: PageCache | None = None, packing: Any = "concat") -> TokenStream:
    tokens = {
        source: TokenShards(store.artifacts("shards", source)[0], tokenizer=TOKENIZER, pages=pages)
        for source in SOURCES
    }
    # A group is 256 KiB of a source's 4 and 6 MB: what must be cached at a time fits.
    return TokenStream(PHASES, tokens, 0, packing, 1 << 17)


def size_of(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


@pytest.fixture
def stores(object_store: Any, tmp_path: Path) -> tuple[Store, Store]:
    here, there = Store(tmp_path / "here"), Store("s3://bucket/work")
    for source in SOURCES:
        assert put_shards(here, source).fingerprint == put_shards(there, source).fingerprint
    # What was written from here is kept here; another machine has nothing.
    for path in (cache_root() / "objects").rglob("*.tokens"):
        path.unlink()
    return here, there


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
def test_the_same_stream_through_a_tenth_of_the_disk(
    stores: tuple[Store, Store], tmp_path: Path, packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = stores
    size = size_of(tmp_path / "here", "*.tokens")
    cache = PageCache(size // 10)
    streamed, local = stream(there, cache, packing), stream(here, None, packing)
    make_batch, consumer_continues = streamed.batch, threading.Event()

    def held_after_the_first(step: int, rank: int, world: int) -> Batch:
        assert step <= 1 + AHEAD or consumer_continues.wait(300)
        return make_batch(step, rank, world)

    monkeypatch.setattr(streamed, "batch", held_after_the_first)
    batches = streamed.batches(1, ahead=AHEAD)
    most = 0
    for step in range(1, streamed.total_steps + 1):
        batch = next(batches)
        if step == 1 + AHEAD:  # these come without a later one being read
            consumer_continues.set()
        expected = local.batch(step)
        assert (batch.tokens_BT == expected.tokens_BT).all() and (batch.targets_BT == expected.targets_BT).all()
        with cache._lock:  # pages come and go in the thread that reads ahead
            most = max(most, size_of(cache_root() / ".partial", "*"))
    assert most <= size // 10
    assert not list((cache_root() / "objects").rglob("*.tokens")), "nothing is kept whole"


@pytest.mark.slow  # it waits out the client's pauses between retries
def test_a_server_that_goes_away_is_waited_for(stores: tuple[Store, Store], object_store: Any) -> None:
    here, there = stores
    streamed, local = stream(there, PageCache(200_000)), stream(here)
    assert (streamed.batch(1).tokens_BT == local.batch(1).tokens_BT).all()
    object_store.stop()
    batches = streamed.batches(20, ahead=1)
    threading.Timer(1.5, object_store.start).start()
    assert (next(batches).tokens_BT == local.batch(20).tokens_BT).all()
    batches.close()


def test_what_changed_on_the_server_is_refused_by_name(stores: tuple[Store, Store], object_store: Any) -> None:
    _, there = stores
    shards = there.artifacts("shards", "a")[0]
    TokenShards(shards, pages=PageCache(100_000)).verify(there.digest)
    (path,) = object_store.folder.rglob("a-*/documents-00001.tokens")
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(XmodelError, match=r"(?s)changed since it was written.*documents-00001.tokens"):
        TokenShards(shards, pages=PageCache(100_000)).verify(there.digest)
    shards.folder.remove("documents-00001.tokens")
    with pytest.raises(XmodelError, match=r"(?s)a token shard is missing.*documents-00001.tokens"):
        TokenShards(shards, pages=PageCache(100_000))
