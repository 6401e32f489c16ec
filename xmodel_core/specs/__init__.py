"""Reads datasets_spec: what data exists and what we want of it.

Takes YAML files, ours or a user's; gives strict, frozen values. A wrong key names the file, the
key and the nearest right one. Nothing here opens a document.
"""

from xmodel_core.specs.mixtures import Mixture, Phase, ScheduledPhase, Share, load_mixture
from xmodel_core.specs.sources import RawFile, Source, SourceFiles, load_sources, resolve
from xmodel_core.specs.strict import Strict, read_yaml, validate

__all__ = [
    "Mixture",
    "Phase",
    "RawFile",
    "ScheduledPhase",
    "Share",
    "Source",
    "SourceFiles",
    "Strict",
    "load_mixture",
    "load_sources",
    "read_yaml",
    "resolve",
    "validate",
]
