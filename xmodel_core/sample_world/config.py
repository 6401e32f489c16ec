"""The knobs of the sample world: which world, and how much of it."""

from pydantic import Field

from xmodel_core.specs.strict import Strict


class SampleWorldConfig(Strict):
    """A world and its size. The people, their facts and the tasks do not depend on the size."""

    seed: int = 1
    """Names the world: another seed gives other facts and other documents."""
    documents: int = Field(default=10_800, ge=200)
    """Clean documents over all sources; the default is about 3.4 million tokens of a 1,200-piece vocabulary."""
    planted_share: float = Field(default=0.12, ge=0, le=0.5)
    """Planted documents (copies, junk, wrong languages, personal data, benchmark questions) per clean document."""
    documents_per_file: int = Field(default=2_500, ge=10)
    """Documents in one raw file at most; files are what the work is divided by."""
