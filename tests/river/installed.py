"""Xmodel installed from a wheel, in an environment of its own, seen by nobody but the tests that ask for it.

Takes a folder; gives an `Installed`: a new virtual environment that holds the wheel and sees the dependencies of this
one, but not the checkout. Nothing is fetched.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

# Console scripts of dependencies, which the new environment sees as packages alone.
PROGRAMS = {"prefect": "prefect", "ray": "ray.scripts.scripts"}


@dataclass(frozen=True)
class Installed:
    """An installed Xmodel and an empty folder to type commands in."""

    environment: Path
    """The virtual environment."""
    folder: Path
    """Where commands are typed."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.environment / "bin" / "python"

    def variables(self, **more: str) -> dict[str, str]:
        """What a shell with the environment active sees; Prefect's home and the cache are its own."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XMODEL_"))}
        ours.pop("PREFECT_API_URL", None)
        return {
            **ours,
            "PATH": f"{self.environment / 'bin'}{os.pathsep}/usr/local/bin:/usr/bin:/bin",
            "PREFECT_HOME": str(self.environment / "prefect"),
            "XMODEL_CACHE": str(self.environment / "cache"),
            **more,
        }

    def types(self, command: str, **more: str) -> str:
        """What a command prints on its standard output; it must end well."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.variables(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout


def build_wheel(folder: Path) -> Path:
    """The wheel of what git tracks, or would, built in a copy: a build leaves its folder behind."""
    source = folder / "source"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True, cwd=folder)
    (wheel,) = folder.glob("xmodel-*.whl")
    return wheel


def install(folder: Path) -> Installed:
    """A new environment with the wheel in it."""
    wheel = build_wheel(folder)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    installed = Installed(environment, folder / "empty")
    installed.folder.mkdir()
    words = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    # Not this process's variables: a checkout on PYTHONPATH would pass for an installed package.
    pip = [sys.executable, "-m", "pip", "--python", installed.python]
    subprocess.run([*pip, *words], check=True, env=installed.variables())
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    # A path alone: .pth files in that folder, the checkout's own among them, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name, module in PROGRAMS.items():
        program = environment / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{installed.python}" -m {module} "$@"\n')
        program.chmod(0o755)
    return installed
