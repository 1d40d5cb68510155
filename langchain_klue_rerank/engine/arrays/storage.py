"""Safe files: no pickle, written completely or not at all, versioned and checksummed.

A saved folder holds one data folder and ``manifest.json``, which names that folder, the format's version and every
file's size and SHA-256. A save writes a new data folder beside the old one and then replaces the manifest in
a single step, so that an interrupted save, or a full disk, leaves the old state as it was. A save removes the state
that it replaces and nothing that another process may be writing at the same time: of two saves the later one stands.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.errors import IndexFormatError

T = TypeVar("T")

MANIFEST = "manifest.json"
FORMAT = "langchain-klue-rerank index"
#: Raised when a reader of the old version could misread the new files. 2: vectors of windows; 1 is still read.
VERSION = 2
_DATA_PREFIX = "data-"
#: Seconds after which a data folder that no manifest names is what an interrupted save left behind, and not what
#: another process is writing.
_LEFT_BEHIND = 3600.0
#: How often a reader begins again because the index was saved anew in the meantime.
_READ_AGAIN = 5
#: What `save_folder` makes beside the manifest: data folders and, for a moment, the new manifest.
_OWN = re.compile(_DATA_PREFIX + r"[0-9a-f]{12}(\.json)?")


def save_folder(folder: Path, config: dict[str, Any], write: Callable[[Path], None]) -> None:
    """Write a folder completely or not at all.

    Args:
        folder: Where to save. It may be missing, empty, or hold an earlier save, which is replaced.
        config: JSON-serialisable settings, kept in the manifest.
        write: Writes all files into the empty folder that it is given.

    Raises:
        IndexFormatError: If `folder` is a file, or a folder with other things in it.
        OSError: If writing fails, for example on a full disk; an earlier save is then untouched.
    """
    check_target(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{_DATA_PREFIX}{uuid.uuid4().hex[:12]}"
    try:
        data.mkdir()
        write(data)
        files = {
            path.relative_to(data).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path in sorted(data.rglob("*"))
            if path.is_file()
        }
        for path in data.rglob("*"):
            _fsync(path)
        replaced = _data_of(folder)
        _write_manifest(
            folder, {"format": FORMAT, "version": VERSION, "data": data.name, "config": config, "files": files}
        )
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise
    for other in folder.iterdir():
        if other == data or not _OWN.fullmatch(other.name):
            continue
        if other.name == replaced or _age(other) > _LEFT_BEHIND:
            if other.is_dir():
                shutil.rmtree(other, ignore_errors=True)
            else:
                other.unlink(missing_ok=True)


def check_target(folder: Path) -> None:
    """Make sure that a save into this folder can replace nothing but an earlier save.

    Raises:
        IndexFormatError: If it is a file, or a folder with other things in it.
    """
    if folder.exists() and not folder.is_dir():
        raise IndexFormatError(f"Cannot save to {str(folder)!r}: it is a file. Name a folder.")
    if folder.is_dir() and not _holds_save(folder):
        names = {path.name for path in folder.iterdir()}
        own = {name for name in names if _OWN.fullmatch(name)}
        others = names - own - ({MANIFEST} if own else set())  # a damaged save may be replaced
        if others:
            raise IndexFormatError(
                f"Cannot save to {str(folder)!r}: the folder holds other files (such as {min(others)!r}) and no "
                "index. Name a new or an empty folder."
            )


def read_folder(folder: Path, read: Callable[[Path, dict[str, Any]], T]) -> T:
    """Read a saved folder, which another process may be saving anew.

    Args:
        folder: A folder that `save_folder` wrote.
        read: Reads the data files from the folder that it is given, by the settings; called again if they were replaced
            meanwhile.

    Raises:
        IndexFormatError: See `open_folder`; or if `read` lacks a file.
    """
    attempts_left = _READ_AGAIN
    while True:
        attempts_left -= 1
        before = _data_of(folder)
        try:
            return read(*open_folder(folder))
        except (IndexFormatError, OSError) as error:
            if attempts_left and _data_of(folder) != before:
                continue
            if isinstance(error, FileNotFoundError):
                raise IndexFormatError(f"The index at {str(folder)!r} lacks a file ({error}). {_RESTORE}") from error
            raise


def open_folder(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Check a saved folder.

    Args:
        folder: A folder that `save_folder` wrote.

    Returns:
        The folder that holds the data files, and the settings.

    Raises:
        IndexFormatError: If the folder is missing, is not an index, was written by a newer version, or a file of it is
            missing, truncated or edited.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise IndexFormatError(f"No index at {str(folder)!r}: there is no such folder.")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IndexFormatError(
            f"{str(folder)!r} is not an index: it has no {MANIFEST}. Name the folder that was given to save()."
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise IndexFormatError(f"{str(folder / MANIFEST)!r} is damaged ({error}). {_RESTORE}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise IndexFormatError(f"{str(folder)!r} is not an index: its {MANIFEST} is of another kind.")
    version = manifest.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise IndexFormatError(
            f"The index at {str(folder)!r} has format version {version}, this package reads up to {VERSION}. Upgrade "
            "langchain-klue-rerank, or build the index again."
        )
    if manifest.get("checksum") != _manifest_checksum(manifest):
        raise IndexFormatError(f"{str(folder / MANIFEST)!r} was edited or damaged. {_RESTORE}")
    try:
        data = folder / _OWN.fullmatch(manifest["data"])[0]  # type: ignore[index]  # no match is caught below
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
        config = dict(manifest["config"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IndexFormatError(f"{str(folder / MANIFEST)!r} lacks what an index needs. {_RESTORE}") from error
    for name, (size, checksum) in files.items():
        path = data / name
        if not path.is_file():
            raise IndexFormatError(f"The index at {str(folder)!r} lacks its file {name!r}. {_RESTORE}")
        if path.stat().st_size != size:
            raise IndexFormatError(
                f"The file {name!r} of the index at {str(folder)!r} has {path.stat().st_size} bytes instead of "
                f"{size}: it is truncated or edited. {_RESTORE}"
            )
        if _sha256(path) != checksum:
            raise IndexFormatError(
                f"The file {name!r} of the index at {str(folder)!r} was edited or damaged. {_RESTORE}"
            )
    return data, config


def _holds_save(folder: Path) -> bool:
    return _data_of(folder) is not None


def _data_of(folder: Path) -> str | None:
    """Return the name of the data folder that the manifest names; None where there is no manifest of an index."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(manifest.get("data")) if isinstance(manifest, dict) and manifest.get("format") == FORMAT else None


