"""The files of a saved index: plain arrays, lines of text and JSON, never pickle, checked as they are read."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.mapped import RESTORE, check_checksums, release, stretches
from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.arrays.strings import Strings, StringTable, decoded
from langchain_klue_rerank.engine.threads import give_way
from langchain_klue_rerank.errors import IndexFormatError

#: Lines that are written at a time.
_LINES_AT_ONCE = 1 << 10
#: Bytes of an array's file that are read as its header, which NumPy limits to 10,000.
_HEADER_BYTES = 1 << 14


class SavedFiles:
    """The data files of a saved index that its manifest names, and no others, opened and checked.

    They are opened together and stay readable when a later save removes them.

    Args:
        contents: Name, such as ``"tokens/words.txt"``, to content.
        where: The index's folder, for messages.
        state: The name of the data folder, another one after every save; "" for files that no manifest names.
        checksums: SHA-256 of the files that are not checked yet; see `verify`. Default: all are.
    """

    def __init__(
        self,
        contents: Mapping[str, mmap.mmap | bytes],
        where: str,
        state: str = "",
        checksums: Mapping[str, str] | None = None,
    ) -> None:
        self._contents = contents
        self.where = where
        self.state = state
        self._checksums = dict(checksums or {})
        self._later: list[Callable[[], None]] = []
        self._kept: set[str] = set()

    def verify(self) -> None:
        """Check the content of the files that were too large to be read when they were opened; once.

        Raises:
            IndexFormatError: If one was edited or damaged.
        """
        if self._checksums:
            check_checksums({name: self._contents[name] for name in self._checksums}, self._checksums, self.where)
            for check in self._later:
                check()
            self.release()
            self._checksums, self._later = {}, []

    def check(self, name: str, check: Callable[[], None]) -> None:
        """Check the numbers of an array: now, or in `verify` if its file is not checked yet."""
        if f"{name}.npy" in self._checksums:
            self._later.append(check)
        else:
            check()

    def under(self, subfolder: str) -> SavedFiles:
        """Return the files of a subfolder, by their names in it."""
        begin = f"{subfolder}/"
        own = {name.removeprefix(begin): one for name, one in self._contents.items() if name.startswith(begin)}
        checksums = {name: self._checksums[begin + name] for name in own if begin + name in self._checksums}
        return SavedFiles(own, self.where, self.state, checksums)

    def __contains__(self, name: str) -> bool:
        """Return whether the manifest names a file."""
        return name in self._contents

    def release(self) -> None:
        """Give back the memory that reading mapped files took, but for those of `keep`; see `release`."""
        for name, content in self._contents.items():
            if name not in self._kept:
                release(content)

    def keep(self, name: str) -> None:
        """Leave a file in memory once it is read: one of which every search reads parts all over."""
        self._kept.add(name)

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
        self.check(f"{name}_values", lambda: check_range(name, values, limit))
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
    give_way()
    with path.with_suffix(".npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        if array.size:  # not np.save: on a full disk that may leave the end out and say nothing
            file.write(array.data.cast("B"))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write strings, none of which holds a line feed, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    every = iter(lines)
    with path.open("wb") as file:
        while some := [*islice(every, _LINES_AT_ONCE)]:
            give_way()
            file.write("".join(f"{line}\n" for line in some).encode("utf-8", "surrogatepass"))


def write_strings(path: Path, strings: Sequence[str]) -> None:
    """Write strings as a list in JSON, each lone surrogate by itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    every = iter(strings)
    separator = b"["
    with path.open("wb") as file:
        while some := [*islice(every, _LINES_AT_ONCE)]:
            give_way()
            file.write(separator + json.dumps(some, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"))
            separator = b", "
        file.write(b"]" if len(strings) else b"[]")


class Lines(Strings):
    """The lines of UTF-8 text, decoded when they are asked for. Lone surrogates are kept, each by itself.

    Args:
        content: The text; every line ends in a line feed.
    """

    def __init__(self, content: mmap.mmap | bytes) -> None:
        self._bytes = content
        parts = [np.zeros(1, np.int64)]
        for start, some in stretches(content):
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

    def _string(self, number: int) -> str:
        return decoded(self._bytes[self._offsets[number] : self._offsets[number + 1] - 1])

    def __iter__(self) -> Iterator[str]:
        """Yield all lines, decoded together."""
        return iter(decoded(bytes(self._bytes)).split("\n")[:-1])


def write_ragged(path: Path, table: Ragged) -> None:
    """Write a `Ragged` as two arrays."""
    write_array(path.with_name(path.name + "_values"), table.values)
    write_array(path.with_name(path.name + "_offsets"), table.offsets)
