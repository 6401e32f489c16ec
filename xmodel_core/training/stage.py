"""Entry point of training: `TrainingInputs` in, a run out.

A run's identity is what decides its weights: never where it runs or how many workers. Its folder is held
by a lease while it is worked on; a killed run continues from its newest complete checkpoint, bit for bit.
"""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree, which
from typing import TYPE_CHECKING, Any

from xmodel_core.artifacts import Artifact, Folder, Identity, Store
from xmodel_core.artifacts.lease import Lease, lease
from xmodel_core.artifacts.store import Digest
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.inputs import TrainingInputs

if TYPE_CHECKING:
    from xmodel_core.training.job import Job
    from xmodel_core.training.loader import TokenStream

VERSION = 2
WITHOUT_RECEIPT = ("metrics/*/*.parquet", "checkpoints/step-*/manifest.json")
"""The files of a run that its manifest lists; a checkpoint's manifest lists the others."""
_log = logging.getLogger(__name__)


def identity(name: str, model: ModelConfig, training: TrainingConfig, plan: str, tokenizer: str) -> Identity:
    """The identity of a run; `plan` and `tokenizer` are fingerprints. The plan's covers the shards."""
    return Identity(
        kind="runs",
        name=name,
        version=VERSION,
        config={"model": model.model_dump(mode="json"), "training": training.identity()},
        inputs={"plan": plan, "tokenizer": tokenizer},
    )


def cpp_compiler() -> str | None:
    """The C++ compiler that fused kernels are made with; None where there is none."""
    return next((path for name in (os.environ.get("CXX"), "g++", "clang++") if name and (path := which(name))), None)


def _require_compiler() -> None:
    if cpp_compiler() is None:
        raise XmodelError(
            "there is no C++ compiler here",
            expected="g++ or clang++ on the PATH, or its name in CXX, as training.compile says",
            remedy="install one (Debian: apt install g++), or --set training.compile=false",
        )


def final_checkpoint(run: Artifact) -> Path:
    """The last checkpoint of a finished run, as a folder on this machine."""
    return run.folder.tree(run.manifest()["facts"]["checkpoint"])


def _inputs_of(store: Store, run: Artifact) -> tuple[dict[str, Any], Artifact, dict[str, Artifact]]:
    """A finished run's manifest, its plan and its token shards by source. XmodelError where they are gone."""
    manifest = run.manifest()
    if manifest["version"] != VERSION:
        raise XmodelError(
            f"the run {run.label} was trained by another version of Xmodel",
            expected=f"version {VERSION} of training, whose order of tokens it can read",
            found=f"version {manifest['version']}",
            where=run.folder,
            remedy="use the version that trained it, or train again",
        )
    wanted = manifest["inputs"]["plan"]
    plan = next((plan for plan in store.artifacts("plans") if plan.fingerprint == wanted), None)
    by_print = {shards.fingerprint: shards for shards in store.artifacts("shards")}
    inputs = plan.manifest()["inputs"] if plan else {}
    if plan is None or not set(inputs.values()) <= set(by_print):
        raise XmodelError(
            f"the inputs of the run {run.label} are no longer in the workspace",
            expected="its plan and the plan's token shards",
            found="no such plan" if plan is None else "shards are missing",
            where=store.root,
            remedy="run its recipe again: missing artifacts are built as they were",
        )
    return manifest, plan, {source: by_print[fingerprint] for source, fingerprint in sorted(inputs.items())}


def stream_of(store: Store, run: Artifact) -> "TokenStream":
    """The token stream that a finished run consumed, from its plan, shards and seed: which steps saw which tokens.
    XmodelError where its plan or shards are no longer in the store, or it is of another version."""
    from xmodel_core.training.job import open_stream, open_tokens

    manifest, plan, shards = _inputs_of(store, run)
    values, config = _plan_values(plan), TrainingConfig.from_identity(manifest["config"]["training"])
    shards = {source: shards[source] for source in values["shards"]}
    return open_stream(values, config, open_tokens(config, shards, manifest["inputs"]["tokenizer"]))


def verify_shards(store: Store, run: Artifact, digest: Digest) -> None:
    """Compares the token shards of a finished run with their receipts; XmodelError names the first that differs."""
    from xmodel_core.artifacts.token_shards import TokenShards

    for artifact in _inputs_of(store, run)[2].values():
        TokenShards(artifact).verify(digest)


def _plan_values(plan: Artifact) -> dict[str, Any]:
    return json.loads(plan.file("plan.json").read_text(encoding="utf-8"))


