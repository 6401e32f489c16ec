"""Tells Prefect of each new checkpoint of a running training, so that an automation can evaluate it.

Takes a session and what its flow was called with; gives the event `xmodel.checkpoint.saved`, whose payload is what the
flow `evaluate` takes. The trigger is in prefect.yaml: without a server that has it, the event is heard by nobody.
"""

from prefect.events import emit_event

from flows.river.session import Session, place_of

EVENT = "xmodel.checkpoint.saved"


def announce_checkpoints(session: Session, recipe: str, overrides: list[str] | None, final: bool) -> None:
    """Emits the event for each checkpoint that the session's training saves. `final`: for the last one too; not where
    the flow evaluates it itself. Emitting only puts the event in a queue: training does not wait for a server."""

    def emit(run: str, step: int) -> None:
        if step == session.recipe.training.total_steps and not final:
            return
        payload = {
            # The same wherever it is read: an evaluation starts in a folder of its own.
            "recipe": place_of(recipe, session.recipe_file),
            "overrides": overrides or [],
            "workspace": str(session.store.root),
            "run": run,
            "step": step,
        }
        emit_event(EVENT, {"prefect.resource.id": f"xmodel.run.{run}", "prefect.resource.name": run}, payload=payload)

    session.on_checkpoint = emit
