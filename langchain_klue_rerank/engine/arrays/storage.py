"""Safe files: no pickle, written completely or not at all, versioned and checksummed.

A saved folder holds data folders and ``manifest.json``, which names the format's version and every file, with the data
folder that it is in, its size and its SHA-256. A save writes what is new into a new data folder, and then replaces the
manifest in a single step, the commit: interrupted before it, the old state is whole, after it the new one is. A file is
never changed, and removed only when no manifest names it. Writers hold a lock of the operating system,
which ends with their process. Readers hold none: they open what the manifest names, and begin again if it was replaced
meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import mmap
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from filelock import FileLock, Timeout

from langchain_klue_rerank.engine.arrays import manifest, mapped
from langchain_klue_rerank.engine.arrays.files import SavedFiles
from langchain_klue_rerank.engine.arrays.litter import is_litter
from langchain_klue_rerank.engine.arrays.mapped import RESTORE, check_checksums, map_file
from langchain_klue_rerank.engine.arrays.origins import Origins
from langchain_klue_rerank.engine.parallel import at_once
from langchain_klue_rerank.errors import IndexFormatError, IndexLockedError

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: The file that writers lock. It stays: to remove it while another waits for it would make two locks of one.
LOCK: Final = ".lock"
#: A record beside the index of the files that it was made from; it counts for one state only, see `state_of`.
SOURCES: Final = ".sources.json"
#: Seconds that a save waits for another one.
_LOCK_TIMEOUT = 30.0
#: Files that are synchronised at a time.
_SYNCED_AT_ONCE = 8
#: What Windows says of a file that somebody has open, and seconds to wait for him, again and again.
_OPEN_ELSEWHERE = frozenset({5, 32})
_PAUSES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: How often a reader begins again because the index was saved again in the meantime.
_READ_AGAIN = 50
#: What the system says where a folder cannot be synchronised at all, in contrast to a failure of the disk.
_NO_FSYNC = frozenset({errno.EINVAL, errno.EACCES, errno.EPERM, errno.EBADF, errno.ENOSYS, errno.ENOTSUP, errno.EISDIR})

#: Data folders that this process is writing, which a save from a signal handler must leave alone.
_WRITING: set[str] = set()


class _Held(threading.local):
    """The locks that a thread holds, with the process that took them: a forked child has none."""

    def __init__(self) -> None:
        self.locks: set[tuple[int, Path]] = set()


_HELD = _Held()


@contextmanager
def writer_lock(folder: Path, timeout: float | None = None) -> Iterator[None]:
    """Be the only one that writes a folder, from reading it to saving it.

    The lock is one of the operating system and ends with the process, however that ends. A thread that holds it may
    take it again, so that `save_folder` can be called inside.

    Args:
        folder: The index's folder; made if it is missing.
        timeout: Seconds to wait for another writer; 0 not to wait, None for half a minute.

    Raises:
        IndexLockedError: If another process or thread is still writing.
        IndexFormatError: If the folder is a file, or holds other things; see `check_target`.
        OSError: If the folder cannot be written.
    """
    check_target(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / LOCK
    key = (os.getpid(), path)
    if key in _HELD.locks:
        yield
        return
    if path.is_symlink():  # not to be opened for writing: it may lead anywhere
        raise IndexFormatError(f"Cannot save to {str(folder)!r}: its {LOCK} is a link. Remove the link.")
    lock = FileLock(path)
    try:  # an interrupt may arrive as soon as the lock is ours
        try:
            lock.acquire(timeout=_LOCK_TIMEOUT if timeout is None else timeout)
        except Timeout:
            raise IndexLockedError(
                f"Another process or thread is writing the index at {str(folder)!r}. Wait until it has finished and "
                "try again; what it writes is then part of the index."
            ) from None
        _HELD.locks.add(key)
        yield
    finally:
        _HELD.locks.discard(key)
        lock.release()


@contextmanager
def editing(folder: Path) -> Iterator[None]:
    """Be the only one that writes an index that is there; see `writer_lock`.

    Raises:
        IndexFormatError: If the folder is not an index or is damaged; nothing is made there.
        IndexLockedError: If another process or thread is writing it and does not finish within half a minute.
    """
    manifest.parse(folder)
    with writer_lock(folder):
        yield


def save_folder(
    folder: Path,
    config: dict[str, Any],
    write: Callable[[Path, frozenset[str]], None],
    origins: Origins | None = None,
    unchanged: Iterable[str] = (),
) -> None:
    """Write a folder completely or not at all, one writer at a time.

    Args:
        folder: Where to save. It may be missing, empty, or hold an earlier save, which is replaced.
        config: JSON-serialisable settings, kept in the manifest.
        write: Writes all files into the empty folder that it is given, but for the subfolders that it is told of: those
            of `unchanged` that the folder has.
        origins: Where what is saved comes from; brought up to date. Default: from nowhere.
        unchanged: Subfolders that are the same in every save that has them, such as ``"segments/0123456789ab"``.

    Raises:
        IndexChangedError: If somebody else has saved there since; see `Origins`.
        IndexFormatError: If `folder` is a file, or a folder with other things in it, such as a save of another kind.
        IndexLockedError: If another process or thread is writing it and does not finish.
        OSError: If writing fails, for example on a full disk; an earlier save is then untouched.
    """
    folder = Path(folder)
    with writer_lock(folder):
        named = manifest.named_data(folder)
        origins = origins or Origins()
        origins.check(folder, named)
        _check_kind(folder, config)
        if named is not manifest.UNREADABLE:
            manifest.remove_unnamed(folder, _WRITING)
        name = f"{manifest.DATA_PREFIX}{uuid.uuid4().hex[:12]}"
        data, temporary = folder / name, folder / f"{name}.json"
        _WRITING.add(name)
        try:
            try:
                data.mkdir()
                kept, subfolders = manifest.unchanged(folder, unchanged)
                write(data, subfolders)
                manifest.write(temporary, data, config, kept)
                _fsync_all([*manifest.everything_in(data), data, temporary])
                _fsync(folder)
                origins.saving(folder, named, name)
                replace_file(temporary, folder / manifest.MANIFEST)
            except BaseException:
                # An interrupt may arrive just after the replacement, so the manifest itself says whether it happened.
                if not manifest.may_name(folder, name):
                    manifest.remove_folder(data)
                    temporary.unlink(missing_ok=True)
                raise
            # Committed: from here on the new data stays, whatever happens.
            origins.loaded(folder, name)
            try:
                _fsync(folder)
            except OSError as error:
                # After a loss of power the old manifest may be back, so its data stays, until the next save.
                logger.warning("The folder %s could not be synchronised after saving (%s)", folder, error)
            else:
                manifest.remove_unnamed(folder, _WRITING)
        finally:
            _WRITING.discard(name)


def replace_file(new: Path, old: Path) -> None:
    """Put a file in the place of another one. On Windows it waits until nobody has either open, for two seconds.

    Readers open a manifest for a moment, virus scanners what was just written; Windows then refuses to replace it.

    Raises:
        OSError: If it cannot be replaced.
    """
    for pause in _PAUSES:
        try:
            os.replace(new, old)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _OPEN_ELSEWHERE:
                raise
            time.sleep(pause)
    os.replace(new, old)


def check_target(folder: Path) -> None:
    """Check that a save into this folder can replace nothing but an earlier save.

    Raises:
        IndexFormatError: If it is a file, or a folder with other things in it.
    """
    if folder.exists() and not folder.is_dir():
        raise IndexFormatError(f"Cannot save to {str(folder)!r}: it is a file. Name a folder.")
    if folder.is_dir() and not isinstance(manifest.named_data(folder), str):
        names = {path.name for path in folder.iterdir() if not is_litter(path.name)} - {LOCK, SOURCES}
        own = {name for name in names if manifest.OWN.fullmatch(name)}
        others = names - own - ({manifest.MANIFEST} if own else set())  # a damaged save may be replaced
        if others:
            raise IndexFormatError(
                f"Cannot save to {str(folder)!r}: the folder holds other files (such as {min(others)!r}) and no "
                "index. Name a new or an empty folder."
            )


def _check_kind(folder: Path, config: dict[str, Any]) -> None:
    """Check that a save replaces none of another kind, such as an index; a damaged one may be replaced.

    Raises:
        IndexFormatError: If it would.
    """
    try:
        _, _, present = manifest.parse(folder)
    except IndexFormatError:
        return
    if present.get("kind") != config.get("kind"):
        kind = present.get("kind", "an index")
        raise IndexFormatError(f"Cannot save to {str(folder)!r}: it holds {kind}. Name another folder.")


def state_of(folder: Path) -> str | None:
    """Return what identifies the state of a saved index, another one after each save; None without an index."""
    try:
        return hashlib.sha256(manifest.read(folder).encode("utf-8", "surrogatepass")).hexdigest()
    except OSError:
        return None


def is_index(folder: Path) -> bool:
    """Return whether a folder is a saved index, readable or not."""
    named = manifest.named_data(folder)
    if named is manifest.UNREADABLE:
        return any(manifest.OWN.fullmatch(path.name) for path in folder.iterdir())
    return named is not None


def read_folder(folder: Path, read: Callable[[SavedFiles, dict[str, Any]], T]) -> T:
    """Read a saved folder, which another process may be replacing.

    Args:
        folder: A folder that `save_folder` wrote.
        read: Reads the data files by the settings; called again if the index was replaced meanwhile.

    Raises:
        IndexFormatError: See `open_folder`; or if `read` lacks a file.
    """
    folder = Path(folder)
    attempts_left = _READ_AGAIN
    while True:
        attempts_left -= 1
        before = manifest.named_data(folder)
        try:
            return read(*open_folder(folder))
        except (IndexFormatError, OSError) as error:
            if attempts_left and manifest.named_data(folder) != before:
                continue
            if isinstance(error, IndexFormatError):
                raise
            raise IndexFormatError(f"The index at {str(folder)!r} cannot be read ({error}). {RESTORE}") from error


def open_folder(folder: Path) -> tuple[SavedFiles, dict[str, Any]]:
    """Open and check a saved folder.

    Args:
        folder: A folder that `save_folder` wrote.

    Returns:
        The data files that its manifest names, and the settings.

    Raises:
        IndexFormatError: If the folder is missing, is not an index, was written by a newer version, or a file of it is
            missing, truncated or edited. The content of a large file is checked later, by `SavedFiles.verify`.
    """
    data, files, config = manifest.parse(folder)
    # All are opened before any is checked, which takes longer: another save may be about to remove them.
    contents: dict[str, mmap.mmap | bytes] = {}
    for name, file in files.items():
        try:
            contents[name] = map_file(folder / file.data / name, file.size)
        except OSError as error:
            raise IndexFormatError(
                f"The index at {str(folder)!r} lacks its file {name!r} ({error}). {RESTORE}"
            ) from error
    checksums = {name: file.sha256 for name, file in files.items()}
    small = {name: content for name, content in contents.items() if len(content) < mapped.LARGE_FILE}
    check_checksums(small, checksums, str(folder))
    large = {name: checksums[name] for name in contents if name not in small}
    return SavedFiles(contents, str(folder), data, large), config


def _fsync_all(paths: Sequence[Path], at_a_time: int = _SYNCED_AT_ONCE) -> None:
    """Wait until files and folders are on the disk; several at a time, which the system writes together.

    Raises:
        OSError: See `_fsync`.
    """
    if at_a_time < 2 or len(paths) < 2:
        for path in paths:
            _fsync(path)
        return
    half = len(paths) // 2
    at_once(lambda: _fsync_all(paths[:half], at_a_time // 2), lambda: _fsync_all(paths[half:], at_a_time // 2))


def _fsync(path: Path) -> None:
    """Wait until a file or a folder is on the disk.

    Raises:
        OSError: If the disk fails. A folder of a file system that cannot synchronise folders is skipped.
    """
    is_folder = path.is_dir()
    if os.name == "nt" and is_folder:  # Windows cannot open a folder
        return
    try:
        # Windows flushes only what is open for writing
        descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not is_folder or error.errno not in _NO_FSYNC:
            raise
