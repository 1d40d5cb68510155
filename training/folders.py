"""The output folder of a run: new, or that of the run that is to be resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training import settings as settings_room
from training.settings import SettingsError, to_dict


def open_folder(settings: Any, free: tuple[str, ...] = ("output", "resume", "max_minutes")) -> None:
    """Make the folder ``settings.output`` and write the settings into it.

    Args:
        settings: A recipe's settings with ``output`` and ``resume``.
        free: Settings that may differ when a run is resumed.

    Raises:
        SettingsError: If the folder is not empty and ``resume`` is not set, or its run had other settings.
    """
    folder = settings.output
    kept = folder / "settings.yaml"
    if not settings.resume:
        if folder.exists() and any(folder.iterdir()):
            raise SettingsError(f"--output {folder} is not empty; give --resume to go on, or another folder")
    elif kept.exists():
        check_resumed(settings, kept, free)
    settings_room.save(settings, kept)


def check_resumed(settings: Any, kept: Path, free: tuple[str, ...]) -> None:
    """Refuse to go on with a run that was started with other settings.

    Args:
        settings: A recipe's settings with ``output``.
        kept: The file of those that the run was started with.
        free: Settings that may differ.

    Raises:
        SettingsError: If another one differs.
    """
    before, now = settings_room.read_yaml(kept), to_dict(settings)
    changed = [name for name in now if name not in free and before.get(name) != now[name]]
    if changed:
        raise SettingsError(
            f"--resume: the run in {settings.output} was started with {changed[0]}={before.get(changed[0])}, not "
            f"{now[changed[0]]}; give the same settings, or another --output"
        )
