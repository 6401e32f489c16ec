"""What passes between rooms: artifacts in a workspace, found by what they are made of.

Takes an identity (kind, name, room version, own config, inputs' fingerprints); gives a folder
whose manifest, written last, says that it is whole. Shards land whole, each with a
receipt: the only memory of what is done, and the only place that counts come from.
"""

from xmodel_core.artifacts.disk import write_atomically
from xmodel_core.artifacts.fingerprint import file_digest, fingerprint
from xmodel_core.artifacts.folder import FileEntry, Folder, LocalFolder, Place, StoredFile, open_folder
from xmodel_core.artifacts.shard import Receipt, ShardWriter, write_shard
from xmodel_core.artifacts.store import Artifact, Build, Identity, Store

__all__ = [
    "Artifact",
    "Build",
    "FileEntry",
    "Folder",
    "Identity",
    "LocalFolder",
    "Place",
    "Receipt",
    "ShardWriter",
    "Store",
    "StoredFile",
    "file_digest",
    "fingerprint",
    "open_folder",
    "write_atomically",
    "write_shard",
]
