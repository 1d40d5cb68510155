"""Checks of what models return: unit vectors and finite scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.errors import ModelOutputError


def check_scores(scores: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return scores as float32.

    Raises:
        ModelOutputError: If one is NaN or infinite.
    """
    array = np.asarray(scores, np.float32)
    if not np.isfinite(array).all():
        raise ModelOutputError(
            f"The model {name!r} returned NaN or infinity for pair number {int((~np.isfinite(array)).argmax())}. "
            "Check the weights and the precision (fp16 overflows)."
        )
    return array


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
