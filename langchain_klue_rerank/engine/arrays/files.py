"""The files of a saved index: plain arrays, lines of text and JSON, never pickle, checked as they are read."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.arrays.strings import StringTable
from langchain_klue_rerank.errors import IndexFormatError

RESTORE: Final = "Restore it from a copy, or build the index again."
#: Bytes of a large file that are read at a time.
_STRETCH = 1 << 25
#: Bytes of an array's file that are read as its header, which NumPy limits to 10,000.
_HEADER_BYTES = 1 << 14


class SavedFiles:
    """The data files of a saved index that its manifest names, and no others, opened and checked.

    They are opened together and stay readable when a later save removes them.

    Args:
        contents: Name, such as ``"tokens/words.txt"``, to content.
        where: The index's folder, for messages.
        state: The name of the data folder, another one after every save; "" for files that no manifest names.
    """

    def __init__(self, contents: Mapping[str, mmap.mmap | bytes], where: str, state: str = "") -> None:
        self._contents = contents
        self.where = where
        self.state = state

    def __contains__(self, name: str) -> bool:
        """Return whether the manifest names a file."""
        return name in self._contents

    def release(self) -> None:
        """Give back the memory that reading mapped files took; see `release`."""
        for content in self._contents.values():
            release(content)

    def content(self, name: str) -> mmap.mmap | bytes:
        """Return a file's content.

        Raises:
            IndexFormatError: If the manifest does not name it.
        """
        try:
            return self._contents[name]
        except KeyError:
            raise IndexFormatError(
                f"The manifest of the index at {self.where!r} does not name the file {name!r}. {RESTORE}"
            ) from None

    def json(self, name: str) -> Any:
        """Return the value of a JSON file."""
        try:
            return json.loads(bytes(self.content(name)).decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise IndexFormatError(f"{name!r} is no readable JSON ({error}). {RESTORE}") from error

    def lines(self, name: str) -> Lines:
        """Return the lines of a text file, decoded when they are asked for.

        Raises:
            IndexFormatError: If the last line is cut.
        """
        content = self.content(name)
        if len(content) and content[-1:] != b"\n":
            raise IndexFormatError(f"{name!r} does not end with a whole line. {RESTORE}")
        return Lines(content)

    def array(self, name: str, dtype: Any, ndim: int = 1) -> NDArray[Any]:
        """Return an array that `write_array` wrote, memory-mapped.

        Args:
            name: Its name, without ``.npy``.
            dtype: The type that it must have.
            ndim: The number of dimensions that it must have.

        Raises:
            IndexFormatError: If it is no array of this type and number of dimensions.
        """
        name = f"{name}.npy"
        content = self.content(name)
        head = BytesIO(content[:_HEADER_BYTES])
        try:
            version = np.lib.format.read_magic(head)
            if version != (1, 0):  # what NumPy writes for plain numbers
                raise ValueError(f"its version is {version}")
            shape, fortran, found = np.lib.format.read_array_header_1_0(head)
            if found != np.dtype(dtype) or len(shape) != ndim:
                raise ValueError(f"it holds {len(shape)}-dimensional {found}")
            count = int(np.prod(shape, dtype=object))
            if count * found.itemsize != len(content) - head.tell():
                raise ValueError("its length does not fit its shape")
            if not count:
                return np.zeros(shape, found)
            values = np.frombuffer(content, found, count, head.tell())
            return values.reshape(shape, order="F" if fortran else "C")
        except Exception as error:  # the header's parser raises errors of many kinds
            raise IndexFormatError(f"{name!r} is not a readable array ({error}). {RESTORE}") from error

    def ragged(self, name: str, rows: int | None, limit: int) -> Ragged:
        """Return what `write_ragged` wrote.

        Args:
            name: Its name.
            rows: How many rows it must have; None for any number.
            limit: All values must be from 0 to below this.

        Raises:
            IndexFormatError: If the numbers do not fit.
        """
        values = self.array(f"{name}_values", np.int32)
        offsets = self.array(f"{name}_offsets", np.int64)
        check_offsets(name, offsets, len(values))
        if rows is not None and len(offsets) != rows + 1:
            raise IndexFormatError(f"{name!r} holds {len(offsets) - 1} rows instead of {rows}. {RESTORE}")
        check_range(name, values, limit)
        return Ragged(values, offsets)


def check_offsets(name: str, offsets: NDArray[np.int64], size: int) -> None:
    """Check that rows lie one after the other and fill `size` values.

    Raises:
        IndexFormatError: If they do not.
    """
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != size or bool((offsets[1:] < offsets[:-1]).any()):
        raise IndexFormatError(f"The rows of {name!r} do not fit together. {RESTORE}")


def check_range(name: str, values: NDArray[Any], limit: float) -> None:
    """Check that values are from 0 to below a limit.

    Raises:
        IndexFormatError: If they are not.
    """
    if len(values) and not 0 <= values.min() <= values.max() < limit:
        raise IndexFormatError(f"{name!r} holds numbers out of range. {RESTORE}")


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as ``.npy`` without pickle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.ascontiguousarray(array)
    with path.with_suffix(".npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        if array.size:  # not np.save: on a full disk that may leave the end out and say nothing
            file.write(array.data.cast("B"))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write strings, none of which holds a line feed, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))


class Lines(Sequence[str]):
    """The lines of UTF-8 text, decoded when they are asked for. Lone surrogates are kept, each by itself.

    Args:
        content: The text; every line ends in a line feed.
    """

    def __init__(self, content: mmap.mmap | bytes) -> None:
        self._bytes = content
        parts = [np.zeros(1, np.int64)]
        for start, some in _stretches(content):
            parts.append(np.flatnonzero(np.frombuffer(some, np.uint8) == ord("\n")) + (start + 1))
        self._offsets = np.concatenate(parts)

    @property
    def table(self) -> StringTable:
        """The lines as strings that end in a line feed."""
        return StringTable(self._bytes, self._offsets.astype(np.int64))

    @property
    def strings(self) -> StringTable:
        """The lines as strings that can be searched; copied, because they lie without line feeds."""
        content = np.frombuffer(self._bytes, np.uint8)
        return StringTable(content[content != ord("\n")].tobytes(), self._offsets - np.arange(len(self._offsets)))

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
        return _decoded(self._bytes[self._offsets[number] : self._offsets[number + 1] - 1])

    def __iter__(self) -> Iterator[str]:
        """Yield all lines, decoded together."""
        return iter(_decoded(bytes(self._bytes)).split("\n")[:-1])


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise IndexFormatError(f"A file of the index is no UTF-8 ({error}). {RESTORE}") from error


def write_ragged(path: Path, table: Ragged) -> None:
    """Write a `Ragged` as two arrays."""
    write_array(path.with_name(path.name + "_values"), table.values)
    write_array(path.with_name(path.name + "_offsets"), table.offsets)


def sha256_of(content: mmap.mmap | bytes) -> str:
    """Return the SHA-256 of a file's content; of a large file no more than a stretch is in memory at a time."""
    digest = hashlib.sha256()
    for _, some in _stretches(content):
        digest.update(some)
    return digest.hexdigest()


def release(content: mmap.mmap | bytes) -> None:
    """Give back the memory that reading a large mapped file took; what is read again comes from the system's cache."""
    if isinstance(content, mmap.mmap) and len(content) > _STRETCH and hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)


def _stretches(content: mmap.mmap | bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield stretches of a content with their starts, and release each that was read."""
    for start in range(0, len(content), _STRETCH):
        with memoryview(content) as every, every[start : start + _STRETCH] as some:
            yield start, some
        release(content)


def map_file(path: Path, size: int | None = None) -> mmap.mmap | bytes:
    """Map a file into memory; one that is empty cannot be mapped.

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
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if found else b""
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
