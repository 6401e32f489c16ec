"""Documents become shards: each is encoded once, in its row, with EOS, whatever the workers and kills."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xmodel_core.artifacts import Artifact, Store, file_digest, open_folder
from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.cluster import Cluster, ClusterConfig, open_cluster
from xmodel_core.errors import XmodelError
from xmodel_core.tokenizer.documents import document_files, held_out, held_out_below
from xmodel_core.tokenizer.encode import token_dtype
from xmodel_core.tokenizer.stage import encode_source, shards_identity, train_tokenizer
from xmodel_core.tokenizer.tokenizer import Tokenizer

pytestmark = pytest.mark.xdist_group("tokenizer")
ALONE = Cluster(ClusterConfig(workers=1))


def digests(artifact: Artifact) -> dict[str, str]:
    return {path.name: file_digest(path) for path in sorted(artifact.path.glob("*.*")) if path.suffix != ".json"}


def spans(folder: Path, shard: str, tokens: np.ndarray) -> list[list[int]]:
    ends = np.fromfile(folder / f"{shard}.index", "<u8").astype(int).tolist()
    return [tokens[start:end].tolist() for start, end in zip([0, *ends][:-1], ends, strict=True)]


def test_every_document_is_encoded_once_in_its_row(built: Any, documents: Any) -> None:
    trained, shards = built.tokenizer, built.shards
    tokenizer = Tokenizer.load(trained)
    bound = held_out_below(document_files(built.corpus)["mixed"], built.config.validation_documents)
    seen = 0
    for number, rows in (
        ("00000", documents("en", 60)),
        ("00001", []),
        ("00002", documents("zh", 50) + documents("code", 10)),
    ):
        validation = held_out("mixed", [row[0] for row in rows], bound)
        parts = {
            part: spans(shards.path, f"{part}-{number}", np.fromfile(shards.path / f"{part}-{number}.tokens", "<u2"))
            for part in ("documents", "validation")
        }
        for row, (_, text, _) in enumerate(rows):
            part, other = ("validation", "documents") if validation[row] else ("documents", "validation")
            assert parts[part][row] == [*tokenizer.encode(text), tokenizer.eos_id]
            assert parts[other][row] == []
            seen += 1
    facts = shards.manifest()["facts"]
    assert (facts["docs"], facts["validation_docs"], facts["dtype"], facts["tokenizer"]) == (
        seen,
        4,
        "uint16",
        trained.fingerprint,
    )


def test_rows_of_the_ledger_add_up(built: Any, documents: Any) -> None:
    trained, shards = built.tokenizer, built.shards
    rows = [row for receipt in shards.receipts().values() for row in receipt.rows["token_shards"]]
    assert {row["shard"] for row in rows} == {path.stem for path in shards.path.glob("*.tokens")}
    for row in rows:
        path = shards.path / f"{row['shard']}.tokens"
        assert (row["shards"], row["lang"]) == (shards.label, "multi")
        assert (row["bytes"], row["sha256"]) == (path.stat().st_size, file_digest(path))
        assert row["tokens"] * 2 == row["bytes"]
    assert sum(row["docs"] for row in rows) == 120

    fertility = [row for receipt in shards.receipts().values() for row in receipt.rows["tokenizer_fertility"]]
    assert sum(row["chars"] for row in fertility if row["lang"] == "zh") == sum(len(d[1]) for d in documents("zh", 50))
    assert sum(row["bytes"] for row in fertility if row["lang"] == "zh") > 2 * sum(
        len(d[1]) for d in documents("zh", 50)
    )
    # EOS is counted in shards and belongs to no text.
    assert sum(row["tokens"] for row in fertility) == sum(row["tokens"] for row in rows) - 120
    assert {row["tokenizer"] for row in fertility} == {trained.label}


def test_same_bytes_whatever_the_workers_and_kills(built: Any, tmp_path: Path) -> None:
    encode = partial(encode_source, built.source("mixed", "multi"), built.corpus, built.tokenizer, built.config)
    with open_cluster(ClusterConfig(workers=2)) as two:
        parallel = encode(Store(tmp_path), two)
    assert digests(parallel) == digests(built.shards)

    # As a kill leaves it: no manifest, one shard without its receipt, one with a file gone.
    (parallel.path / "manifest.json").unlink()
    (parallel.path / "receipts" / "documents-00000.json").unlink()
    (parallel.path / "documents-00002.index").unlink()
    kept = (parallel.path / "documents-00001.tokens").stat().st_mtime_ns
    again = encode(Store(tmp_path), ALONE)
    assert digests(again) == digests(built.shards)
    assert (parallel.path / "documents-00001.tokens").stat().st_mtime_ns == kept, "a finished shard stays"


def test_a_source_depends_on_its_own_documents(built: Any, make_corpus: Any, documents: Any, tmp_path: Path) -> None:
    source, config = built.source, built.config
    store = Store(tmp_path / "built")
    own = documents("en", 50) + documents("code", 50)
    small = make_corpus({"a": [own]}, place="small")
    trained = train_tokenizer("small", small, [], config.model_copy(update={"vocab_size": 350}), store)
    before = encode_source(source("a"), small, trained, config, store, ALONE)
    grown = make_corpus({"a": [own], "b": [documents("zh", 9)]}, place="grown")
    assert encode_source(source("a"), grown, trained, config, store, ALONE) == before

    resampled = config.model_copy(update={"seed": 5, "sample_characters": 9})
    assert shards_identity("a", "1", "2", resampled) == shards_identity("a", "1", "2", config)
    with pytest.raises(XmodelError, match="has no source c"):
        encode_source(source("c"), grown, trained, config, store, ALONE)


def test_tokens_are_as_wide_as_the_vocabulary_asks() -> None:
    assert [token_dtype(size) for size in (1_200, 65_280, 65_536, 65_537)] == ["uint16", "uint16", "uint16", "uint32"]


class TestReading:
    """What training reads: one sequence of tokens per source."""

    @pytest.fixture
    def shards(self, built: Any, tmp_path: Path) -> Artifact:
        """A copy, to damage."""
        copy = tmp_path / built.shards.label
        shutil.copytree(built.shards.path, copy)
        return replace(built.shards, folder=open_folder(copy))

    def test_slices_cross_shards_and_wrap(self, shards: Artifact) -> None:
        tokens = TokenShards(shards)
        expected = np.concatenate([np.fromfile(path, "<u2") for path in sorted(shards.path.glob("documents-*.tokens"))])
        assert len(tokens) == len(expected) == shards.manifest()["facts"]["train_tokens"]
        border = (shards.path / "documents-00000.tokens").stat().st_size // 2
        circle = np.concatenate([expected, expected, expected])
        for start, length in (
            (0, 5),
            (border - 3, 7),
            (len(expected) - 2, 6),
            (17, 2 * len(expected)),
            (len(expected), 1),
            (3, 0),
        ):
            assert np.array_equal(tokens.slice(start, length), circle[start : start + length]), (start, length)

    def test_the_held_out_are_read_apart(self, shards: Artifact) -> None:
        assert len(TokenShards(shards, "validation")) == shards.manifest()["facts"]["validation_tokens"] > 0

    def test_damage_is_refused_by_name(self, shards: Artifact) -> None:
        TokenShards(shards).verify()
        path = shards.path / "documents-00002.tokens"
        good = path.read_bytes()
        path.write_bytes(good[:-2] + bytes([good[-2] ^ 1, good[-1]]))
        with pytest.raises(XmodelError, match=r"(?s)has changed since.*documents-00002\.tokens"):
            TokenShards(shards).verify()
        path.write_bytes(good[:-2])
        with pytest.raises(XmodelError, match=r"(?s)is damaged.*documents-00002\.tokens"):
            TokenShards(shards)
        path.unlink()
        with pytest.raises(XmodelError, match=r"(?s)is missing.*documents-00002\.tokens"):
            TokenShards(shards)

    def test_another_tokenizer_is_refused(self, shards: Artifact) -> None:
        right = json.loads((shards.path / "manifest.json").read_text())["facts"]["tokenizer"]
        TokenShards(shards, tokenizer=right)
        with pytest.raises(XmodelError, match="another tokenizer"):
            TokenShards(shards, tokenizer="0" * 64)

    def test_a_missing_documents_file_is_refused(self, make_corpus: Any, documents: Any) -> None:
        corpus = make_corpus({"mixed": [documents("en", 3)]})
        (corpus.path / "documents" / "mixed-00000.parquet").unlink()
        with pytest.raises(XmodelError, match=r"(?s)kept documents is missing.*mixed-00000"):
            document_files(corpus)
