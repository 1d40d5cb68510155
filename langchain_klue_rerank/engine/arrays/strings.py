"""Strings in one flat array, found by number or by themselves, in memory or on disk."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise, repeat
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.mapped import RESTORE, release
from langchain_klue_rerank.engine.arrays.ragged import gather
from langchain_klue_rerank.engine.threads import gently, give_way
from langchain_klue_rerank.errors import IndexFormatError

#: Bytes whose hashes are computed at a time; bounds the memory beside the result, and how long other threads wait.
_BYTES_AT_ONCE = 1 << 19
#: Strings that are decoded at a time; that are looked up and that are added between two pauses for searches.
_DECODED_AT_ONCE, _FOUND_AT_ONCE, _ADDED_AT_ONCE = 1024, 1024, 1024
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)


def hashes(content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash strings that lie one after the other; the same string has the same hash in every process.

    Args:
        content: Their UTF-8 bytes.
        offsets: Where each begins, one more than there are strings.

    Returns:
        (n,) uint64. Two strings may share a hash: a search by hash must also compare the strings.
    """
    lengths = np.diff(offsets)
    powers = np.ones(int(lengths.max(initial=0)) + 1, np.uint64)
    powers[1:] = _MULTIPLIER
    np.cumprod(powers, out=powers)  # uint64 arithmetic wraps around, by intention
    result = np.zeros(len(lengths), np.uint64)
    start = 0
    while start < len(lengths):
        end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + _BYTES_AT_ONCE, side="right")) - 1)
        some = slice(start, end)
        first, last = offsets[start], offsets[end]
        filled = np.flatnonzero(lengths[some])
        if len(filled):
            places = np.arange(first, last) - np.repeat(offsets[start:end], lengths[some])
            values = (content[first:last].astype(np.uint64) + np.uint64(1)) * powers[places]
            result[start + filled] = np.add.reduceat(values, offsets[start + filled] - first)
        start = end
    result ^= result >> np.uint64(32)
    return result * _MULTIPLIER


