"""Prefect's active profile: set to our server by `xmodel up`, put back by `xmodel down`.

Takes the server's address; gives what must be saved to restore the profiles file byte for byte, or, where a person has
edited it meanwhile, to remove only the settings that are still ours.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SavedProfile:
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


def set_server(api: str, saved: SavedProfile | None = None) -> SavedProfile:
    """Sets the active profile to our server, with the plugin that completes bare deployment names.

    `saved`: what was returned when the profile already named an earlier server of ours.
    """
    from prefect.context import get_settings_context
    from prefect.settings import get_current_settings, load_profiles, update_current_profile

    path = get_current_settings().profiles_path
    name = get_settings_context().profile.name
    ours = {"PREFECT_API_URL": api, "PREFECT_PLUGINS_ENABLED": "true"}
    if saved is None:
        text = _read(path)
        existing = {setting.name: value for setting, value in load_profiles()[name].settings.items()}
        values = {key: None if existing.get(key) is None else str(existing[key]) for key in ours}
    else:
        name, text, values = saved.name, saved.text, saved.values
    update_current_profile({**ours})
    return SavedProfile(str(path), name, text, _read(path) or "", values, ours)


def restore(saved: SavedProfile) -> None:
    """Restores the profile; what a person changed meanwhile stays."""
    path = Path(saved.path)
    text = _read(path)
    if text is None:
        return
    if text == saved.text_after:
        if saved.text is None:
            path.unlink()
        else:
            # In place, as Prefect writes it: a file that may hold keys keeps its mode, a link stays a link.
            path.write_bytes(saved.text.encode())
        return
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL, PREFECT_PLUGINS_ENABLED, load_profiles, save_profiles

    profiles = load_profiles()
    if saved.name not in profiles.names:
        return
    current = profiles[saved.name].settings
    changed = {
        setting: saved.values[setting.name]
        for setting in (PREFECT_API_URL, PREFECT_PLUGINS_ENABLED)
        if str(current.get(setting)).lower() == saved.ours[setting.name].lower()
    }
    profiles.update_profile(saved.name, changed)
    save_profiles(profiles)
    refresh_global_settings_context()  # this process has read the old values already


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()  # as they are: reading as text would change the ends of lines
    except FileNotFoundError:
        return None
