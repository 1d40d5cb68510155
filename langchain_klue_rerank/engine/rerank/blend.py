"""The reranker's and the first stage's scores into one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def blend_scores(reranked: ArrayLike, first_stage: ArrayLike, weight: float) -> NDArray[np.float64]:
    """Take the weighted mean of a reranker's and the first stage's scores.

    In the space of probabilities a reranker that is sure decides, and one that finds nothing leaves the first stage's
    order as it was: that is what keeps a reranker from doing harm on texts unlike those that it was trained on.

    Args:
        reranked: (n,) the reranker's scores in 0..1.
        first_stage: (n,) the first stage's scores in 0..1, of the same passages.
        weight: Weight of the reranker's scores in the mean, 0..1.

    Returns:
        (n,) float64 scores in 0..1, in the same order.
    """
    return weight * np.asarray(reranked, np.float64) + (1 - weight) * np.asarray(first_stage, np.float64)