class Strings(Sequence[str], ABC):
    """Strings by number. A subclass says how many there are, and which one has a number."""

    @abstractmethod
    def _string(self, number: int) -> str:
        """Return the string with a number, which is one of theirs."""

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> list[str]: ...

    def __getitem__(self, number: int | slice) -> str | list[str]:
        """Return a string, or several."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._string(number)


class StringTable(Strings):
    """Distinct strings by number, and their numbers by string. Immutable.

    Args:
        content: All strings in UTF-8, one after the other; lone surrogates are kept, each by itself.
        offsets: Where each begins, int64, one more than there are strings.
        order: The strings' numbers by rising hash, int32; None to compute it when it is needed.
        sorted_hashes: The hashes in that order, uint64; None as well.
    """

    def __init__(
        self,
        content: mmap.mmap | bytes,
        offsets: NDArray[np.int64],
        order: NDArray[np.int32] | None = None,
        sorted_hashes: NDArray[np.uint64] | None = None,
    ) -> None:
        self.content = content
        self.offsets = offsets
        self._search = (order, sorted_hashes) if order is not None and sorted_hashes is not None else None

    @classmethod
    def of(cls, strings: Iterable[str]) -> StringTable:
        """Make a table of distinct strings."""
        encoded = [string.encode("utf-8", "surrogatepass") for string in gently(strings, 1024)]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
        return cls(b"".join(encoded), offsets)

    @property
    def search(self) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """The strings' numbers by rising hash, and the hashes."""
        if self._search is None:
            found = hashes(self.bytes, self.offsets)
            order = np.argsort(found, kind="stable").astype(np.int32)
            self._search = (order, found[order])
        return self._search

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """The content as numbers."""
        return np.frombuffer(self.content, np.uint8)

    def __len__(self) -> int:
        """Return the number of strings."""
        return len(self.offsets) - 1

    def _string(self, number: int) -> str:
        start, end = self.offsets[number : number + 2].tolist()
        return decoded(self.content[start:end])

    def __iter__(self) -> Iterator[str]:
        """Yield all strings; of a mapped file a stretch is in memory at a time."""
        first = 0
        while first < len(self):
            limit = self.offsets[first] + _BYTES_AT_ONCE
            last = max(first + 1, int(np.searchsorted(self.offsets, limit, side="right")) - 1)
            ends = self.offsets[first : last + 1]
            content = self.content[int(ends[0]) : int(ends[-1])]
            release(self.content)
            for start, end in pairwise((ends - ends[0]).tolist()):
                yield decoded(content[start:end])
            first = last

    def strings(self, numbers: NDArray[np.integer]) -> list[str]:
        """Return the strings with these numbers."""
        starts, ends = self.offsets[numbers].tolist(), self.offsets[numbers + 1].tolist()
        content = self.content
        return [decoded(content[start:end]) for start, end in zip(starts, ends, strict=True)]

    def take(self, rows: NDArray[np.integer]) -> StringTable:
        """Return some of the strings, in that order."""
        starts, ends = self.offsets[rows], self.offsets[np.asarray(rows) + 1]
        offsets = np.zeros(len(starts) + 1, np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        new = np.ones(len(starts), bool)  # where a stretch of neighbours begins
        new[1:] = starts[1:] != ends[:-1]
        firsts = np.flatnonzero(new)
        begins, stops = starts[firsts].tolist(), np.append(ends[firsts[1:] - 1], ends[-1:]).tolist()
        with memoryview(self.content) as content:
            parts = [bytes(content[begin:stop]) for begin, stop in gently([*zip(begins, stops, strict=True)])]
        return StringTable(b"".join(parts), offsets)

    def find(self, strings: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each string; -1 for one that is not here."""
        result = np.full(len(strings), -1, np.int64)
        if not len(self) or not strings:
            return result
        asked = StringTable.of(strings)
        wanted = hashes(asked.bytes, asked.offsets)
        order, sorted_hashes = self.search
        firsts = np.searchsorted(sorted_hashes, wanted)
        places = np.arange(len(strings))
        while len(places):  # once; again for those that share a hash with another string
            places = places[firsts[places] < len(self)]
            places = places[sorted_hashes[firsts[places]] == wanted[places]]
            numbers = order[firsts[places]]
            equal = _equal(asked, places, self, numbers)
            result[places[equal]] = numbers[equal]
            places = places[~equal]
            firsts[places] += 1
        return result


def _equal(
    one: StringTable, numbers: NDArray[np.integer], other: StringTable, other_numbers: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Say of pairs of strings of two tables whether they are the same."""
    starts, ends = one.offsets[numbers], one.offsets[numbers + 1]
    other_starts, other_ends = other.offsets[other_numbers], other.offsets[other_numbers + 1]
    equal = np.asarray(ends - starts == other_ends - other_starts)
    filled = np.flatnonzero(equal & (ends > starts))
    if len(filled):
        index, offsets = gather(starts[filled], ends[filled])
        other_index, _ = gather(other_starts[filled], other_ends[filled])
        same = one.bytes[index] == other.bytes[other_index]
        equal[filled] = np.logical_and.reduceat(same, offsets[:-1])
    return equal


def join(tables: Sequence[StringTable]) -> StringTable:
    """Return the strings of all tables, which must be distinct, one after the other."""
    if len(tables) == 1:
        return tables[0]
    offsets = [np.zeros(1, np.int64)]
    size = 0
    for table in tables:
        offsets.append(table.offsets[1:] - table.offsets[0] + size)
        size += int(table.offsets[-1] - table.offsets[0])
    return StringTable(b"".join(bytes(table.content) for table in tables), np.concatenate(offsets))


def decoded(content: bytes) -> str:
    """Decode a part of an index's file, lone surrogates included.

    Raises:
        IndexFormatError: If it is no UTF-8.
    """
    try:
        return content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise IndexFormatError(f"A file of the index is no UTF-8 ({error}). {RESTORE}") from error


class GrowingStrings(Sequence[str]):
    """Distinct strings with numbers; new ones get the next number.

    One thread adds; any number of threads read meanwhile.

    Args:
        tables: The strings to begin with, such as those of saved files, in the order of their numbers.
    """

    def __init__(self, tables: Sequence[StringTable] = ()) -> None:
        self._tables = [table for table in tables if len(table)]
        self._starts = np.cumsum([0, *map(len, self._tables)])
        self._first = int(self._starts[-1])
        self._new: list[str] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of strings."""
        return self._first + len(self._numbers)

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        """Return the string with a number."""
        if number >= self._first:
            return self._new[number - self._first]
        place = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._tables[place][number - int(self._starts[place])]

    def first(self, count: int) -> Iterator[str]:
        """Yield the first strings, whatever is added meanwhile."""
        return islice(chain(*self._tables, self._new), count)

    def between(self, first: int, last: int) -> Iterator[str]:
        """Yield the strings from one number to before another one."""
        for start, table in zip(self._starts.tolist(), self._tables, strict=False):
            for place in gently(range(max(first - start, 0), min(last - start, len(table)), _DECODED_AT_ONCE), 1):
                yield from table.strings(np.arange(place, min(place + _DECODED_AT_ONCE, last - start, len(table))))
        yield from self._new[max(first - self._first, 0) : max(last - self._first, 0)]

    def strings(self, numbers: NDArray[np.integer]) -> list[str]:
        """Return the strings with these numbers."""
        if not self._tables:
            new = self._new
            return [new[number] for number in numbers.tolist()]
        if len(self._tables) == 1 and numbers.max(initial=0) < self._first:
            return self._tables[0].strings(numbers)
        return [self[number] for number in numbers.tolist()]

    def table(self, numbers: NDArray[np.integer]) -> StringTable:
        """Return the strings with these numbers, which must rise."""
        bounds = np.searchsorted(numbers, self._starts).tolist()
        parts = [
            table.take(numbers[first:last] - start)
            for table, start, first, last in zip(self._tables, self._starts.tolist(), bounds, bounds[1:], strict=False)
        ]
        new = self._new
        parts.append(StringTable.of(new[number - self._first] for number in numbers[bounds[-1] :].tolist()))
        return join(parts)

    def find(self, strings: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each string; -1 for one that is not here."""
        numbers = self._numbers
        found = np.empty(len(strings), np.int64)
        for start in range(0, len(strings), _FOUND_AT_ONCE):
            if start:
                give_way()
            some = strings[start : start + _FOUND_AT_ONCE]
            found[start : start + len(some)] = [*map(numbers.get, some, repeat(-1))]
        for start, table in zip(self._starts.tolist(), self._tables, strict=False):
            missing = np.flatnonzero(found < 0)
            if not len(missing):
                break
            own = table.find([strings[place] for place in missing.tolist()])
            found[missing] = np.where(own >= 0, own + start, -1)
        return found

    def add(self, strings: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of the strings; unknown ones get the next free number."""
        found = self.find(strings)
        unknown = np.flatnonzero(found < 0).tolist()
        if unknown:
            new = [strings[place] for place in unknown]
            self.append(list(dict.fromkeys(new)))
            found[unknown] = [*map(self._numbers.__getitem__, new)]
        return found

    def append(self, strings: Sequence[str]) -> NDArray[np.int64]:
        """Give strings that are not here, and distinct, the next numbers, and return those."""
        # What is in the dictionary is here; what an interrupted call appended to the list alone is not.
        del self._new[len(self._numbers) :]
        first = len(self)
        for start in range(0, len(strings), _ADDED_AT_ONCE):
            if start:
                give_way()
            some = strings[start : start + _ADDED_AT_ONCE]
            self._new += some
            self._numbers.update(zip(some, range(first + start, first + start + len(some)), strict=True))
        return np.arange(first, first + len(strings))
