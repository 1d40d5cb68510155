"""Files opened safely and mapped into memory: their size, checksums, and the memory that reading them took."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from langchain_klue_rerank.errors import IndexFormatError

RESTORE: Final = "Restore it from a copy, or build the index again."
#: Bytes from which on a file's content is not checked when it is opened; see `files.SavedFiles.verify`.
LARGE_FILE = 1 << 26
#: Bytes of a file up to which it is read instead of mapped.
_MAPPED = 1 << 16
#: The most bytes that a configuration of packaged weights may have.
_CONFIG_BYTES = 1 << 20
#: Bytes of a large file that are read at a time.
_STRETCH = 1 << 25
#: Bytes of a mapped file whose memory is given back.
_WORTHWHILE = 1 << 20


def map_file(path: Path, size: int | None = None) -> mmap.mmap | bytes:
    """Map a file into memory; one that is small is read instead.

    Args:
        path: The file.
        size: The bytes that it must have; None for any number.

    Raises:
        IndexFormatError: If it has more or fewer bytes.
        OSError: If it is no regular file, or cannot be opened.
    """
    descriptor = open_regular(path)
    try:
        found = os.fstat(descriptor).st_size
        if size is not None and found != size:
            raise IndexFormatError(
                f"The file {str(path)!r} has {found} bytes instead of {size!r}: it is truncated or edited. {RESTORE}"
            )
        if found > _MAPPED:
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        with open(descriptor, "rb", closefd=False) as file:  # a mapping would keep the file open
            return file.read()
    finally:
        os.close(descriptor)


def read_small(path: Path, most: int) -> str:
    """Read a text file that is no longer than a limit.

    Args:
        path: The file.
        most: The most bytes that it may have.

    Raises:
        OSError: If it is no regular file, or cannot be opened.
        ValueError: If it is too long or not UTF-8.
    """
    with open(open_regular(path), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is longer than {most} bytes")
    return content.decode()


def packaged_config(path: Path, kind: str, version: int) -> dict[str, Any]:
    """Read the configuration of packaged weights.

    Args:
        path: The file.
        kind: What its ``format`` must be.
        version: What its ``format_version`` must be.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is something else, or of another format version.
    """
    try:
        config = json.loads(read_small(path, _CONFIG_BYTES))
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply.") from error
    if not isinstance(config, dict) or config.get("format") != kind:
        raise ValueError(f"{path} does not describe a {kind}.")
    if config.get("format_version") != version:
        raise ValueError(
            f"The weights in {path.parent} have format version {config.get('format_version')}; this release reads "
            f"version {version}. Update langchain-klue-rerank or use the weights of this release."
        )
    return config


def open_regular(path: Path) -> int:
    """Open a regular file; a pipe would hang, a device never end.

    Raises:
        OSError: If it is something else, or cannot be opened.
    """
    # O_NONBLOCK: opening a pipe waits for its writer; O_BINARY is Windows'
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def check_checksums(contents: Mapping[str, mmap.mmap | bytes], checksums: Mapping[str, str], where: str) -> None:
    """Compare the SHA-256 of files, on several threads if they are large.

    Raises:
        IndexFormatError: If one is another.
    """
    if sum(map(len, contents.values())) < LARGE_FILE:
        found: Iterator[str] = map(sha256_of, contents.values())
    else:
        with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as threads:
            found = iter([*threads.map(sha256_of, contents.values())])
    for name, own in zip(contents, found, strict=True):
        if own != checksums[name]:
            raise IndexFormatError(f"The file {name!r} of the index at {where!r} was edited or damaged. {RESTORE}")


def sha256_of(content: mmap.mmap | bytes) -> str:
    """Return the SHA-256 of a file's content; of a large file no more than a stretch is in memory at a time."""
    digest = hashlib.sha256()
    for _, some in stretches(content):
        digest.update(some)
    return digest.hexdigest()


def release(content: mmap.mmap | bytes) -> None:
    """Give back the memory that reading a large mapped file took; what is read again comes from the system's cache."""
    if isinstance(content, mmap.mmap) and len(content) > _WORTHWHILE and hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)


def resident() -> int | None:
    """Return the bytes of mapped files that are in this process's memory; None where the system does not say."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return None


def stretches(content: mmap.mmap | bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield stretches of a content with their starts, and release each that was read."""
    for start in range(0, len(content), _STRETCH):
        with memoryview(content) as every, every[start : start + _STRETCH] as some:
            yield start, some
        release(content)
