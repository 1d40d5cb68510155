"""Arrays and numbered strings that only ever grow, at their end: readers need no lock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.arrays.strings import StringTable, join
from langchain_klue_rerank.engine.priority import gently

#: Strings that are decoded at a time.
_AT_ONCE = 1 << 12


class GrowingRagged:
    """Rows of numbers to which rows are appended, at a cost that depends on the new rows alone (amortised).

    One thread appends; any number of threads read meanwhile.

    Args:
        rows: The rows to begin with.
    """

    def __init__(self, rows: Ragged | None = None) -> None:
        self._rows = rows if rows is not None else Ragged.empty()
        self._values, self._offsets = self._rows.values, self._rows.offsets

    @property
    def rows(self) -> Ragged:
        """All rows, as a view that later appending does not change."""
        return self._rows

    def append(self, new: Ragged, at: int) -> None:
        """Append rows.

        Args:
            new: The rows.
            at: How many of the rows that are here are kept: what an interrupted `append` left behind them is not.
        """
        old = self._rows
        offsets = new.offsets[1:] - new.offsets[0] + old.offsets[at]
        size, count = int(old.offsets[at]), at + 1
        self._values = _roomy(self._values, size, size + len(new.values))
        self._offsets = _roomy(self._offsets, count, count + len(offsets))
        self._values[size : size + len(new.values)] = new.values
        self._offsets[count : count + len(offsets)] = offsets
        self._rows = Ragged(self._values[: size + len(new.values)], self._offsets[: count + len(offsets)])


def _roomy(array: NDArray, used: int, needed: int) -> NDArray:  # type: ignore[type-arg]
    """Return an array that begins with the used part of another one and has room for what is needed."""
    if needed <= len(array) and array.flags.writeable:
        return array
    larger = np.empty(max(2 * used, needed, 16), array.dtype)
    larger[:used] = array[:used]
    return larger


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
            for place in gently(range(max(first - start, 0), min(last - start, len(table)), _AT_ONCE), 1):
                yield from table.strings(np.arange(place, min(place + _AT_ONCE, last - start, len(table))))
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
        known = (numbers.get(string, -1) for string in gently(strings, 4096))
        found = np.fromiter(known, np.int64, len(strings))
        for start, table in zip(self._starts.tolist(), self._tables, strict=False):
            missing = np.flatnonzero(found < 0)
            if not len(missing):
                break
            own = table.find([strings[place] for place in missing.tolist()])
            found[missing] = np.where(own >= 0, own + start, -1)
        return found

    def add(self, strings: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of the strings; unknown ones get the next free number."""
        # What is in the dictionary is here; what an interrupted call appended to the list alone is not.
        del self._new[len(self._numbers) :]
        found = self.find(strings)
        for place in gently(np.flatnonzero(found < 0).tolist(), 1024):
            string = strings[place]
            number = self._numbers.get(string)
            if number is None:
                number = self._first + len(self._new)
                self._new.append(string)
                self._numbers[string] = number
            found[place] = number
        return found
