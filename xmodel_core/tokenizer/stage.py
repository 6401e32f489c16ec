"""The room's two doors: corpus → tokenizer, and (source, corpus, tokenizer) → token shards.

Neither depends on the corpus's own fingerprint, only on digests of its documents files: a threshold
that changes no kept document rebuilds nothing here. A source's shards know nothing of the others.
"""

from collections.abc import Mapping

from xmodel_core.artifacts import Artifact, Identity, Store, fingerprint, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.errors import XmodelError
from xmodel_core.progress import track
from xmodel_core.specs import Source
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.documents import document_files, documents_digests, held_out_below
from xmodel_core.tokenizer.encode import EncodeTask, encode_file, token_dtype
from xmodel_core.tokenizer.sample import draw_sample
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.train import train

TOKENIZER_VERSION = 1
SHARDS_VERSION = 1


def tokenizer_identity(name: str, digests: Mapping[str, str], config: TokenizerConfig) -> Identity:
    """`digests`: source → digest of its kept documents, as the corpus manifest's facts give them."""
    return Identity(
        kind="tokenizer",
        name=name,
        version=TOKENIZER_VERSION,
        config=config.model_dump(mode="json"),
        inputs={"documents": fingerprint(dict(digests))},
    )


def train_tokenizer(name: str, corpus: Artifact, config: TokenizerConfig, store: Store) -> Artifact:
    """A tokenizer learned from a sample of the kept documents; XmodelError where the text does not allow it."""
    identity = tokenizer_identity(name, documents_digests(corpus), config)
    if done := store.find(identity):
        return done
    build = store.build(identity)
    if not (receipt := build.finished("tokenizer")):
        sample = draw_sample(document_files(corpus), config)
        # What SentencePiece does inside cannot be watched; the bar counts the text that went into it.
        with track("train tokenizer", sample.characters, "characters") as bar:
            model = train(sample.lines, config)
            bar.advance(sample.characters)
        tokenizer = Tokenizer(model)
        with write_shard(build.folder, "tokenizer") as shard:
            shard.file("tokenizer.model").write_bytes(model)
            shard.facts.update(
                vocab_size=tokenizer.vocab_size,
                bos_id=tokenizer.bos_id,
                eos_id=tokenizer.eos_id,
                special_ids=tokenizer.special_ids,
                sample=sample.languages,
                absent_languages=sorted(set(config.sample_shares) - set(sample.languages)),
            )
        receipt = build.finished("tokenizer")
        assert receipt is not None
    return build.commit(facts=receipt.facts)


def shards_identity(
    source: str, documents_digest: str, tokenizer_fingerprint: str, config: TokenizerConfig
) -> Identity:
    """Of the config only what is held out matters; the rest is in the tokenizer."""
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
    """A source's kept documents as token shards, one per documents file, in parallel."""
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
    tasks = [
        EncodeTask(
            file=file,
            held_out_below=bound,
            tokenizer=tokenizer,
            folder=build.folder,
            label=identity.label,
            lang=source.lang,
            category=source.category,
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
            "dtype": token_dtype(Tokenizer.load(tokenizer).vocab_size),
            "documents_digest": digest,
            "tokenizer": tokenizer.fingerprint,
        }
    )
