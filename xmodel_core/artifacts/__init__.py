"""What passes between rooms: artifacts in a workspace, addressed by the fingerprint of their inputs.

Takes an identity (kind, name, room version, own config, inputs' fingerprints); gives a folder whose manifest,
written last, marks it complete. Shards appear whole, each with a receipt: the only record of what is done, and the
only source of counts.

`folder` is the protocol, `local_folder` and `object_store` implement it, `place` opens one from a path or address,
`lock` holds its locks; `store` and `shard` build artifacts on it, `manifest` reads what they list, `integrity` verifies
all of it; `sealed_json`, `sealed_rows` and `sealed_folder` are files and folders that carry their own digests;
`token_shards` reads those of the tokenizer.
"""

from xmodel_core.artifacts.fingerprint import file_digest, fingerprint
from xmodel_core.artifacts.folder import FileEntry, Folder, StoredFile
from xmodel_core.artifacts.local_folder import LocalFolder
from xmodel_core.artifacts.place import Place, open_folder
from xmodel_core.artifacts.shard import Receipt, ShardWriter, finished_shard, write_shard
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
    "finished_shard",
    "open_folder",
    "write_shard",
]
