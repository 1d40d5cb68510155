"""Unit vectors: checked and scaled; rounded to bytes, several for each passage, or to four bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine.arrays.files import SavedFiles, check_offsets, write_array
from langchain_klue_rerank.engine.arrays.ragged import gather
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError


@dataclass(frozen=True, slots=True)
class SmallVectors:
    """Any number of vectors for each passage: a vector is ``values[i] * scales[i]``, of length 1 but for the rounding.

    Attributes:
        values: (vectors, dim) int8, those of all passages one after the other.
        scales: (vectors,) float16.
        offsets: int64, one more than there are passages: passage ``i`` has the vectors from ``offsets[i]`` to before
            ``offsets[i + 1]``.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float16]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, passages: Sequence[NDArray[np.float32]]) -> Self:
        """Round the vectors of passages.

        Args:
            passages: At least one; for each its unit vectors, (vectors, dim).
        """
        return cls.rounded(np.concatenate(passages), np.cumsum([0, *map(len, passages)], dtype=np.int64))

    @classmethod
    def rounded(cls, vectors: NDArray[np.float32], offsets: NDArray[np.int64]) -> Self:
        """Round the vectors of passages that lie one after the other.

        Args:
            vectors: All unit vectors, (vectors, dim).
            offsets: As the attribute.
        """
        scales = (np.abs(vectors).max(axis=1, initial=0) / 127).astype(np.float16)
        divisors = np.where(scales > 0, scales, 1).astype(np.float32)
        values = np.clip(np.rint(vectors / divisors[:, None]), -127, 127).astype(np.int8)
        return cls(values, scales, offsets)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the passages of all parts, at least one, one after the other."""
        counts = np.concatenate([[0], *(np.diff(part.offsets) for part in parts)])
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.scales for part in parts]),
            np.cumsum(counts, dtype=np.int64),
        )

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Bytes that they take, in memory and on disk."""
        return self.values.nbytes + self.scales.nbytes + self.offsets.nbytes

    def take(self, rows: NDArray[np.integer]) -> Self:
        """Return the vectors of some passages, in that order."""
        index, offsets = gather(self.offsets[rows], self.offsets[np.asarray(rows) + 1])
        return type(self)(self.values.take(index, axis=0), self.scales.take(index), offsets)

    def best_cosines(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return for each passage the mean, over a query's vectors, of the best cosine with any of its own.

        Args:
            query: The query's unit vectors, (vectors, dim): one, or one of every token.

        Returns:
            (n,) float32 in -1..1; -1 for a passage without vectors.
        """
        result = np.full(len(self), -1, np.float32)
        filled = np.flatnonzero(np.diff(self.offsets))
        if len(filled) and len(query):
            cosines = self.values.astype(np.float32) @ query.T
            cosines *= self.scales.astype(np.float32)[:, None]
            best = np.maximum.reduceat(cosines, self.offsets[filled], axis=0)
            result[filled] = np.clip(best.mean(axis=1), -1, 1)
        return result

    def save(self, path: Path) -> None:
        """Write three arrays whose names begin with that of `path`."""
        for name in ("values", "scales", "offsets"):
            write_array(path.with_name(f"{path.name}_{name}"), getattr(self, name))

    @classmethod
    def load(cls, files: SavedFiles, name: str, passages: int) -> Self:
        """Read what `save` wrote, memory-mapped.

        Raises:
            IndexFormatError: If it does not hold the vectors of so many passages.
        """
        values = files.array(f"{name}_values", np.int8, ndim=2)
        scales = files.array(f"{name}_scales", np.float16)
        offsets = files.array(f"{name}_offsets", np.int64)
        check_offsets(name, offsets, len(values))
        if len(offsets) != passages + 1 or len(scales) != len(values):
            raise IndexFormatError(f"The vectors {name!r} are not those of {passages} passages. Build the index again.")
        if not np.isfinite(scales).all():
            raise IndexFormatError(f"The vectors {name!r} are not finite. Build the index again.")
        return cls(values, scales, offsets)


class TokenVectors(SmallVectors):
    """The token vectors of passages."""

    __slots__ = ()


def to_four_bits(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantize rows to four bits.

    Args:
        vectors: float32, (rows, dimension), an even dimension.

    Returns:
        uint8, (rows, dimension / 2), the first half of a row in the low four bits and the second half in the high ones,
        each a number -7..7 plus 8; and float32, (rows,), the scale of each row. Of several scales the one with the
        smallest squared error is taken: cutting off the few largest numbers lets all others be finer.
    """
    largest = np.maximum(np.abs(vectors).max(axis=1), 1e-12)
    best = np.full(len(vectors), np.inf, np.float32)
    scales = np.zeros(len(vectors), np.float32)
    for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        trial = (largest * (share / 7.0)).astype(np.float32)
        numbers = np.clip(np.rint(vectors / trial[:, None]), -7, 7)
        error = ((numbers * trial[:, None] - vectors) ** 2).sum(axis=1)
        better = error < best
        best[better], scales[better] = error[better], trial[better]
    codes = (np.clip(np.rint(vectors / scales[:, None]), -7, 7) + 8).astype(np.uint8)
    half = vectors.shape[1] // 2
    return codes[:, :half] | (codes[:, half:] << 4), scales


def from_four_bits(packed: NDArray[np.uint8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo `to_four_bits`: float32, (rows, dimension)."""
    half = packed.shape[1]
    vectors = np.empty((len(packed), 2 * half), np.float32)
    vectors[:, :half] = packed & 15
    vectors[:, half:] = packed >> 4
    vectors -= 8.0
    vectors *= scales[:, None]
    return vectors


def as_unit_vectors(vectors: ArrayLike, dimension: int | None = None) -> NDArray[np.float32]:
    """Check vectors that a model returned and scale them to length 1.

    Args:
        vectors: (n, dim) numbers.
        dimension: The dimension that they must have; None for any.

    Returns:
        (n, dim) float32, contiguous; a zero vector stays zero.

    Raises:
        ModelOutputError: If they are not a table of finite numbers of that dimension.
    """
    try:
        given = np.asarray(vectors)
        array: NDArray[np.floating] = np.array(
            given, dtype=np.float32 if given.dtype in (np.float16, np.float32) else np.float64
        )
    except (TypeError, ValueError) as error:
        raise ModelOutputError(
            f"The embedding model returned something that is no table of numbers ({error})."
        ) from error
    if not len(np.atleast_1d(array)):  # no texts
        return np.zeros((0, dimension or array.shape[-1]), np.float32)
    array = np.atleast_2d(array)
    if array.ndim != 2 or not array.shape[1]:
        raise ModelOutputError(
            f"The embedding model returned an array of shape {array.shape}; expected (texts, dimension)."
        )
    if dimension is not None and array.shape[1] != dimension:
        raise ModelOutputError(
            f"The embedding model returned vectors of dimension {array.shape[1]}, the index holds dimension "
            f"{dimension}. Use the model that the index was built with, or build the index again."
        )
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ModelOutputError(
            f"The embedding model returned NaN or infinity for text number {int(bad.argmax())}. Check the model, its "
            "precision (fp16 overflows) and that text."
        )
    # first by the largest number: the squares of very large or small ones leave the range of floating point
    largest = np.abs(array).max(axis=1, keepdims=True)
    array /= np.where(largest > 0, largest, 1)
    norms = np.sqrt(np.einsum("ij,ij->i", array, array))
    array /= np.where(norms > 0, norms, 1)[:, None]
    return array.astype(np.float32, copy=False)
