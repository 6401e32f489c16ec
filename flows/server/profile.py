"""Prefect's active profile: pointed at our server by `xmodel up`, put back by `xmodel down`.

Takes the server's address; gives what must be remembered to restore the profiles file byte for byte,
or, where a person has edited it meanwhile, to take out only what is still ours.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Before:
    """The profiles file before and after `up`, and the profile's own values of the two settings."""

    path: str
    name: str
    """The profile that was active."""
    text: str | None
    """The whole file before; None where there was none."""
    text_after: str
    values: dict[str, str | None]
    """Setting to value before; None where the profile did not have it."""
    ours: dict[str, str]
    """Setting to the value that we gave it."""


def point(api: str, before: Before | None = None) -> Before:
    """Makes the active profile name our server and switch the bare deployment names on.

    `before`: what was remembered when the profile already pointed at an earlier server of ours.
    """
    from prefect.context import get_settings_context
    from prefect.settings import get_current_settings, load_profiles, update_current_profile

    path = get_current_settings().profiles_path
    name = get_settings_context().profile.name
    ours = {"PREFECT_API_URL": api, "PREFECT_PLUGINS_ENABLED": "true"}
    if before is None:
        text = _read(path)
        had = {setting.name: value for setting, value in load_profiles()[name].settings.items()}
        values = {key: None if had.get(key) is None else str(had[key]) for key in ours}
    else:
        name, text, values = before.name, before.text, before.values
    update_current_profile({**ours})
    return Before(str(path), name, text, _read(path) or "", values, ours)


def restore(before: Before) -> None:
    """Puts the profile back as it was; what a person changed meanwhile stays."""
    path = Path(before.path)
    now = _read(path)
    if now is None:
        return
    if now == before.text_after:
        if before.text is None:
            path.unlink()
        else:
            # In place, as Prefect writes it: a file that may hold keys keeps its mode, a link stays a link.
            path.write_bytes(before.text.encode())
        return
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL, PREFECT_PLUGINS_ENABLED, load_profiles, save_profiles

    profiles = load_profiles()
    if before.name not in profiles.names:
        return
    held = profiles[before.name].settings
    changed = {
        setting: before.values[setting.name]
        for setting in (PREFECT_API_URL, PREFECT_PLUGINS_ENABLED)
        if str(held.get(setting)).lower() == before.ours[setting.name].lower()
    }
    profiles.update_profile(before.name, changed)
    save_profiles(profiles)
    refresh_global_settings_context()  # this process has read the old values already


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()  # as they are: reading as text would change the ends of lines
    except FileNotFoundError:
        return None
