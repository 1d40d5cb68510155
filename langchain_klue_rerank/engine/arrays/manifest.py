"""``manifest.json`` of a saved folder: the format's version, and where all files are, their sizes and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from langchain_klue_rerank.engine.arrays.mapped import RESTORE, read_small
from langchain_klue_rerank.errors import IndexFormatError

MANIFEST: Final = "manifest.json"
FORMAT: Final = "langchain-klue-rerank index"
#: Raised when a reader of the old version could misread the new files. 2: vectors of windows; 3: several
#: segments. Older ones are still read.
VERSION: Final = 3
DATA_PREFIX = "data-"
#: Largest manifest that is read, in bytes. One has some 5,000 for each segment.
_MANIFEST_BYTES = 1 << 20
#: Names of what `storage.save_folder` makes beside the manifest: data folders and, for a moment, the new manifest.
OWN = re.compile(DATA_PREFIX + r"[0-9a-f]{12}(\.json)?")
#: Names of data files: relative, with nothing in them that leads out of the data folder.
_NAME = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*\.[a-z]+")
#: A manifest that is there but cannot be read.
UNREADABLE: Final = object()


@dataclass(frozen=True, slots=True)
class File:
    """A data file.

    Attributes:
        data: The data folder that it is in: that of the save which wrote it.
        size: Its bytes.
        sha256: Its checksum, hexadecimal.
    """

    data: str
    size: int
    sha256: str


Files: TypeAlias = dict[str, File]


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


def parse(folder: Path) -> tuple[str, Files, dict[str, Any]]:
    """Read and check the manifest of a saved folder.

    Returns:
        The name of the save's own data folder, the files by name, and the settings.

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
        files = {
            name: File(entry.get("data", manifest["data"]), entry["bytes"], entry["sha256"])
            for name, entry in manifest["files"].items()
        }
        if not all(OWN.fullmatch(file.data) for file in files.values()):
            raise ValueError("it names files outside the index")
        config = dict(manifest["config"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IndexFormatError(f"{str(folder / MANIFEST)!r} lacks what an index needs ({error}). {RESTORE}") from error
    return manifest["data"], files, config


def write(path: Path, data: Path, config: dict[str, Any], kept: Files) -> None:
    """Write the manifest of a data folder with settings.

    Args:
        path: Where to write it.
        data: The data folder.
        config: The settings.
        kept: Files of earlier saves that are also named.
    """
    files: dict[str, Any] = {
        each.relative_to(data).as_posix(): {"bytes": each.stat().st_size, "sha256": _sha256(each)}
        for each in sorted(everything_in(data))
        if not each.is_dir()
    }
    for name, file in kept.items():
        files[name] = {"data": file.data, "bytes": file.size, "sha256": file.sha256}
    manifest = {"format": FORMAT, "version": VERSION, "data": data.name, "config": config, "files": files}
    manifest["checksum"] = checksum_of(manifest)
    path.write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")


def everything_in(folder: Path) -> list[Path]:
    """Return the files and folders below a folder; unlike ``rglob`` it leaves out none that cannot be read.

    Raises:
        OSError: If a folder cannot be read.
    """
    with os.scandir(folder) as entries:
        found = [Path(entry) for entry in entries]
    for path in [*found]:
        if stat.S_ISDIR(path.lstat().st_mode):
            found += everything_in(path)
    return found


def unchanged(folder: Path, subfolders: Iterable[str]) -> tuple[Files, frozenset[str]]:
    """Find subfolders of the present save that a new one may name as its own.

    Args:
        folder: The folder.
        subfolders: Such as ``"segments/0123456789ab"``.

    Returns:
        Their files, and those subfolders of which every file is there with its size.
    """
    try:
        _, files, _ = parse(folder)
    except IndexFormatError:
        return {}, frozenset()
    kept: Files = {}
    found = set()
    for subfolder in subfolders:
        own = {name: file for name, file in files.items() if name.startswith(f"{subfolder}/")}
        if own and all(_has_size(folder / file.data / name, file.size) for name, file in own.items()):
            kept |= own
            found.add(subfolder)
    return kept, frozenset(found)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.lstat().st_size == size
    except OSError:
        return False


def remove_unnamed(folder: Path, writing: Container[str]) -> None:
    """Remove the files of replaced and of killed saves. The caller holds the lock, so nobody writes them.

    What cannot be removed, such as files that another process has open on Windows, goes after a later save.

    Args:
        folder: The folder.
        writing: Data folders that this process is writing.
    """
    try:
        own, files, _ = parse(folder)
    except IndexFormatError:
        if named_data(folder) is not None:  # a manifest that is damaged: nobody knows what it named
            return
        own, files = "", {}
    named = {own, *(file.data for file in files.values())}
    keep = {folder / file.data / name for name, file in files.items()}
    for path in folder.iterdir():
        name = path.name.removesuffix(".json")
        if not OWN.fullmatch(path.name) or name in writing:
            continue
        if path.is_symlink() and path.name in named:
            continue
        if not path.is_dir() or path.is_symlink():
            with suppress(OSError):
                path.unlink(missing_ok=True)
        elif name not in named:
            remove_folder(path)
        else:
            _remove_within(path, keep)


def remove_folder(data: Path) -> None:
    """Remove a data folder as far as that is possible.

    Not by shutil.rmtree: a Ctrl-C within it may close a descriptor twice, and comes out as an OSError.
    """
    _remove_within(data, set())
    with suppress(OSError):
        data.rmdir()


def _remove_within(data: Path, keep: set[Path]) -> None:
    """Remove the files of a data folder but for some, and folders without any."""
    for path in sorted(data.rglob("*"), reverse=True):  # what is in a folder comes before it
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in keep:
                path.unlink()


def checksum_of(manifest: dict[str, Any]) -> str:
    """Return the checksum of a manifest, without the one that it holds."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
