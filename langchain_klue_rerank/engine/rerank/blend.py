"""The reranker's and the first stage's scores into one."""

from __future__ import annotations

from collections.abc import Sequence


def blend_scores(reranked: Sequence[float], first_stage: Sequence[float], weight: float) -> list[float]:
    """Take the weighted mean of a reranker's and the first stage's scores.

    In the space of probabilities a reranker that is sure decides, and one that finds nothing leaves the first stage's
    order as it was: that is what keeps a reranker from doing harm on texts unlike those that it was trained on.

    Args:
        reranked: The reranker's scores in 0..1.
        first_stage: The first stage's scores in 0..1, of the same passages.
        weight: Weight of the reranker's scores in the mean, 0..1.

    Returns:
        Scores in 0..1, in the same order.
    """
    return [weight * one + (1 - weight) * other for one, other in zip(reranked, first_stage, strict=True)]
