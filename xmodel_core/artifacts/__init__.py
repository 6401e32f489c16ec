"""What passes between rooms: artifacts on disk, found by what they are made of.

Takes an identity (kind, name, room version, own config, inputs' fingerprints); gives a folder
whose manifest, written last, says that it is whole. Shards land by atomic rename, each with a
receipt: the only memory of what is done, and the only place that counts come from.
"""

from xmodel_core.artifacts.fingerprint import file_digest, fingerprint
from xmodel_core.artifacts.shard import FileEntry, Receipt, ShardWriter, write_atomically, write_shard
from xmodel_core.artifacts.store import Artifact, Build, Identity, Store

__all__ = [
    "Artifact",
    "Build",
    "FileEntry",
    "Identity",
    "Receipt",
    "ShardWriter",
    "Store",
    "file_digest",
    "fingerprint",
    "write_atomically",
    "write_shard",
]
