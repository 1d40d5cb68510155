"""A coarse first pass over the vectors of a large segment: one bit a dimension, compared by counting bits.

A vector is centred on the segment's mean and rotated, so that all its numbers weigh the same; their signs are kept. Two
vectors whose angle is small differ in few signs. The nearest in bits are then compared by their numbers, rounded to
bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.files import SavedFiles, write_array
from langchain_klue_rerank.engine.arrays.mapped import RESTORE
from langchain_klue_rerank.errors import IndexFormatError

#: Rows compared at a time: what is computed of them fits into a processor's cache.
_AT_ONCE: Final = 1 << 15
#: Rows whose cosines are computed at a time.
_COMPARED_AT_ONCE: Final = 256
#: Distances that are looked at to guess where to begin to search for one.
_SAMPLED: Final = 4096
#: The farthest distance that is kept, and that of rows that may not be found.
_FARTHEST: Final = 65535
#: Signs that a vector has at least; of a dimension with fewer numbers, sums of them have signs, too.
_FEWEST: Final = 256
#: Words of signs that are compared of all rows, and rows of which the others are compared, for each that is asked for.
_FIRST, _KEPT_FOR_EACH = 4, 4
_PARTS: Final[dict[str, Any]] = {
    "center": (np.float32,),
    "bits": (np.uint64, 2),
    "values": (np.int8, 2),
    "scales": (np.float32,),
}


@dataclass(frozen=True, slots=True, eq=False)
class CoarseVectors:
    """The signs of n rotated vectors and the vectors rounded to bytes.

    Attributes:
        center: (dim,) float32, subtracted before the rotation.
        bits: (words, n) uint64: the signs, 64 of all rows after the other.
        values: (n, dim) int8.
        scales: (n,) float32: vector ``i`` is ``values[i] * scales[i]``, but for the rounding.
    """

    center: NDArray[np.float32]
    bits: NDArray[np.uint64]
    values: NDArray[np.int8]
    scales: NDArray[np.float32]

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> CoarseVectors:
        """Make them of unit vectors, (n, dim)."""
        count, dimension = vectors.shape
        center = np.zeros(dimension, np.float64)
        for start in range(0, count, _AT_ONCE):
            center += vectors[start : start + _AT_ONCE].sum(axis=0, dtype=np.float64)
        mean = (center / max(1, count)).astype(np.float32)
        bits = np.empty((_words(dimension), count), np.uint64)
        values = np.empty((count, dimension), np.int8)
        scales = np.empty(count, np.float32)
        for start in range(0, count, _AT_ONCE):
            some = vectors[start : start + _AT_ONCE]
            bits[:, start : start + len(some)] = _signs(some - mean).T
            largest = np.abs(some).max(axis=1)
            scales[start : start + len(some)] = largest / 127
            divisors = np.where(largest > 0, largest / 127, 1)
            values[start : start + len(some)] = np.rint(some / divisors[:, None])
        return cls(mean, bits, values, scales)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.scales)

    @property
    def nbytes(self) -> int:
        """Bytes that they take in memory."""
        return self.bits.nbytes + self.values.nbytes + self.scales.nbytes

    def save(self, path: Path) -> None:
        """Write arrays whose names begin with that of `path`."""
        for name in _PARTS:
            write_array(path.with_name(f"{path.name}_coarse_{name}"), getattr(self, name))

    @classmethod
    def load(cls, files: SavedFiles, name: str, rows: int, dimension: int) -> CoarseVectors | None:
        """Read what `save` wrote, memory-mapped; None for an index saved by a version that wrote none.

        Raises:
            IndexFormatError: If it is not that of so many vectors.
        """
        if f"{name}_coarse_bits.npy" not in files:
            return None
        found = {part: files.array(f"{name}_coarse_{part}", *kind) for part, kind in _PARTS.items()}
        shapes = {"center": (dimension,), "bits": (_words(dimension), rows), "values": (rows, dimension)}
        if any(found[part].shape != shape for part, shape in {**shapes, "scales": (rows,)}.items()):
            raise IndexFormatError(f"The coarse vectors of {name!r} are not those of {rows} passages. {RESTORE}")
        if not (np.isfinite(found["scales"]).all() and np.isfinite(found["center"]).all()):
            raise IndexFormatError(f"The coarse vectors of {name!r} are not finite. {RESTORE}")
        for part in _PARTS:  # every query reads all bits, and rows all over the bytes
            files.keep(f"{name}_coarse_{part}.npy")
        return cls(**found)

    def nearest(self, query: NDArray[np.float32], count: int, mask: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Return the rows that differ from a query in the fewest signs.

        Args:
            query: A unit vector, (dim,) float32.
            count: How many rows at least, if there are as many; all that are as near as the last of them come, too.
            mask: Which rows may be found; None for all.

        Returns:
            Rows, rising.
        """
        signs = _signs((query - self.center)[None])[0]
        words = self.bits[:_FIRST]
        distances = np.empty(len(self), np.uint16)
        differing, counts = np.empty(_AT_ONCE, np.uint64), np.empty(_AT_ONCE, np.uint8)
        for start in range(0, len(self), _AT_ONCE):
            own = distances[start : start + _AT_ONCE]
            own[:] = 0
            for word, sign in zip(words[:, start : start + _AT_ONCE], signs, strict=False):
                np.bitwise_xor(word, sign, out=differing[: len(own)])
                _count_bits(differing[: len(own)], counts[: len(own)])
                own += counts[: len(own)]
        if mask is not None:
            distances[~mask] = _FARTHEST
        if len(signs) <= _FIRST:
            return _within(distances, count, 64 * _FIRST)
        rows = _within(distances, _KEPT_FOR_EACH * count, 64 * _FIRST)
        distances = distances[rows]
        for word, sign in zip(self.bits[_FIRST:], signs[_FIRST:], strict=True):
            distances += _count_bits(word.take(rows) ^ sign)
        return rows[_within(distances, count, 64 * len(signs))]

    def cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosines of a query's unit vector with some rows, which err by less than 0.01, (r,) float32."""
        found = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _COMPARED_AT_ONCE):
            some = self.values.take(rows[start : start + _COMPARED_AT_ONCE], axis=0).astype(np.float32)
            # not a matrix product: threads of the linear algebra library wait for one another on a busy machine
            np.einsum("ij,j->i", some, query, out=found[start : start + len(some)])
        return found * self.scales[rows]


