"""Reads datasets_spec: which data exists and how it is used.

Takes YAML files, ours or a user's; gives strict, frozen values. The error for a wrong key names the file, the key and
the nearest right one. Nothing here opens a document.
"""

from xmodel_core.specs.mixtures import Mixture, Phase, ScheduledPhase, Share, load_mixture
from xmodel_core.specs.plain_yaml import read_yaml
from xmodel_core.specs.sources import RawFile, Source, SourceFiles, list_source, load_sources, resolve, resolve_all
from xmodel_core.specs.strict import Strict, validate

__all__ = [
    "Mixture",
    "Phase",
    "RawFile",
    "ScheduledPhase",
    "Share",
    "Source",
    "SourceFiles",
    "Strict",
    "list_source",
    "load_mixture",
    "load_sources",
    "read_yaml",
    "resolve",
    "resolve_all",
    "validate",
]
