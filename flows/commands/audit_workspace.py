"""The part of `xmodel audit` that verifies a workspace: every file of every artifact, and the ledger.

Takes a workspace; gives counts, and each damage with its remedy. It writes nothing.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from xmodel_core.errors import XmodelError

if TYPE_CHECKING:
    from xmodel_core.artifacts import Folder
    from xmodel_core.artifacts.integrity import Damage

READ_MODELS = ("ledger.duckdb", "digests")
"""What can be made again from the rest at any time: verified by comparison, or line by line when it is read."""
NOTICES = {
    "unfinished": "not finished; what there is of them was verified",
    "not_sealed": "not sealed, since an earlier version wrote them: files were verified, counts and settings were not",
    "other_files": "of no artifact, not verified",
}
ONE_PROCESS_BYTES = 1 << 30
"""Less is read before worker processes have started."""


def audit_workspace(root: "Folder") -> dict[str, Any]:
    """What a workspace holds and what of it is damaged, as plain data."""
    from xmodel_core.artifacts.integrity import artifact_folders, check, inspect
    from xmodel_core.cluster import ClusterConfig, open_cluster

    artifacts, others = artifact_folders(root)
    if not artifacts:
        raise XmodelError(
            "there is nothing to audit",
            expected="a workspace with artifacts",
            where=root,
            remedy="give --workspace, or start with `xmodel run`",
        )
    small = sum(sum(artifact.sizes.values()) for artifact in artifacts) < ONE_PROCESS_BYTES
    with open_cluster(ClusterConfig(workers=1 if small else 0)) as cluster:
        inspections = cluster.map(inspect, artifacts, "inspect artifacts", unit="artifacts")
        listed = [file for inspection in inspections for file in inspection.listed]
        sizes = [float(file.entry.bytes) for file in listed]
        checked = cluster.map(check, listed, "verify files", unit="bytes", sizes=sizes)
    damaged = [damage for inspection in inspections for damage in inspection.damaged]
    damaged += [damage for damage in checked if damage is not None]
    damaged += _ledger_damage(root, bool(damaged))
    return {
        "artifacts": len(inspections),
        "files": sum(inspection.files for inspection in inspections),
        "bytes": sum(sum(artifact.sizes.values()) for artifact in artifacts),
        "damaged": [asdict(damage) for damage in sorted(damaged, key=lambda damage: damage.file)],
        "unfinished": [inspection.place for inspection in inspections if not inspection.finished],
        "not_sealed": [inspection.place for inspection in inspections if not inspection.sealed],
        "other_files": [name for name in others if not name.startswith(READ_MODELS)],
    }


def _ledger_damage(root: "Folder", damaged: bool) -> list["Damage"]:
    """The ledger against the artifacts; it cannot be compared where those are `damaged`, which is named already."""
    from xmodel_core.artifacts.integrity import Damage
    from xmodel_core.ledger.build import LEDGER
    from xmodel_core.ledger.compare import differences

    try:
        found = differences(root)
    except XmodelError as error:
        if damaged:
            return []
        return [Damage(str(error.where), str(error.expected), str(error.found), (), error.remedy or "")]
    expected, then = "the rows of manifests, receipts and metrics", "and `xmodel ledger` builds it again"
    return [Damage(LEDGER, expected, ", ".join(found), (LEDGER,), then)] if found else []


def lines_of(result: dict[str, Any]) -> list[str]:
    """The result as lines for a person: each damage one, then what else is to be known, then the sum."""
    from xmodel_core.artifacts.integrity import Damage

    lines = [str(Damage(**damage)) for damage in result["damaged"]]
    for key, words in NOTICES.items():
        if names := result[key]:
            lines.append(f"{words}: {', '.join(names[:5])}" + (f" and {len(names) - 5:,} more" if names[5:] else ""))
    counts = f"{result['files']:,} files of {result['artifacts']:,} artifacts, {result['bytes']:,} bytes"
    damaged = f"{len(result['damaged']):,} damaged" if result["damaged"] else "all as they were written"
    return [*lines, f"{counts}: {damaged}"]
