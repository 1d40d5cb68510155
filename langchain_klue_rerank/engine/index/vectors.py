"""The vectors of an index: one for each passage and, for long passages, one for each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine.arrays.checked import as_unit_vectors
from langchain_klue_rerank.engine.arrays.files import RESTORE, SavedFiles, write_array
from langchain_klue_rerank.engine.arrays.quantized import SmallVectors
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError

#: Passages whose windows are turned back into float32 at a time: some 2 MB, which fit into a processor's cache.
_AT_ONCE = 256
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

    @classmethod
    def checked(cls, vectors: ArrayLike | PassageVectors, dimension: int | None = None) -> PassageVectors:
        """Check vectors as `as_unit_vectors` does; a table of numbers is one vector of each passage."""
        if isinstance(vectors, PassageVectors):
            return cls(as_unit_vectors(vectors.wholes, dimension), vectors.windows)
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
        wholes = as_unit_vectors(np.add.reduceat(units, offsets[:-1], axis=0))
        return cls(wholes, SmallVectors.rounded(units[several], kept))

    @classmethod
    def join(cls, parts: Sequence[PassageVectors]) -> PassageVectors:
        """Return the passages of all parts, at least one, one after the other."""
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

    @classmethod
    def load(cls, files: SavedFiles, name: str, rows: int) -> PassageVectors:
        """Read what `save` wrote, memory-mapped.

        Raises:
            IndexFormatError: If there are not the unit vectors of `rows` passages.
        """
        wholes = files.array(name, np.float32, ndim=2)
        if len(wholes) != rows or not wholes.shape[1]:
            raise IndexFormatError(f"{name!r} holds {len(wholes)} vectors for {rows} passages. {RESTORE}")
        for start in range(0, rows, _CHECKED_AT_ONCE):
            some = wholes[start : start + _CHECKED_AT_ONCE]
            squares = np.einsum("ij,ij->i", some, some)
            if not ((np.abs(squares - 1) < 1e-3) | (squares == 0)).all():
                raise IndexFormatError(f"{name!r} holds vectors that are not of length 1. {RESTORE}")
        windows = _no_windows(rows, wholes.shape[1])
        if f"{name}_values.npy" in files:
            windows = SmallVectors.load(files, name, rows)
            if windows.values.shape[1] != wholes.shape[1]:
                raise IndexFormatError(f"{name!r} holds windows of another dimension. {RESTORE}")
        return cls(wholes, windows)

    def best_of(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosine similarity of a query's unit vector with the best window of some passages.

        Args:
            query: A unit vector, (dim,) float32.
            rows: The rows of r passages.

        Returns:
            (r,) float32; where a passage has no windows, of its whole.
        """
        if len(rows) <= _AT_ONCE:
            return self.take(rows).best_scores(query)
        starts = range(0, len(rows), _AT_ONCE)
        return np.concatenate([self.take(rows[start : start + _AT_ONCE]).best_scores(query) for start in starts])

    def best_scores(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the cosine similarity of a query's unit vector with the best window of each passage, (n,) float32."""
        best = self.windows.best_cosines(query[None])
        short = np.flatnonzero(np.diff(self.windows.offsets) == 0)
        best[short] = self.wholes[short] @ query
        return best


def _no_windows(passages: int, dimension: int) -> SmallVectors:
    """Return no windows of passages."""
    return SmallVectors.rounded(np.zeros((0, dimension), np.float32), np.zeros(passages + 1, np.int64))
