"""A hand-made workspace whose books close: two sources, three stages, one tokenizer, one plan, one finished run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xmodel_core.artifacts import Artifact, Identity, Store, write_shard

Row = dict[str, Any]


def flow(stage: str, source: str, lang: str, docs: tuple[int, int, int], chars: tuple[int, int, int, int]) -> Row:
    return {
        "stage": stage,
        "source": source,
        "lang": lang,
        **dict(zip(("docs_in", "docs_out", "docs_dropped"), docs, strict=True)),
        **dict(zip(("chars_in", "chars_out", "chars_dropped", "chars_removed_in_kept"), chars, strict=True)),
        "seconds": 0.1,
    }


def _flows() -> list[Row]:
    return [
        flow("read", "wiki", "zh", (10, 10, 0), (1000, 1000, 0, 0)),
        flow("read", "wiki", "other", (1, 0, 1), (0, 0, 0, 0)),
        flow("exact", "wiki", "zh", (10, 8, 2), (1000, 800, 200, 0)),
        # Masking put in more characters than it took out: negative, and the books still close.
        flow("mask", "wiki", "zh", (8, 8, 0), (800, 805, 0, -5)),
        flow("read", "news", "en", (4, 4, 0), (400, 400, 0, 0)),
        flow("exact", "news", "en", (4, 4, 0), (400, 400, 0, 0)),
        flow("mask", "news", "en", (4, 4, 0), (400, 390, 0, 10)),
    ]


def _drops() -> list[Row]:
    return [
        {"stage": "read", "source": "wiki", "lang": "other", "reason": "unreadable", "docs": 1, "chars": 0},
        {"stage": "exact", "source": "wiki", "lang": "zh", "reason": "exact_copy", "docs": 2, "chars": 200},
    ]


def _runs() -> list[Row]:
    return [{"recipe": "tiny", "tokenizer": "tok", "status": "finished", "parameters": 1000, "world_size": 1}]


@dataclass
class Books:
    """What the stages would write; a test breaks one line of it, then writes it."""

    flow: list[Row] = field(default_factory=_flows)
    drops: list[Row] = field(default_factory=_drops)
    kept: dict[str, int] = field(default_factory=lambda: {"wiki": 8, "news": 4})
    encoded: dict[str, dict[str, tuple[int, int]]] = field(
        default_factory=lambda: {
            "wiki": {"documents-00000": (7, 700), "validation-00000": (1, 90)},
            "news": {"documents-00000": (4, 300)},
        }
    )
    """Per source and shard: documents, tokens."""
    train_tokens: dict[str, int] = field(default_factory=lambda: {"wiki": 700, "news": 300})
    supply: dict[str, int] = field(default_factory=lambda: {"wiki": 700, "news": 300})
    planned: dict[str, int] = field(default_factory=lambda: {"wiki": 512, "news": 256})
    consumed: list[tuple[int, str, int]] = field(
        default_factory=lambda: [(1, "wiki", 256), (1, "news", 128), (2, "wiki", 512), (2, "news", 256)]
    )
    runs: list[Row] = field(default_factory=_runs)

    def write(self, root: Path) -> dict[str, Artifact]:
        """Through the store, as the stages do."""
        store = Store(root)
        made = {"corpus": self._corpus(store)}
        shards = {source: self._shards(store, source) for source in self.encoded}
        made |= shards
        inputs = {f"shards:{source}": artifact.fingerprint for source, artifact in shards.items()}
        plan = Identity("plans", "tiny", 1, {}, inputs)
        rows = [
            {"plan": plan.label, "phase": "stable", "source": source, "lang": "zh", "weight": 0.5}
            | {"supply_tokens": self.supply[source], "planned_tokens": tokens, "epochs": 1.0}
            for source, tokens in self.planned.items()
        ]
        made["plan"] = store.build(plan).commit({"mixture": rows})
        made["run"] = self._run(store, made["plan"])
        return made

    def _corpus(self, store: Store) -> Artifact:
        identity = Identity("corpus", "tiny", 1, {"min_chars": 5}, {})
        build = store.build(identity)
        for source in self.kept:
            with write_shard(build.folder, f"decide-{source}") as shard:
                for table, rows in (("document_flow", self.flow), ("document_drops", self.drops)):
                    own = [{"corpus": identity.label, **row} for row in rows if row["source"] == source]
                    shard.rows(table, own)
        digests = {source: {"documents_digest": f"d-{source}", "docs": docs} for source, docs in self.kept.items()}
        return build.commit(facts={"sources": digests})

    def _shards(self, store: Store, source: str) -> Artifact:
        identity = Identity("shards", source, 1, {}, {"documents": f"d-{source}"})
        build = store.build(identity)
        for name, (docs, tokens) in self.encoded[source].items():
            with write_shard(build.folder, name) as shard:
                each = np.full(docs, tokens // docs, "<u8")
                each[-1] += tokens - each.sum()
                shard.file(f"{name}.index").write_bytes(np.cumsum(each).astype("<u8").tobytes())
                row = {"shards": identity.label, "source": source, "lang": "zh", "shard": name}
                shard.rows("token_shards", [{**row, "docs": docs, "tokens": tokens}])
        return build.commit(
            facts={"documents_digest": f"d-{source}", "train_tokens": self.train_tokens[source], "tokenizer": "f" * 64}
        )

    def _run(self, store: Store, plan: Artifact) -> Artifact:
        identity = Identity("runs", "tiny", 1, {}, {"plan": plan.fingerprint})
        build = store.build(identity)
        part(build.folder.path, "runs", 0, [{"run": identity.label, "plan": plan.label, **row} for row in self.runs])
        part(
            build.folder.path,
            "consumed",
            0,
            [
                {
                    "run": identity.label,
                    "step": step,
                    "phase": "stable",
                    "source": source,
                    "lang": "zh",
                    "tokens": tokens,
                }
                for step, source, tokens in self.consumed
            ],
        )
        return build.commit()


def part(run_folder: Path, table: str, number: int, rows: list[Row]) -> None:
    """One part of a running training's metrics."""
    path = run_folder / "metrics" / table / f"{number:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture(name="part")
def part_fixture() -> Callable[[Path, str, int, list[Row]], None]:
    return part


@pytest.fixture
def books() -> Books:
    return Books()
