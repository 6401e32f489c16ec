"""The report's entry point: the artifacts of one run in, a page out.

Takes the corpus, tokenizer, plan, run and evaluation that belong together, and the workspace's ledger, which must
be up to date; gives `reports/<name>-<fp>/index.html`. `inputs_of` looks up the artifacts of a run in the ledger.
"""

from xmodel_core.artifacts import Artifact, Identity, Store, write_shard
from xmodel_core.errors import XmodelError
from xmodel_core.ledger.query import run_query
from xmodel_core.report.facts import Subject
from xmodel_core.specs.strict import nearest

VERSION = 1
PARTS = ("corpus", "tokenizer", "plan", "run", "evaluation")
KINDS = {"corpus": "corpus", "tokenizer": "tokenizer", "plan": "plans", "run": "runs", "evaluation": "evaluations"}


def identity(name: str, inputs: dict[str, Artifact]) -> Identity:
    """A report is named by the artifacts it describes, by their part (PARTS; evaluation may be missing)."""
    assert {"corpus", "tokenizer", "plan", "run"} <= inputs.keys() <= set(PARTS), sorted(inputs)
    return Identity("reports", name, VERSION, {}, {part: inputs[part].fingerprint for part in PARTS if part in inputs})


def run(name: str, inputs: dict[str, Artifact], store: Store) -> Artifact:
    """The page about a run, written once. The ledger must hold the run (`refresh` after the last stage)."""
    report = identity(name, inputs)
    if done := store.find(report):
        return done
    build = store.build(report)
    if not build.finished("page"):
        # Imported here: a run whose report is already built needs no plotting library.
        from xmodel_core.report.render import render

        page = render(store.root, Subject(**{part: artifact.label for part, artifact in inputs.items()}))
        with write_shard(build.folder, "page") as shard:
            shard.file("index.html").write_text(page, encoding="utf-8")
    return build.commit()


def _one(store: Store, part: str, label: str | None) -> Artifact:
    kind = KINDS[part]
    for artifact in store.artifacts(kind):
        if artifact.label == label:
            return artifact
    raise XmodelError(
        f"the report needs the run's {part}, which is not in the workspace",
        found=label or "no label in the ledger",
        where=f"{store.root}/{kind}",
        remedy="run the recipe again: it builds the missing parts",
    )


def inputs_of(store: Store, run_label: str | None = None) -> dict[str, Artifact]:
    """The artifacts that belong to a finished run, by default the newest. XmodelError where there is none."""
    runs = store.artifacts("runs")
    labels = [artifact.label for artifact in runs]
    if not runs or (run_label and run_label not in labels):
        near = nearest(run_label, labels) if run_label else None
        raise XmodelError(
            f"there is no finished run {run_label}" if run_label else "there is no finished run yet",
            expected=f"one of {', '.join(labels)}" if labels else "a workspace with a finished training run",
            where=store.root,
            remedy=f"did you mean {near}?" if near else "`xmodel run` trains one",
        )
    chosen = next(artifact for artifact in runs if artifact.label == (run_label or labels[-1]))
    _, rows = run_query(store.root, "select plan, tokenizer from runs where run = $run", {"run": chosen.label})
    plan, tokenizer = rows[0] if rows else (None, None)
    # The newest corpus whose kept documents are the ones that were encoded and planned.
    _, rows = run_query(
        store.root,
        """
        select k.corpus from artifact_inputs i
        join artifacts s on s.kind = 'shards' and s.fingerprint = i.fingerprint
        join documents_encoded e on e.shards = s.label
        join documents_kept k on k.documents_digest = e.documents_digest and k.source = e.source
        join artifacts c on c.kind = 'corpus' and c.label = k.corpus
        where i.kind = 'plans' and i.label = $plan
        group by k.corpus order by count(*) desc, max(c.created_at) desc, k.corpus limit 1
        """,
        {"plan": plan},
    )
    parts = {
        "corpus": _one(store, "corpus", rows[0][0] if rows else None),
        "tokenizer": _one(store, "tokenizer", tokenizer),
        "plan": _one(store, "plan", plan),
        "run": chosen,
    }
    evaluation = _last_evaluation(store, chosen)
    return {**parts, "evaluation": evaluation} if evaluation else parts


def _last_evaluation(store: Store, run: Artifact) -> Artifact | None:
    """The evaluation of the run's last evaluated step; of several the newest."""
    steps: list[tuple[int, Artifact]] = []
    for evaluation in store.artifacts("evaluations"):
        manifest = evaluation.manifest()
        # Before version 2 the run's fingerprint was an input.
        if manifest["config"].get("run") == run.label or run.fingerprint in manifest["inputs"].values():
            steps.append((manifest["config"].get("step") or 0, evaluation))
    return max(reversed(steps), key=lambda dated: dated[0], default=(0, None))[1]
