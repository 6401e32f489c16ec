"""One small model of each family, as drawn and after some training: what every layout has to carry."""

import pytest

from tests.model.families import FAMILIES, drawn, small, trained
from xmodel_core.model.network import Xmodel


@pytest.fixture(scope="session")
def models() -> dict[tuple[str, str], Xmodel]:
    """(family, "random" or "trained") → a model that does not learn any more."""
    made = (("random", drawn), ("trained", trained))
    return {
        (family, kind): make(small(family)).requires_grad_(False).eval() for family in FAMILIES for kind, make in made
    }
