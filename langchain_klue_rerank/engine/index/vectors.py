"""The vectors of an index: one for each passage and, for long passages, one for each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine.arrays.files import SavedFiles, write_array
from langchain_klue_rerank.engine.arrays.mapped import RESTORE
from langchain_klue_rerank.engine.arrays.unit_vectors import SmallVectors, as_unit_vectors
from langchain_klue_rerank.engine.index.segments.coarse import CoarseVectors
from langchain_klue_rerank.engine.threads import give_way
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError

#: Passages from which on a segment's vectors have a coarse first pass.
LARGE = 50_000
#: Passages that are compared by their numbers after the coarse pass: so many for each that is needed, and this share.
_COMPARED_FOR_EACH, _COMPARED_SHARE = 2, 0.01
#: Passages whose windows are turned back into float32 at a time: some 2 MB, which fit into a processor's cache.
_AT_ONCE = 256
#: Passages whose windows are added up between two pauses.
_SUMMED_AT_ONCE = 64
#: Passages whose vectors are checked at a time when they are loaded.
_CHECKED_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class PassageVectors:
    """The vectors of n passages that dense search compares.

    Attributes:
        wholes: Unit vectors of n passages, (n, dim) float32.
        windows: The vectors of their windows; none for a passage that is one window.
    """

    wholes: NDArray[np.float32]
    windows: SmallVectors
    _coarse: list[CoarseVectors] = field(default_factory=list)

    @property
    def large(self) -> bool:
        """Whether there are so many that a query is first compared with `coarse`."""
        return len(self.wholes) >= LARGE

    @property
    def coarse(self) -> CoarseVectors:
        """What a query is first compared with; made when it is asked for first, unless it was saved."""
        if not self._coarse:
            self._coarse.append(CoarseVectors.of(self.wholes))
        return self._coarse[0]

    def prepare(self) -> None:
        """Make what the first query would make."""
        if self.large:
            _ = self.coarse

    @classmethod
    def checked(cls, vectors: ArrayLike | PassageVectors, dimension: int | None = None) -> PassageVectors:
        """Check vectors as `as_unit_vectors` does; a table of numbers is one vector of each passage.

        `PassageVectors` are unit vectors already: only their dimension is checked.
        """
        if isinstance(vectors, PassageVectors):
            if dimension not in (None, vectors.wholes.shape[1]):
                as_unit_vectors(vectors.wholes, dimension)  # says what is wrong; of no passages nothing is
            return vectors
        wholes = as_unit_vectors(vectors, dimension)
        return cls(wholes, _no_windows(len(wholes), wholes.shape[1]))

    @classmethod
    def of_windows(cls, vectors: ArrayLike, offsets: NDArray[np.int64]) -> PassageVectors:
        """Make the vectors of passages from those of their windows: the whole is the mean of its windows.

        Args:
            vectors: Those of all windows, (windows, dim), one passage's after the other's.
            offsets: int64, one more than there are passages: passage ``i`` has the windows from ``offsets[i]`` to
                before ``offsets[i + 1]``, at least one.

        Raises:
            ModelOutputError: If there are more or fewer vectors than windows, or they are no table of finite numbers.
        """
        units = as_unit_vectors(vectors)
        if len(units) != offsets[-1]:
            raise ModelOutputError(f"The embedding model returned {len(units)} vectors for {offsets[-1]} texts.")
        if not len(units):
            return cls(units, SmallVectors.rounded(units, offsets))
        counts = np.diff(offsets)
        several = np.repeat(counts > 1, counts)
        kept = np.zeros(len(offsets), np.int64)
        np.cumsum(np.where(counts > 1, counts, 0), out=kept[1:])
        sums = np.empty((len(counts), units.shape[1]), np.float32)
        for start in range(0, len(counts), _SUMMED_AT_ONCE):  # `np.add.reduceat` holds Python's lock
            if start:
                give_way()
            some = offsets[start : start + _SUMMED_AT_ONCE + 1]
            sums[start : start + _SUMMED_AT_ONCE] = np.add.reduceat(
                units[some[0] : some[-1]], some[:-1] - some[0], axis=0
            )
        wholes = as_unit_vectors(sums)
        return cls(wholes, SmallVectors.rounded(units[several], kept))

    @classmethod
    def join(cls, parts: Sequence[PassageVectors]) -> PassageVectors:
        """Return the passages of all parts, at least one, one after the other."""
        if len(parts) == 1:
            return parts[0]
        wholes = np.concatenate([part.wholes for part in parts])
        return cls(wholes, SmallVectors.join([part.windows for part in parts]))

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self.wholes)

    @property
    def count(self) -> int:
        """The number of vectors: a passage without windows has one."""
        return int((np.diff(self.windows.offsets) == 0).sum()) + len(self.windows.values)

    @property
    def nbytes(self) -> int:
        """Bytes that they take, in memory and on disk."""
        return self.wholes.nbytes + self.windows.nbytes

    def take(self, rows: NDArray[np.integer]) -> PassageVectors:
        """Return the vectors of some passages, in that order."""
        return PassageVectors(self.wholes[rows], self.windows.take(rows))

    def save(self, path: Path) -> None:
        """Write the vectors; those of windows only if there are any."""
        write_array(path, self.wholes)
        if len(self.windows.values):
            self.windows.save(path)
        if self.large:
            self.coarse.save(path)

    @classmethod
    def load(cls, files: SavedFiles, name: str, rows: int) -> PassageVectors:
        """Read what `save` wrote, memory-mapped.

        Raises:
            IndexFormatError: If there are not the unit vectors of `rows` passages.
        """
        wholes = files.array(name, np.float32, ndim=2)
        if len(wholes) != rows or not wholes.shape[1]:
            raise IndexFormatError(f"{name!r} holds {len(wholes)} vectors for {rows} passages. {RESTORE}")
        files.check(name, partial(_check_lengths, files, name, wholes))
        windows = _no_windows(rows, wholes.shape[1])
        if f"{name}_values.npy" in files:
            windows = SmallVectors.load(files, name, rows)
            if windows.values.shape[1] != wholes.shape[1]:
                raise IndexFormatError(f"{name!r} holds windows of another dimension. {RESTORE}")
        coarse = CoarseVectors.load(files, name, rows, wholes.shape[1]) if rows >= LARGE else None
        return cls(wholes, windows, [] if coarse is None else [coarse])

    def nearest(
        self, query: NDArray[np.float32], count: int, mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the passages whose wholes are nearest to a query, and others beside them.

        Args:
            query: A unit vector, (dim,) float32.
            count: How many are needed at least, if there are as many; in a large segment more are compared.
            mask: Which rows may be found, (n,) bool; None for all.

        Returns:
            Rows, rising, and their cosines, which in a large segment err by as much as rounding to bytes does.
        """
        if self.large:
            rows = self.coarse.nearest(query, max(_COMPARED_FOR_EACH * count, int(_COMPARED_SHARE * len(self))), mask)
            return rows, self.coarse.cosines(query, rows)
        rows = np.arange(len(self)) if mask is None else np.flatnonzero(mask)
        return rows, (self.wholes if mask is None else self.wholes[rows]) @ query

    def whole_cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosine of a query with some passages as wholes; see `nearest`."""
        return self.coarse.cosines(query, rows) if self.large else self.wholes[rows] @ query

    def best_of(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosine similarity of a query's unit vector with the best window of some passages.

        Args:
            query: A unit vector, (dim,) float32.
            rows: The rows of r passages.

        Returns:
            (r,) float32; where a passage has no windows, of its whole.
        """
        best = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            windows = self.windows.take(some)
            own = windows.best_cosines(query[None])
            short = np.flatnonzero(np.diff(windows.offsets) == 0)
            own[short] = self.wholes[some[short]] @ query
            best[start : start + len(some)] = own
        return best


def _check_lengths(files: SavedFiles, name: str, wholes: NDArray[np.float32]) -> None:
    """Check that vectors are of length 1, or zero.

    Raises:
        IndexFormatError: If they are not.
    """
    for start in range(0, len(wholes), _CHECKED_AT_ONCE):
        some = wholes[start : start + _CHECKED_AT_ONCE]
        squares = np.einsum("ij,ij->i", some, some)
        if not ((np.abs(squares - 1) < 1e-3) | (squares == 0)).all():
            raise IndexFormatError(f"{name!r} holds vectors that are not of length 1. {RESTORE}")
        files.release()


def _no_windows(passages: int, dimension: int) -> SmallVectors:
    """Return no windows of passages."""
    return SmallVectors.rounded(np.zeros((0, dimension), np.float32), np.zeros(passages + 1, np.int64))