def _age(path: Path) -> float:
    """Return the seconds since anything in a folder, or a file, was changed; 0 for what is vanishing."""
    try:
        return time.time() - max(one.stat().st_mtime for one in (path, *path.rglob("*")))
    except OSError:
        return 0.0


_RESTORE = "Restore it from a copy, or build the index again."


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["checksum"] = _manifest_checksum(manifest)
    temporary = folder / f"{_DATA_PREFIX}{uuid.uuid4().hex[:12]}.json"
    try:
        temporary.write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
        _fsync(temporary)
        os.replace(temporary, folder / MANIFEST)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync(folder)


def _manifest_checksum(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    # Windows flushes only what is open for writing
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as ``.npy`` without pickle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), array, allow_pickle=False)


def read_array(path: Path, dtype: Any, ndim: int = 1) -> NDArray[Any]:
    """Read an array that `write_array` wrote, memory-mapped.

    Raises:
        IndexFormatError: If it is no array of this type and number of dimensions.
    """
    path = path.with_suffix(".npy")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise IndexFormatError(f"{path.name!r} is not a readable array ({error}). {_RESTORE}") from error
    if array.dtype != np.dtype(dtype) or array.ndim != ndim:
        raise IndexFormatError(f"{path.name!r} holds {array.ndim}-dimensional {array.dtype}. {_RESTORE}")
    return array


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write strings, none of which holds a line feed, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


class Lines(Sequence[str]):
    """The lines of a UTF-8 file, memory-mapped and decoded when they are asked for.

    Args:
        path: The file; every line ends in a line feed.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            # an empty file cannot be mapped
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        ends = np.flatnonzero(np.frombuffer(self._bytes, np.uint8) == ord("\n")) + 1
        self._offsets = np.concatenate([[0], ends])

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> list[str]: ...

    def __getitem__(self, number: int | slice) -> str | list[str]:
        """Return a line, or several."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._bytes[self._offsets[number] : self._offsets[number + 1] - 1].decode()

    def __iter__(self) -> Iterator[str]:
        """Yield all lines, decoded in one go."""
        return iter(bytes(self._bytes).decode().split("\n")[:-1])


def write_ragged(path: Path, table: Ragged) -> None:
    """Write a `Ragged` as two arrays."""
    write_array(path.with_name(path.name + "_values"), table.values)
    write_array(path.with_name(path.name + "_offsets"), table.offsets)


def read_ragged(path: Path, rows: int | None, limit: int) -> Ragged:
    """Read what `write_ragged` wrote.

    Args:
        path: Its path.
        rows: How many rows it must have; None for any number.
        limit: All values must be from 0 to below this.

    Raises:
        IndexFormatError: If the numbers do not fit.
    """
    values = read_array(path.with_name(path.name + "_values"), np.int32)
    offsets = read_array(path.with_name(path.name + "_offsets"), np.int64)
    fits = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(values) and bool((np.diff(offsets) >= 0).all())
    if not fits or (rows is not None and len(offsets) != rows + 1):
        raise IndexFormatError(f"The rows of {path.name!r} do not fit together. {_RESTORE}")
    if len(values) and not 0 <= values.min() <= values.max() < limit:
        raise IndexFormatError(f"{path.name!r} holds numbers out of range. {_RESTORE}")
    return Ragged(values, offsets)
