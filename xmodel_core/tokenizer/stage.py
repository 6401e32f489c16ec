"""The stages: corpus → tokenizer; (source, corpus, tokenizer) → token shards; reports and sweeps of tokenizers.

None depends on the corpus's own fingerprint, only on digests of its documents files: a threshold that changes no
kept document rebuilds nothing here. A source's shards do not depend on the other sources.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from xmodel_core.artifacts import Artifact, Identity, Store, fingerprint, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.errors import XmodelError
from xmodel_core.progress import track
from xmodel_core.specs import Source
from xmodel_core.tokenizer.comparison import (
    UNSEEN,
    ComparedDocuments,
    code_rows,
    compare,
    longest_pieces,
    open_tokenizer,
    rates,
)
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.documents import document_files, documents_digests, held_out_below
from xmodel_core.tokenizer.encode import EncodeTask, encode_file, token_dtype
from xmodel_core.tokenizer.sample import Draw, draw_sample
from xmodel_core.tokenizer.sweep import LANGUAGES, SweepGrid, draw_trade_off, write_table
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.tokenizer_json import tokenizer_config_json, tokenizer_json
from xmodel_core.tokenizer.train import train

TOKENIZER_VERSION = 2
SHARDS_VERSION = 3
REPORT_VERSION = 1


def tokenizer_identity(
    name: str, digests: Mapping[str, str], config: TokenizerConfig, sources: Sequence[Source]
) -> Identity:
    """`digests`: source → digest of its kept documents, as the corpus manifest's facts give them. Categories are part
    of the identity only where the sample's shares name one."""
    inputs = {"documents": fingerprint(dict(digests))}
    if any("/" in share for share in config.sample_shares):
        inputs["categories"] = fingerprint(_categories(sources))
    return Identity(
        kind="tokenizer",
        name=name,
        version=TOKENIZER_VERSION,
        config=config.model_dump(mode="json"),
        inputs=inputs,
    )


def _categories(sources: Sequence[Source]) -> dict[str, str]:
    return {source.name: source.category for source in sources}


def train_tokenizer(
    name: str, corpus: Artifact, sources: Sequence[Source], config: TokenizerConfig, store: Store
) -> Artifact:
    """Trains a tokenizer on a sample of the kept documents. XmodelError: the text does not allow the vocabulary."""
    identity = tokenizer_identity(name, documents_digests(corpus), config, sources)
    if done := store.find(identity):
        return done
    build = store.build(identity)
    if not (receipt := build.finished("tokenizer")):
        sample = draw_sample(document_files(corpus), config, _categories(sources))
        # SentencePiece reports no progress; the bar counts the text that went in.
        with track("train tokenizer", sample.characters, "characters") as bar:
            model = train(sample.lines, config)
            bar.advance(sample.characters)
        tokenizer = Tokenizer(model)
        with write_shard(build.folder, "tokenizer") as shard:
            shard.file("tokenizer.model").write_bytes(model)
            shard.file("tokenizer.json").write_text(tokenizer_json(model), encoding="utf-8")
            shard.file("tokenizer_config.json").write_text(tokenizer_config_json(model), encoding="utf-8")
            shard.facts.update(
                vocab_size=tokenizer.vocab_size,
                bos_id=tokenizer.bos_id,
                eos_id=tokenizer.eos_id,
                special_ids=tokenizer.special_ids,
                sample=sample.shares,
                absent_shares=sorted(set(config.sample_shares) - set(sample.shares)),
            )
        receipt = build.finished("tokenizer")
        assert receipt is not None
    return build.commit(facts=receipt.facts)


def shards_identity(
    source: str, documents_digest: str, tokenizer_fingerprint: str, config: TokenizerConfig
) -> Identity:
    """Of the config only `validation_documents` matters; the rest is in the tokenizer's fingerprint."""
    return Identity(
        kind="shards",
        name=source,
        version=SHARDS_VERSION,
        config={"validation_documents": config.validation_documents},
        inputs={"documents": documents_digest, "tokenizer": tokenizer_fingerprint},
    )


