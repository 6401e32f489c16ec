"""Entry point of the stage: a mixture, the schedule and the token shards in; plan.json out.

The plan's identity covers the shards that the mixture uses and no others, so a source outside the mixture
changes no plan.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from xmodel_core.artifacts import Artifact, Identity, Store, write_shard
from xmodel_core.errors import XmodelError
from xmodel_core.mixture.plan import PlannedPhase, Supply, make_plan
from xmodel_core.specs import Mixture, ScheduledPhase, Source

VERSION = 2


def used_sources(mixture: Mixture, sources: Sequence[Source]) -> list[Source]:
    """The sources that the mixture names, by themselves or by their lang/category."""
    keys = {key for phase in mixture.phases for key in phase.sources}
    return [source for source in sources if source.name in keys or f"{source.lang}/{source.category}" in keys]


def plan_identity(
    name: str,
    mixture: Mixture,
    schedule: Sequence[ScheduledPhase],
    sources: Sequence[Source],
    shards: dict[str, str],
) -> Identity:
    """`shards`: source → fingerprint of its token shards, at least of the sources that the mixture uses."""
    used = used_sources(mixture, sources)
    return Identity(
        kind="plans",
        name=name,
        version=VERSION,
        config={
            "mixture": mixture.model_dump(mode="json", include={"phases"}),
            "schedule": [list(phase) for phase in schedule],
            "sources": [[source.name, source.lang, source.category] for source in used],
        },
        inputs={source.name: shards[source.name] for source in used},
    )


def build_plan(
    name: str,
    mixture: Mixture,
    schedule: Sequence[ScheduledPhase],
    sources: Sequence[Source],
    shards: Sequence[Artifact],
    store: Store,
) -> Artifact:
    """plan.json and the ledger's rows of `mixture`.

    XmodelError: a source without token shards, or a mixture that these shards cannot satisfy (see `make_plan`).
    """
    by_source = {artifact.name: artifact for artifact in shards}
    encoded = [source for source in sources if source.name in by_source]
    if missing := [source.name for source in used_sources(mixture, sources) if source.name not in by_source]:
        raise XmodelError(
            f"the mixture uses {', '.join(missing)}, and there are no token shards of it",
            expected=f"shards of each source; there are those of {', '.join(sorted(by_source))}",
            remedy="run `xmodel tokenizer-train` with this recipe",
        )
    fingerprints = {source: artifact.fingerprint for source, artifact in by_source.items()}
    identity = plan_identity(name, mixture, schedule, encoded, fingerprints)
    if done := store.find(identity):
        return done
    facts = {source.name: by_source[source.name].manifest()["facts"] for source in encoded}
    supplies = [
        Supply(source.name, source.lang, source.category, facts[source.name]["train_tokens"]) for source in encoded
    ]
    phases = make_plan(mixture, schedule, supplies)
    used = sorted({planned.source for phase in phases for planned in phase.sources})
    plan = {
        "phases": [asdict(phase) for phase in phases],
        "shards": {
            source: {
                "label": by_source[source].label,
                "fingerprint": by_source[source].fingerprint,
                "dtype": facts[source]["dtype"],
            }
            for source in used
        },
    }
    build = store.build(identity)
    with write_shard(build.folder, "plan") as shard:
        text = json.dumps(plan, ensure_ascii=False, indent=1)
        shard.file("plan.json").write_text(text + "\n", encoding="utf-8")
    steps, tokens = sum(phase.steps for phase in schedule), sum(phase.tokens for phase in schedule)
    return build.commit({"mixture": _rows(identity.label, phases)}, {"steps": steps, "planned_tokens": tokens})


def _rows(label: str, phases: Sequence[PlannedPhase]) -> list[dict[str, Any]]:
    columns = ("source", "lang", "category", "weight", "supply_tokens", "planned_tokens", "epochs", "max_epochs")
    return [
        {"plan": label, "phase": phase.name, **{column: getattr(planned, column) for column in columns}}
        for phase in phases
        for planned in phase.sources
    ]
