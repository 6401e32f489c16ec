"""The manifest of a finished artifact: what it lists, and the checks that what is there is what it lists.

Takes an artifact's folder; gives its manifest and its receipts, or an XmodelError that names the damaged file and what
to delete. The manifest carries a seal, the digest of the files that each receipt names, and size and digest of each
file that no receipt names. Those of 0.1.0 have neither: they are read as they are.
"""

from typing import Any

from xmodel_core.artifacts.folder import FileEntry, Folder
from xmodel_core.artifacts.sealed_json import open_json
from xmodel_core.artifacts.shard import Receipt, read_receipt, receipt_name
from xmodel_core.errors import XmodelError

MANIFEST = "manifest.json"


def read_manifest(data: bytes | None, folder: Folder) -> dict[str, Any]:
    """The manifest of the artifact in `folder`. XmodelError: its bytes are damaged, or it is another artifact's."""
    try:
        values = open_json(data or b"")
        place = "{}/{}-{:.8}".format(*(values.get(key) for key in ("kind", "name", "fingerprint")))
        if "receipts" in values and not str(folder).endswith(f"/{place}"):
            raise ValueError(f"the manifest of {place}")
        return values
    except (ValueError, TypeError) as error:
        raise XmodelError(
            "a manifest cannot be read",
            expected="the JSON that a finished stage leaves",
            found=error,
            where=f"{folder}/{MANIFEST}",
            remedy="delete this manifest; the next run finishes the stage from its shards",
        ) from error


def _missing_receipt(folder: Folder, shard: str) -> XmodelError:
    return XmodelError(
        "a receipt is missing",
        expected="one for each shard that the manifest lists",
        where=f"{folder}/{receipt_name(shard)}",
        remedy=f"delete {folder.name}/{MANIFEST}; the next run builds the shard again",
    )


def listed_receipts(folder: Folder, manifest: dict[str, Any]) -> dict[str, Receipt]:
    """The receipts of a finished artifact, by shard, sorted. XmodelError: one is missing, damaged, or names other files
    than when the artifact was finished."""
    files = folder.files(receipt_name("*"))
    listed: dict[str, str] | None = manifest.get("receipts")
    receipts = {}
    for shard in sorted(path.stem for path in files.values()) if listed is None else sorted(listed):
        if (path := files.get(receipt_name(shard))) is None:
            raise _missing_receipt(folder, shard)
        receipts[shard] = read_receipt(path.read_bytes(), folder, shard)
        if listed is not None and receipts[shard].files_digest != listed[shard]:
            raise XmodelError(
                "a receipt is not the one that the artifact was finished with",
                expected=f"files with the digest {listed[shard][:12]}…, as its manifest says",
                found=f"{receipts[shard].files_digest[:12]}…",
                where=f"{folder}/{receipt_name(shard)}",
                remedy=f"delete it and {folder.name}/{MANIFEST}; the next run builds its shard again",
            )
    return receipts


def damaged_file(folder: Folder, entry: FileEntry, sha256: str | None) -> XmodelError:
    """What to say of a file that differs from its receipt; `sha256`: of what is there, None where nothing is."""
    return XmodelError(
        "a file of the workspace differs from its receipt",
        expected=f"{entry.bytes:,} bytes, sha256 {entry.sha256[:12]}…",
        found="no such file" if sha256 is None else f"sha256 {sha256[:12]}…",
        where=f"{folder}/{entry.path}",
        remedy=f"delete it and {folder.name}/{MANIFEST}; the next run builds it again",
    )
