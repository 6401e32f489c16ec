"""What texts are compared with while they are scanned: the index of benchmark passages and the perplexity models.

`References` names them as artifacts (or, where a plan only asks for fingerprints, as identities); `ReferenceFiles` is
what a worker opens for one source.
"""

from collections.abc import Mapping
from typing import NamedTuple

from xmodel_core.artifacts import Artifact, Identity, StoredFile
from xmodel_core.specs import Source

INDEX = "index.npz"
"""The file of a benchmarks artifact."""
MODEL_SUFFIX = ".kenlm"
"""Of the files of a perplexity-models artifact, which are named after their language."""


class ReferenceFiles(NamedTuple):
    """The files that the texts of one source are compared with."""

    benchmarks: StoredFile | None = None
    models: Mapping[str, StoredFile] = {}
    """Language → n-gram model."""


class References(NamedTuple):
    """What texts are compared with while they are scanned."""

    benchmarks: Artifact | Identity | None = None
    """The index of benchmark passages."""
    models: Artifact | Identity | None = None
    """The n-gram models of perplexity; only prose is measured with them."""

    def fingerprints(self, source: Source) -> dict[str, str]:
        """Of the references that a scan of this source depends on, as inputs of its identity."""
        inputs: dict[str, str] = {}
        if self.benchmarks:
            inputs["benchmarks"] = self.benchmarks.fingerprint
        if self.models and source.policy == "prose":
            inputs["perplexity models"] = self.models.fingerprint
        return inputs

    def files(self, source: Source) -> ReferenceFiles:
        """The stored files that texts of this source are compared with; both references must be built."""
        assert not isinstance(self.benchmarks, Identity) and not isinstance(self.models, Identity)
        index = self.benchmarks.stored()[INDEX] if self.benchmarks else None
        stored = self.models.stored() if self.models and source.policy == "prose" else {}
        return ReferenceFiles(index, {name.removesuffix(MODEL_SUFFIX): file for name, file in stored.items()})
