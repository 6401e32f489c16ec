"""Prefect's home on this machine: where it is, and whether it can be used.

Takes the environment; gives the folder, or one clear message. Prefect itself reports a home that cannot be made, or
profiles that are no TOML, as a traceback of the first process that meets it.
"""

import os
import tomllib
from pathlib import Path

from xmodel_core.errors import XmodelError


def prefect_home() -> Path:
    """PREFECT_HOME, else .prefect in the user's home."""
    try:
        return Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser().absolute()
    except RuntimeError as error:  # no HOME, and no such user
        raise XmodelError("there is no home folder", found=error, remedy="set HOME, or PREFECT_HOME") from None


def require_prefect_home() -> None:
    """XmodelError: the home cannot be written to, or its profiles cannot be read."""
    home = prefect_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        writable = os.access(home, os.W_OK | os.X_OK)
        found = "it may only be read"
    except OSError as error:
        writable, found = False, error.strerror
    if not writable:
        raise XmodelError(
            "Prefect's home cannot be written to",
            expected="a folder for its database, profiles and logs",
            found=found,
            where=home,
            remedy="set PREFECT_HOME to a folder that can be written to, on this machine's own disk",
        )
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        if profiles.exists():
            tomllib.loads(profiles.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise XmodelError(
            "Prefect's profiles cannot be read",
            expected="TOML",
            found=error,
            where=profiles,
            remedy="repair the file, or move it away: Prefect then uses its defaults",
        ) from None
