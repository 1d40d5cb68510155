"""Rows of different lengths in two flat arrays: the data layout of the index. `GrowingRagged` grows at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of numbers of different lengths.

    Attributes:
        values: int32, all rows one after the other.
        offsets: int64, one more than there are rows: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Ragged:
        """Return a table without rows."""
        return cls(np.zeros(0, np.int32), np.zeros(1, np.int64))

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        """Build from a sequence of rows."""
        values: list[int] = []
        offsets = [0]
        for row in rows:
            values += row
            offsets.append(len(values))
        return cls(np.asarray(values, np.int32), np.asarray(offsets, np.int64))

    @classmethod
    def join(cls, tables: Sequence[Ragged]) -> Ragged:
        """Return the rows of all tables, at least one, one after the other."""
        if len(tables) == 1:
            return tables[0]
        lengths = np.concatenate([[0], *(table.lengths() for table in tables)])
        return cls(np.concatenate([table.values for table in tables]), np.cumsum(lengths, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Return the length of every row."""
        return np.diff(self.offsets)

    def first(self, count: int) -> Ragged:
        """Return the first rows."""
        return Ragged(self.values[: self.offsets[count]], self.offsets[: count + 1])

    def between(self, first: int, last: int) -> Ragged:
        """Return the rows from one to before another one."""
        offsets = self.offsets[first : last + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """Return the rows asked for, in that order; a row may be asked for twice."""
        return self.spans(self.offsets[rows], self.offsets[np.asarray(rows) + 1])

    def spans(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Ragged:
        """Return the stretches of `values` from `starts` to `ends` as rows; they may overlap."""
        index, offsets = gather(starts, ends)
        return Ragged(self.values[index], offsets)

    def through(self, table: Ragged) -> Ragged:
        """Replace every value by the row of `table` with that number: passages of words into passages of morphemes."""
        inner = table.take(self.values)
        return Ragged(inner.values, inner.offsets[self.offsets])


def gather(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of all stretches from `starts` to `ends`, one after the other, and where each begins."""
    lengths = ends - starts
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    places = np.ones(offsets[-1], np.int64)
    filled = np.flatnonzero(lengths)
    places[offsets[filled]] = starts[filled]
    places[offsets[filled[1:]]] -= ends[filled[:-1]] - 1
    np.cumsum(places, out=places)  # unlike `np.repeat` it lets other threads run
    return places, offsets


class GrowingRagged:
    """Rows of numbers to which rows are appended, at a cost that depends on the new rows alone (amortised).

    One thread appends; any number of threads read meanwhile.

    Args:
        rows: The rows to begin with.

    Attributes:
        rows: All rows, as a view that later appending does not change.
    """

    def __init__(self, rows: Ragged | None = None) -> None:
        self.rows = rows if rows is not None else Ragged.empty()
        self._values, self._offsets = self.rows.values, self.rows.offsets

    def append(self, new: Ragged, at: int) -> None:
        """Append rows.

        Args:
            new: The rows.
            at: How many of the rows that are here are kept: what an interrupted `append` left behind them is not.
        """
        old = self.rows
        offsets = new.offsets[1:] - new.offsets[0] + old.offsets[at]
        size, count = int(old.offsets[at]), at + 1
        self._values = _roomy(self._values, size, size + len(new.values))
        self._offsets = _roomy(self._offsets, count, count + len(offsets))
        self._values[size : size + len(new.values)] = new.values
        self._offsets[count : count + len(offsets)] = offsets
        self.rows = Ragged(self._values[: size + len(new.values)], self._offsets[: count + len(offsets)])


def _roomy(array: NDArray, used: int, needed: int) -> NDArray:  # type: ignore[type-arg]
    """Return an array that begins with the used part of another one and has room for what is needed."""
    if needed <= len(array) and array.flags.writeable:
        return array
    larger = np.empty(max(2 * used, needed, 16), array.dtype)
    larger[:used] = array[:used]
    return larger