def encode_source(
    source: Source, corpus: Artifact, tokenizer: Artifact, config: TokenizerConfig, store: Store, cluster: Cluster
) -> Artifact:
    """Encodes a source's kept documents into token shards, one per documents file, in parallel. XmodelError where the
    corpus has no such source."""
    digest = documents_digests(corpus).get(source.name)
    if digest is None:
        raise XmodelError(
            f"the corpus {corpus.label} has no source {source.name}",
            expected=f"one of {', '.join(documents_digests(corpus))}",
            remedy="build the corpus of this recipe: `xmodel xdata-build`",
        )
    identity = shards_identity(source.name, digest, tokenizer.fingerprint, config)
    if done := store.find(identity):
        return done
    build = store.build(identity)
    files = document_files(corpus)[source.name]
    bound = held_out_below(files, config.validation_documents)
    draw = Draw.of(tokenizer)
    tasks = [
        EncodeTask(
            file=file,
            held_out_below=bound,
            tokenizer=tokenizer,
            folder=build.folder,
            label=identity.label,
            lang=source.lang,
            category=source.category,
            draw=draw,
        )
        for file in files
    ]
    missing = [task for task in tasks if not build.finished(task.shard)]
    sizes = [task.file.documents for task in missing]
    cluster.map(encode_file, missing, f"encode {source.name}", unit="documents", sizes=sizes)
    receipts = [receipt for task in tasks if (receipt := build.finished(task.shard))]
    assert len(receipts) == len(tasks)
    counts = {
        name: sum(receipt.facts[name] for receipt in receipts)
        for name in ("docs", "train_tokens", "validation_tokens", "validation_docs", "validation_bytes")
    }
    return build.commit(
        facts={
            **counts,
            "dtype": token_dtype(tokenizer.manifest()["facts"]["vocab_size"]),
            "documents_digest": digest,
            "tokenizer": tokenizer.fingerprint,
        }
    )


def report_tokenizer(
    name: str, corpus: Artifact, sources: Sequence[Source], tokenizer: Artifact, against: Sequence[Path], store: Store
) -> Artifact:
    """Compares a tokenizer with others (.model or tokenizer.json) on the documents of its corpus: rows of
    tokenizer_comparison, and as facts the longest pieces and the tokens of code."""
    others = dict(open_tokenizer(path) for path in against)
    config = tokenizer.manifest()["config"]
    identity = Identity(
        kind="tokenizer_reports",
        name=name,
        version=REPORT_VERSION,
        config={"against": sorted(others)},
        inputs={
            "documents": fingerprint(documents_digests(corpus)),
            "categories": fingerprint(_categories(sources)),
            "tokenizer": tokenizer.fingerprint,
        },
    )
    if done := store.find(identity):
        return done
    named = {tokenizer.label: Tokenizer.load(tokenizer), **others}
    build = store.build(identity)
    documents = ComparedDocuments(
        document_files(corpus), _categories(sources), config["validation_documents"], [Draw.of(tokenizer)]
    )
    rows = compare(documents, named)
    return build.commit(
        rows={"tokenizer_comparison": [{"report": identity.label, **row} for row in rows]},
        facts={
            "code": code_rows(named),
            "longest_pieces": {name: longest_pieces(each) for name, each in named.items()},
        },
    )


def sweep_tokenizers(
    name: str,
    corpus: Artifact,
    sources: Sequence[Source],
    config: TokenizerConfig,
    grid: SweepGrid,
    store: Store,
) -> Artifact:
    """Trains a tokenizer for every size and Chinese share and measures each on text that none of them learned from:
    trade_off.png, trade_off.tsv. XmodelError where there is no such text."""
    identity = Identity(
        kind="tokenizer_sweeps",
        name=name,
        version=REPORT_VERSION,
        config={**config.model_dump(mode="json"), "vocab_sizes": sorted(grid.vocab_sizes)}
        | {"zh_shares": sorted(grid.zh_shares)},
        inputs={
            "documents": fingerprint(documents_digests(corpus)),
            "categories": fingerprint(_categories(sources)),
            "tokenizer": fingerprint(TOKENIZER_VERSION),
        },
    )
    if done := store.find(identity):
        return done
    build = store.build(identity)
    trained = {}
    for share, one_config in grid.configs(config):
        artifact = train_tokenizer(name, corpus, sources, one_config, store)
        trained[artifact.label] = (artifact, share)
    draws = [Draw.of(artifact) for artifact, _ in trained.values()]
    documents = ComparedDocuments(document_files(corpus), _categories(sources), config.validation_documents, draws)
    named = {label: Tokenizer.load(artifact) for label, (artifact, _) in trained.items()}
    rows = compare(documents, named, UNSEEN)
    tokens_per_char = rates(rows, "tokenizer", "lang")
    table = [
        {"tokenizer": label, "pieces": artifact.manifest()["facts"]["vocab_size"], "zh_share": share}
        | {lang: tokens_per_char.get((label, lang)) for lang in LANGUAGES}
        for label, (artifact, share) in trained.items()
    ]
    if not all(row[lang] for row in table for lang in ("zh", "en")):
        raise XmodelError(
            "there is no unseen text to compare the tokenizers on",
            expected="documents in Chinese and in English that the sample leaves out",
            remedy="hold sources out: --set 'tokenizer.held_out_sources=[…]', or raise tokenizer.validation_documents",
        )
    with write_shard(build.folder, "trade_off") as shard:
        write_table(table, shard.file("trade_off.tsv"))
        draw_trade_off(table, shard.file("trade_off.png"))
        shard.rows("tokenizer_comparison", [{"report": identity.label, **row} for row in rows])
    return build.commit(facts={"trade_off": table})
