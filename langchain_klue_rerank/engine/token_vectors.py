"""A vector for every token of a passage, few and small: pooled, rounded to bytes, kept with the index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.small_vectors import SmallVectors

#: Most vectors that are clustered; the clustering's time and memory grow with their square.
_CLUSTERED = 1024


class TokenVectors(SmallVectors):
    """The token vectors of passages."""

    __slots__ = ()


def pool(vectors: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Merge a passage's tokens that are most alike (Ward's clustering, as Clavie et al. 2024) until few are left.

    Args:
        vectors: The passage's unit vectors, (tokens, dim). Of a very long passage neighbours are merged first.
        most: Most vectors to return, at least 1.

    Returns:
        (at most `most`, dim) unit vectors.
    """
    if len(vectors) <= most:
        return vectors
    longest = max(_CLUSTERED, most)
    if len(vectors) > longest:
        vectors = _means(vectors, np.arange(len(vectors)) * longest // len(vectors))
    from scipy.cluster.hierarchy import fcluster, linkage  # comes with sentence-transformers

    return _means(vectors, fcluster(linkage(vectors, "ward"), most, "maxclust"))


def _means(vectors: NDArray[np.float32], groups: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the mean of every group's vectors, scaled to length 1."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sums = np.add.reduceat(vectors[order], starts, axis=0)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)
