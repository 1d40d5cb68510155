"""Vectors in a flat FAISS index: exact cosine similarity, with removal and filters."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine import storage
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError


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
        array = np.array(vectors, dtype=np.float32)
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
    faiss.normalize_L2(array)
    return array


class VectorIndex:
    """Unit vectors, searched by cosine similarity.

    Args:
        dimension: The dimension of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._faiss = faiss.IndexFlatIP(dimension)
        self._alive = np.zeros(0, bool)

    def __len__(self) -> int:
        """Return the number of vectors, with the removed ones."""
        return len(self._alive)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """All vectors, (n, dim) float32: a view into FAISS, valid until the next `add`."""
        count = self._faiss.ntotal
        if not count:
            return np.zeros((0, self.dimension), np.float32)
        flat = faiss.rev_swig_ptr(self._faiss.get_xb(), count * self.dimension)
        return np.asarray(flat, np.float32).reshape(count, self.dimension)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Append unit vectors, (n, dim) float32."""
        self._faiss.add(vectors)
        self._alive = np.concatenate([self._alive, np.ones(len(vectors), bool)])

    def remove(self, row: int) -> None:
        """Take a vector out of search."""
        self._alive[row] = False

    def scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the cosine similarity of every query with every vector, removed ones too: (m, n) float32."""
        return queries @ self.vectors.T

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest vectors.

        Args:
            queries: (m, dim) float32 unit vectors.
            k: How many to find.
            allowed: (n,) bool, which vectors may be found; None for all that are not removed.

        Returns:
            Cosine similarities, falling, and row numbers, both (m, <= k).
        """
        allowed = self._alive if allowed is None else self._alive & allowed
        k = min(k, int(allowed.sum()))
        if k <= 0:
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
        if allowed.all():
            return self._faiss.search(queries, k)
        # the stubs know the C++ signatures only
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # type: ignore[call-arg, arg-type]
        return self._faiss.search(queries, k, params=faiss.SearchParameters(sel=selector))  # type: ignore[call-arg]

    def save(self, path: Path) -> None:
        """Write the vectors; only for an index without removed ones."""
        storage.write_array(path, self.vectors)

    @classmethod
    def load(cls, path: Path, rows: int) -> VectorIndex:
        """Read what `save` wrote and build the FAISS index anew: a stranger's FAISS file is not safe to read.

        Raises:
            IndexFormatError: If there are not `rows` vectors.
        """
        vectors = storage.read_array(path, np.float32, ndim=2)
        if len(vectors) != rows:
            raise IndexFormatError(f"{path.name!r} holds {len(vectors)} vectors for {rows} passages.")
        index = cls(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors))
        return index
