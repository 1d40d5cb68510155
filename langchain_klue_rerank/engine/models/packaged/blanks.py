"""Vectors for texts without a word that no text is near, whichever store compares them by whichever distance.

A zero vector is no answer: its Euclidean distance to every unit vector is 1, less than that of two texts whose cosine
is below 0.5, and the cosine with it is not defined. No vector of the same dimension is far from all others either. So
two dimensions are added. With a text's unit vector t, what a store sees is

- of a text, passage or query alike: (sqrt(3)/2 t, 1/2, 0). The cosine of two texts becomes 3/4 cos + 1/4, in -1/2..1:
  the order stays.
- of a passage without a word: (0, -1, 0), whose cosine with every text is -1/2, the least that two texts can have.
- of a query without a word: (0, s, sqrt(1 - s^2)) with s = 1/16, whose cosine is 1/32 with every text and -1/16 with a
  passage without a word: all texts are equally far, none is near, and no blank is nearer.

All are unit vectors, so cosine, inner product and Euclidean distance agree.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.contracts import Kind

#: How many dimensions are added.
ADDED: Final = 2
_SHARE: Final = 0.5
_SIGN: Final = 1 / 16


def mark_blanks(vectors: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
    """Add the dimensions that keep texts without a word far from all others.

    Args:
        vectors: (n, dim) unit vectors; zero vectors for texts without a word.
        kind: Whether they are queries or passages.

    Returns:
        (n, dim + `ADDED`) unit vectors.
    """
    marked = np.zeros((len(vectors), vectors.shape[1] + ADDED), np.float32)
    marked[:, :-ADDED] = vectors * np.float32(np.sqrt(1 - _SHARE**2))
    blank = ~vectors.any(axis=1)
    marked[~blank, -2] = _SHARE
    marked[blank, -2:] = (-1, 0) if kind == "passage" else (_SIGN, np.sqrt(1 - _SIGN**2))
    return marked


def without_marks(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what `mark_blanks` was given, but for the length of the vectors; zero vectors for texts without a word."""
    kept = np.array(vectors[:, :-ADDED])
    kept[vectors[:, -2] < _SHARE / 2] = 0
    return kept
