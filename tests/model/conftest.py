"""One small model of each family, as initialised and after some training, for all tests of the model."""

import pytest

from tests.model.families import FAMILIES, initialised, small, trained
from xmodel_core.model.network import Xmodel


@pytest.fixture(scope="session")
def models() -> dict[tuple[str, str], Xmodel]:
    """(family, "random" or "trained") → a model without gradients."""
    makers = (("random", initialised), ("trained", trained))
    return {
        (family, kind): make(small(family)).requires_grad_(False).eval() for family in FAMILIES for kind, make in makers
    }
