"""From where a person says a workspace is, to its folder."""

from pathlib import Path

from xmodel_core.artifacts import remote
from xmodel_core.artifacts.folder import Folder
from xmodel_core.artifacts.local_folder import LocalFolder
from xmodel_core.artifacts.object_store import RemoteFolder
from xmodel_core.errors import XmodelError

Place = str | Path | Folder
"""A workspace as a person or a caller names it: a path, an address, or a folder already open."""


def open_folder(place: Place) -> Folder:
    """The folder at a place: a path of this machine, or s3://bucket/prefix. XmodelError: any other address."""
    if isinstance(place, Folder):
        return place
    if "://" not in str(place):
        return LocalFolder(Path(place))
    address = str(place).rstrip("/")
    if not address.startswith(remote.S3) or not address.removeprefix(remote.S3):
        raise XmodelError(
            "this workspace cannot be used",
            expected="a folder, or s3://bucket/prefix",
            found=place,
            where="--workspace",
        )
    return RemoteFolder(address)