def _within(distances: NDArray[np.uint16], count: int, farthest: int) -> NDArray[np.int64]:
    """Return the rows within the smallest distance within which there are enough, rising."""
    low, high = 0, farthest
    if len(distances) > 64 * _SAMPLED:  # a sample says where to begin; if it is wrong, the whole range is searched
        sample = np.sort(distances[:: len(distances) // _SAMPLED])
        place = count * len(sample) // len(distances)
        spread = 8 + 4 * int(place**0.5)
        near = int(sample[max(0, place - spread)]), int(sample[min(len(sample) - 1, place + spread)])
        if np.count_nonzero(distances <= near[1]) >= count and np.count_nonzero(distances < near[0]) < count:
            low, high = near
    while low < high:
        middle = (low + high) // 2
        if np.count_nonzero(distances <= middle) >= count:
            high = middle
        else:
            low = middle + 1
    return np.flatnonzero(distances <= low)


def _words(dimension: int) -> int:
    return int(_rotation(dimension).shape[1]) // 64


@lru_cache(maxsize=4)
def _rotation(dimension: int) -> NDArray[np.float32]:
    """Return a rotation of vectors, (dim, signs): random signs, then a Hadamard matrix; the same everywhere."""
    size = _FEWEST
    while size < dimension:
        size *= 2
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    flips = np.random.RandomState(0).randint(0, 2, size) * 2 - 1
    return np.ascontiguousarray((matrix * flips[:, None])[:dimension], np.float32)


def _signs(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return the signs of rotated vectors, (n, words) uint64."""
    rotated = vectors @ _rotation(vectors.shape[1])
    return np.packbits(rotated > 0, axis=1).view(np.uint64)


def count_bits_by_table(words: NDArray[np.uint64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Count the bits that are set in each number, without NumPy 2."""
    counts = _bits_of()[words.view(np.uint16)].reshape(len(words), 4)
    return np.asarray(counts.sum(axis=1, dtype=np.uint8, out=out))


@lru_cache(maxsize=1)
def _bits_of() -> NDArray[np.uint8]:
    return np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


_count_bits: Callable[..., NDArray[np.uint8]] = getattr(np, "bitwise_count", count_bits_by_table)
