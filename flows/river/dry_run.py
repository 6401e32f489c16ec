"""The stages walked dry: what a run would find and what it would build, without building anything.

Takes a session without a cluster; gives one row per stage and item: `reused`, `new`, what changed, or after which stage
that is known. What is found is kept in the session, as a run would keep it.
"""

from flows.river.session import NotKnownYet, Session
from flows.river.stages import STAGES, Stage
from xmodel_core.errors import XmodelError

Row = dict[str, str]


def explain_stages(session: Session) -> list[Row]:
    """stage, name and state of each item of a run, in the order of building."""
    # In an empty workspace nothing can be reused, so no raw file need be read for its digest.
    empty = not session.built_before
    return [
        {"stage": stage.name, "name": item, "state": "new" if empty else _state(session, stage, item)}
        for stage in STAGES
        for item in stage.items(session)
    ]


def _state(session: Session, stage: Stage, item: str) -> str:
    try:
        identity = stage.identity(session, item)
    except NotKnownYet as error:
        return str(error)
    except XmodelError:
        return "its files are not here"
    session.keep(stage.name, item, session.store.find(identity) or identity)
    return session.store.explain(identity)
