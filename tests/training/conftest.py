"""A workspace with a plan, token shards of two sources and a tokenizer, as the stages before training leave them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sentencepiece import sentencepiece_model_pb2 as proto

from xmodel_core.artifacts import Artifact, Identity, Store, write_shard
from xmodel_core.artifacts.cache import cache_root
from xmodel_core.cluster import Cluster, open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.mixture.stage import build_plan
from xmodel_core.model.config import ModelConfig
from xmodel_core.specs import Mixture, Source
from xmodel_core.training import loop, stage
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.inputs import TrainingInputs
from xmodel_core.training.loader import Batch

VOCAB = 64
MODEL = ModelConfig(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=16,
    scale_emb=12.0,
    scale_depth=1.4,
    dim_model_base=8,
    initializer_range=0.1,
)
TRAINING: dict[str, Any] = {
    "warmup_steps": 4,
    "stable_steps": 20,
    "decay_steps": 12,
    "decay_shape": "linear",
    "peak_lr": 0.01,
    "global_batch_tokens": 64,
    "sequence_length": 8,
    "micro_batch_sequences": 4,
    "log_every_steps": 5,
    "checkpoint_every_steps": 7,
    "keep_checkpoints": 2,
    "validate_every_steps": 12,
    "validation_tokens": 64,
}


class Workspace(NamedTuple):
    """The artifacts that a run is trained from."""

    store: Store
    plan: Artifact
    shards: dict[str, Artifact]
    tokenizer: Artifact

    def planned(self, **changes: Any) -> "Workspace":
        """The workspace with a plan for other settings, made by the mixture stage."""
        mixture = Mixture.model_validate({"phases": [{"name": "all", "sources": {"zh_web": 3, "en_web": 1}}]})
        spec = {"category": "web", "license": "CC0-1.0", "uri": "raw"}
        sources = [Source(name=f"{lang}_web", lang=lang, **spec) for lang in ("zh", "en")]  # type: ignore[arg-type]
        schedule = TrainingConfig(**{**TRAINING, **changes}).phases()
        plan = build_plan("small", mixture, schedule, sources, list(self.shards.values()), self.store)
        return self._replace(plan=plan)

    def inputs(self, model: ModelConfig, training: TrainingConfig, cluster: Cluster) -> TrainingInputs:
        return TrainingInputs("small", model, training, self.plan, self.shards, self.tokenizer, self.store, cluster)

    def train(
        self, model: ModelConfig = MODEL, on_checkpoint: Callable[[str, int], None] | None = None, **changes: Any
    ) -> Artifact:
        config = TrainingConfig(**{**TRAINING, **changes})
        with open_cluster(ClusterConfig(workers=1)) as cluster:
            return stage.run(self.inputs(model, config, cluster), on_checkpoint)


def _artifact(
    store: Store,
    kind: str,
    name: str,
    files: dict[str, bytes],
    facts: dict[str, Any],
    inputs: dict[str, str] | None = None,
) -> Artifact:
    build = store.build(Identity(kind, name, 1, {}, inputs or {}))
    with write_shard(build.folder, "all") as shard:
        for path, data in files.items():
            shard.file(path).write_bytes(data)
    return build.commit(facts=facts)


def small_tokenizer() -> bytes:
    """A SentencePiece model of VOCAB pieces: three special ones, Latin letters of one byte, Chinese of three."""
    model = proto.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.normalizer_spec.add_dummy_prefix = False
    letters = [chr(ord("a") + i) for i in range(26)] + [chr(0x4E00 + i) for i in range(VOCAB - 29)]
    kinds = [("<unk>", 2), ("<s>", 3), ("</s>", 3), *((letter, 1) for letter in letters)]
    for number, (piece, kind) in enumerate(kinds):
        model.pieces.add(piece=piece, score=-float(number), type=kind)
    return model.SerializeToString()


def _shards(store: Store, name: str, tokens: int, held_out: int, tokenizer: Artifact) -> Artifact:
    # A walk whose next token depends on the one before: something to learn.
    rng = np.random.default_rng(tokens)
    walk = (np.cumsum(rng.integers(1, 4, tokens + held_out)) % VOCAB).astype("<u2")
    files = {}
    for part, ids in (("documents", walk[:tokens]), ("validation", walk[tokens:])):
        files[f"{part}-00000.tokens"] = ids.tobytes()
        ends = np.unique([*range(0, len(ids), 13)[1:], len(ids)]) if len(ids) else np.empty(0)
        files[f"{part}-00000.index"] = ends.astype("<u8").tobytes()
    facts = {"dtype": "uint16", "train_tokens": tokens, "tokenizer": tokenizer.fingerprint}
    return _artifact(store, "shards", name, files, {**facts, "validation_tokens": held_out, "validation_bytes": 300})


def make_workspace(store: Store) -> Workspace:
    files = {"tokenizer.model": small_tokenizer()}
    tokenizer = _artifact(store, "tokenizer", "small", files, {"vocab_size": VOCAB})
    shards = {
        "zh_web": _shards(store, "zh_web", 900, 100, tokenizer),
        "en_web": _shards(store, "en_web", 400, 5, tokenizer),
        "unused": _shards(store, "unused", 50, 0, tokenizer),
    }
    lengths = {"sequence_length": 8, "global_batch_tokens": 64}
    phases = [
        {
            **lengths,
            "name": name,
            "steps": steps,
            "sources": [_planned("zh_web", "zh", zh), _planned("en_web", "en", en)],
        }
        for name, steps, zh, en in (("stable", 24, 150, 42), ("decay", 12, 40, 56))
    ]
    plan = {
        "phases": phases,
        "shards": {name: {"label": shards[name].label} for name in ("en_web", "zh_web")},
    }
    files = {"plan.json": json.dumps(plan).encode()}
    inputs = {name: shards[name].fingerprint for name in ("en_web", "zh_web")}
    return Workspace(store, _artifact(store, "plans", "small", files, {}, inputs), shards, tokenizer)


class Trained(NamedTuple):
    """A finished run that many tests read and none changes."""

    workspace: Workspace
    run: Artifact
    announced: list[int]
    """Steps of the checkpoints that `on_checkpoint` was called with."""
    batches: list[Batch]
    """What each step was trained on."""


def train_once(root: Path, **changes: Any) -> Trained:
    """A run with a record of what it saw."""
    made, announced, batches = make_workspace(Store(root)), [], []
    training_step: Callable[..., tuple[float, float]] = loop.training_step

    def recording_step(*args: Any) -> tuple[float, float]:
        batches.append(args[2])
        return training_step(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "training_step", recording_step)
        run = made.train(on_checkpoint=lambda run, step: announced.append(step), **changes)
    return Trained(made, run, announced, batches)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The run of TRAINING."""
    return train_once(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def trained_best_fit(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The same with best-fit packing."""
    return train_once(tmp_path_factory.mktemp("trained"), packing="best-fit")


@pytest.fixture
def trained_with(request: pytest.FixtureRequest) -> Callable[[str], Trained]:
    """The run of TRAINING with a packing."""
    return lambda packing: request.getfixturevalue("trained" if packing == "concat" else "trained_best_fit")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """In a folder of this machine."""
    return make_workspace(Store(tmp_path))


@pytest.fixture
def remote_workspace(object_store: Any) -> Workspace:
    """The same on an object store, with nothing of it kept here."""
    made = make_workspace(Store("s3://bucket/work"))
    shutil.rmtree(cache_root() / "objects")
    return made


def _planned(source: str, lang: str, sequences: int) -> dict[str, Any]:
    return {"source": source, "lang": lang, "sequences": sequences}


@pytest.fixture
def small_settings() -> tuple[ModelConfig, dict[str, Any]]:
    """What `Workspace.train` trains, for a process of its own."""
    return MODEL, TRAINING
