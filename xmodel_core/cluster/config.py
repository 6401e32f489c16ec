"""Where to run: never part of a fingerprint, because it never changes a byte."""

from typing import Literal

from pydantic import Field

from xmodel_core.specs.strict import Strict


class ClusterConfig(Strict):
    """The machines that do the work."""

    kind: Literal["local", "ray"] = "local"
    """`local`: processes of this machine. `ray`: a Ray cluster."""
    address: str | None = None
    """The Ray cluster's address, host:port, or auto for one that runs on this machine; null uses RAY_ADDRESS, or
    starts one on this machine for the duration of the command."""
    workers: int = Field(default=0, ge=0)
    """Processes (or Ray tasks at a time) for work over files; 0: one per core of this machine, or of the Ray
    cluster."""