def job_of(label: str, folder: Folder, inputs: TrainingInputs) -> "Job":
    """What a worker is handed to train. `label`: the run's; `folder`: where its files go. XmodelError where model, plan
    and shards do not belong together."""
    from xmodel_core.training.job import Job

    context = inputs.model.max_position_embeddings
    if inputs.training.longest_sequence > context:
        raise XmodelError(
            "the sequences are longer than the model's context",
            expected=f"training.sequence_length of at most {context}",
            found=inputs.training.longest_sequence,
            where="model.max_position_embeddings",
            remedy="lengthen the one or shorten the other",
        )
    plan = _plan_values(inputs.plan)
    if missing := sorted(set(plan["shards"]) - set(inputs.shards)):
        raise XmodelError(
            "the plan's sources have no token shards here", expected=", ".join(missing), where=inputs.plan.folder
        )
    return Job(
        run=label,
        recipe=inputs.name,
        folder=folder,
        model=inputs.model,
        training=inputs.training,
        vocab_size=inputs.tokenizer.manifest()["facts"]["vocab_size"],
        plan_label=inputs.plan.label,
        plan=plan,
        tokenizer=inputs.tokenizer,
        shards={source: inputs.shards[source] for source in sorted(plan["shards"])},
    )


def run(inputs: TrainingInputs, on_checkpoint: Callable[[str, int], None] | None = None) -> Artifact:
    """Trains, or finds the run trained. `on_checkpoint(label, step)` is called for each new checkpoint, while training
    continues.

    XmodelError: settings, plan and shards that do not belong together; a loss that is not finite; another process
    at work on the run; a full disk. The exception of a signal (KeyboardInterrupt and its like) is raised when the run
    is stopped and its checkpoint saved, which its note says.
    """
    config, store = inputs.training, inputs.store
    identified = identity(inputs.name, inputs.model, config, inputs.plan.fingerprint, inputs.tokenizer.fingerprint)
    if done := store.find(identified):
        return done
    # Imported late, because they import torch: finding a finished run must not cost that.
    from xmodel_core.model.device import choose_device
    from xmodel_core.training.checkpoint.names import checkpoint_name, complete_checkpoints, step_of
    from xmodel_core.training.loop import train
    from xmodel_core.training.stop import run_stoppable
    from xmodel_core.training.watch import watch

    if config.compile:
        _require_compiler()
    job = job_of(identified.label, store.folder(identified), inputs)
    build = store.build(identified)
    # What does not match, or differs from its receipt, is refused before workers start.
    assert job.stream.total_steps == config.total_steps
    for source in job.shards:
        job.tokens[source].verify(store.digest)
    use_gpu = choose_device(config.device, "training.device").type == "cuda"
    total, folder = config.total_steps, build.folder
    shown = watch(folder, f"train {inputs.name}", total, job.stream.tokens_after, on_checkpoint)
    with lease(folder) as held, shown:
        if done := store.find(identified):  # by the process that held the lease until now
            return done
        # Ray's own files: not used afterwards, but every one of its workers must be able to reach them.
        local = folder.working_folder() / "ray"
        storage = f"{folder}/ray" if inputs.cluster.kind == "ray" else str(local)
        settings = {**replace(job, lease=held).settings(), "ray_storage": storage}

        def work() -> None:
            workers = config.workers, config.threads_per_worker, use_gpu
            inputs.cluster.train(train, settings, *workers, lambda: complete_checkpoints(folder)[-1:])

        try:
            stopped_by = run_stoppable(work, folder)
            held.check()
        except BaseException as error:
            _record_end(held, "failed" if isinstance(error, Exception) else "stopped")
            raise
        finally:
            rmtree(local, ignore_errors=True)
            folder.remove_tree("ray")
        reached = step_of((complete_checkpoints(folder) or ["step-0"])[-1])
        if stopped_by and reached < total:
            _record_end(held, "stopped")
            if reached:
                stopped_by.add_note(
                    f"{job.run} is saved at step {reached:,} of {total:,}; run the same command again to continue"
                )
            raise stopped_by
        facts = {"checkpoint": checkpoint_name(total), "steps": total, "tokens": config.total_tokens}
        run = build.commit(facts=facts, files=WITHOUT_RECEIPT)
    if stopped_by:
        stopped_by.add_note(f"{job.run} is trained to its end; run the same command again to continue")
        raise stopped_by
    return run


def _record_end(held: Lease, status: str) -> None:
    """Records how a run ended that is not finished, where it is still ours and can be recorded."""
    from xmodel_core.training.metrics import end_run_row

    try:
        held.check()
        end_run_row(held.folder, status)
    except (OSError, XmodelError) as error:
        _log.warning("%s: not recorded as %s (%s)", held.folder.name, status, str(error).splitlines()[0])
