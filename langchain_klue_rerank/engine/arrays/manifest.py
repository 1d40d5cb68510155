"""``manifest.json`` of a saved folder: the data folder, the version of the format, sizes and checksums of all files."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

from langchain_klue_rerank.engine.arrays.mapped import RESTORE, read_small
from langchain_klue_rerank.errors import IndexFormatError

MANIFEST: Final = "manifest.json"
FORMAT: Final = "langchain-klue-rerank index"
#: Raised when a reader of the old version could misread the new files. 2: vectors of windows; 1 is still read.
VERSION: Final = 2
DATA_PREFIX = "data-"
#: Largest manifest that is read, in bytes. One has some 5,000.
_MANIFEST_BYTES = 1 << 20
#: Names of what `storage.save_folder` makes beside the manifest: data folders and, for a moment, the new manifest.
OWN = re.compile(DATA_PREFIX + r"[0-9a-f]{12}(\.json)?")
#: Names of data files: relative, with nothing in them that leads out of the data folder.
_NAME = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*\.[a-z]+")
#: A manifest that is there but cannot be read.
UNREADABLE: Final = object()


def read(folder: Path) -> str:
    """Return the manifest as text.

    Raises:
        OSError: If there is none, or it cannot be read.
        ValueError: If it is too long or not UTF-8.
    """
    return read_small(folder / MANIFEST, _MANIFEST_BYTES)


def named_data(folder: Path) -> object:
    """Return the data folder that the manifest names; None without a manifest, or `UNREADABLE`."""
    try:
        manifest = json.loads(read(folder))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        return UNREADABLE
    return str(manifest.get("data")) if isinstance(manifest, dict) and manifest.get("format") == FORMAT else UNREADABLE


def may_name(folder: Path, name: str) -> bool:
    """Return whether the manifest names a data folder; True as well if that cannot be found out."""
    try:
        return name in read(folder)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True


def parse(folder: Path) -> tuple[str, dict[str, tuple[int, str]], dict[str, Any]]:
    """Read and check the manifest of a saved folder.

    Returns:
        The data folder's name, the size and SHA-256 of each file in it, and the settings.

    Raises:
        IndexFormatError: If the folder is missing, is not an index, or was written by a newer version, or its manifest
            is damaged or edited.
    """
    if not folder.is_dir():
        raise IndexFormatError(f"No index at {str(folder)!r}: there is no such folder.")
    try:
        manifest = json.loads(read(folder))
    except FileNotFoundError:
        raise IndexFormatError(
            f"{str(folder)!r} is not an index: it has no {MANIFEST}. Name the folder that was given to save()."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise IndexFormatError(f"{str(folder / MANIFEST)!r} is damaged ({error}). {RESTORE}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise IndexFormatError(f"{str(folder)!r} is not an index: its {MANIFEST} is of another kind.")
    version = manifest.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise IndexFormatError(
            f"The index at {str(folder)!r} has format version {version!r}, this package reads 1 to {VERSION}. Upgrade "
            "langchain-klue-rerank, or build the index again."
        )
    if manifest.get("checksum") != checksum_of(manifest):
        raise IndexFormatError(f"{str(folder / MANIFEST)!r} was edited or damaged. {RESTORE}")
    try:
        if not OWN.fullmatch(manifest["data"]) or not all(map(_NAME.fullmatch, manifest["files"])):
            raise ValueError("it names files outside the index")
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
        config = dict(manifest["config"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IndexFormatError(f"{str(folder / MANIFEST)!r} lacks what an index needs ({error}). {RESTORE}") from error
    return manifest["data"], files, config


def write(path: Path, data: Path, config: dict[str, Any]) -> None:
    """Write the manifest of a data folder with settings."""
    files = {
        each.relative_to(data).as_posix(): {"bytes": each.stat().st_size, "sha256": _sha256(each)}
        for each in sorted(data.rglob("*"))
        if each.is_file()
    }
    manifest = {"format": FORMAT, "version": VERSION, "data": data.name, "config": config, "files": files}
    manifest["checksum"] = checksum_of(manifest)
    path.write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")


def checksum_of(manifest: dict[str, Any]) -> str:
    """Return the checksum of a manifest, without the one that it holds."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
