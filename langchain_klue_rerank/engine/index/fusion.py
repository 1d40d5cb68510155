"""Fusion: several scores or rankings into one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key", bound=Hashable)

#: Lexical score (a share of the query's idf mass) at which the soft threshold has weight 0.5. The best passage for a
#: paraphrased question has about 0.07, for a question that shares its words 0.3 and more.
ACCIDENT: Final = 0.18
#: Share of a reranker's candidates reserved for the best by lexical score.
LEXICAL_SHARE: Final = 1 / 3
#: Standard deviations that a passage has to be ahead of the others for a second bi-encoder's full score, and the least
#: that a deviation is taken for.
_FULL_LEAD: Final = 9.0
_LEAST_SPREAD: Final = 0.01


def fuse_scores(
    lexical: NDArray[np.float32],
    dense: NDArray[np.float32],
    dense_weight: float,
    exact: float = 0.0,
    second: NDArray[np.float32] | None = None,
    second_weight: float = 0.0,
) -> NDArray[np.float32]:
    """Add lexical and dense scores that are comparable across queries.

    A lexical score far below `ACCIDENT` counts next to nothing, one far above it fully: any passage shares words such
    as "how" and "can" with a query, and where nothing else matches the meaning should decide.

    Args:
        lexical: Lexical scores in 0..1, any shape.
        dense: Cosine similarities of the same shape.
        dense_weight: Weight of the dense scores, the lexical ones having 1.
        exact: Share of the query that must match exactly, 0..1 (`text.words.exact_share`). Dense scores
            weigh so much less, and so much smaller lexical scores count fully.
        second: Scores of a second bi-encoder in 0..1 (`lead`), of the same shape; None for none.
        second_weight: Their weight.

    Returns:
        The weighted mean, in 0..1, rising with both: a negative similarity counts as none.
    """
    weight, fourth = np.float32(dense_weight * (1 - exact)), np.square(np.square(lexical))
    accident = ACCIDENT * max(1 - exact, 0.02)
    evidence = lexical * fourth / (fourth + np.float32(accident**4))
    total = evidence + weight * np.maximum(dense, 0)
    if second is None:
        return np.asarray(total / (1 + weight), np.float32)
    other = np.float32(second_weight * (1 - exact))
    return np.asarray((total + other * second) / (1 + weight + other), np.float32)


def lead(cosines: NDArray[np.float32], mean: float, spread: float) -> NDArray[np.float32]:
    """Turn cosines into scores that mean the same for every bi-encoder.

    One model's cosines of texts that have nothing in common are 0.8, another's 0.2, and they differ by 0.03 or by 0.1.
    What counts is how far a passage is ahead of the others.

    Args:
        cosines: Cosines of a query with some passages.
        mean: Mean of its cosines with all passages.
        spread: Their standard deviation.

    Returns:
        Scores in 0..1: 0 for what is no nearer than the mean, 1 for what is `_FULL_LEAD` deviations nearer.
    """
    ahead = (cosines - mean) / (_FULL_LEAD * max(spread, _LEAST_SPREAD))
    return np.asarray(np.clip(ahead, 0, 1), np.float32)


def first_stage(
    lexical: NDArray[np.float32] | None,
    cosines: NDArray[np.float32],
    dense_weight: float,
    exact: float = 0.0,
    second: NDArray[np.float32] | None = None,
    second_weight: float = 0.0,
) -> NDArray[np.float32]:
    """Turn cosines, and lexical scores beside them, into scores in 0..1.

    Args:
        lexical: Lexical scores in 0..1, or None for dense search alone.
        cosines: Cosine similarities of the same shape.
        dense_weight: See `fuse_scores`.
        exact: See `fuse_scores`.
        second: See `fuse_scores`; not for dense search alone.
        second_weight: See `fuse_scores`.

    Returns:
        The fused scores, or (1 + cosine) / 2.
    """
    if lexical is None:
        return np.clip((1 + cosines) / 2, 0, 1)
    return fuse_scores(lexical, cosines, dense_weight, exact, second, second_weight)


def agreeing_places(rankings: Sequence[Sequence[int]], cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn places in rankings whose scores cannot be compared into scores beside cosines.

    A ranking counts as far as it agrees with the cosines, by its correlation with them: one that knows the meaning of
    the passages does to some degree, one by chance or by spelling does not and would only disturb.

    Args:
        rankings: Rankings of passages, each as numbers from best to worst.
        cosines: (n,): of a query with all passages, by the packaged bi-encoder.

    Returns:
        (n,) float32 in 0..1, the mean over the rankings: 1 for the first place of one that agrees, 0 behind the last.
    """
    total = np.zeros(len(cosines), np.float32)
    centred = cosines - cosines.mean() if len(cosines) else cosines
    for ranking in rankings:
        places = np.zeros(len(cosines), np.float32)
        places[list(ranking)] = 1 - np.arange(len(ranking)) / max(1, len(ranking))
        spread = float(places.std() * cosines.std()) if len(cosines) else 0.0
        agreement = float(places @ centred) / (len(cosines) * spread) if spread > 0 else 0.0
        total += places * np.float32(max(0.0, agreement) / len(rankings))
    return total


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Key]], constant: float = 60) -> dict[Key, float]:
    """Fuse rankings that have no comparable scores (Cormack, Clarke and Buettcher 2009).

    Args:
        rankings: Several rankings, each from best to worst.
        constant: Added to every rank. Default 60, the paper's.

    Returns:
        Item -> score in 0..1, in falling order; ties keep the order in which the items came. An item that is first
        in every ranking has 1.
    """
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(dict.fromkeys(ranking)):
            scores[item] = scores.get(item, 0.0) + (constant + 1) / (constant + 1 + rank) / len(rankings)
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))


def maximal_marginal_relevance(
    relevance: NDArray[np.float32], vectors: NDArray[np.float32], weight: float, k: int
) -> list[int]:
    """Choose by maximal marginal relevance (Carbonell and Goldstein 1998).

    Args:
        relevance: (n,): the cosine of each with the query.
        vectors: (n, dim): unit vectors, whose cosines tell how similar two are.
        weight: Weight of relevance against diversity, 0..1: the lambda of MMR.
        k: How many to choose.

    Returns:
        At most k rows, in the order in which they were chosen: the most relevant first.

    Raises:
        ValueError: If the weight is not in 0..1.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"The weight of relevance (lambda_mult) is {weight!r}; expected a number in 0..1.")
    chosen: list[int] = []
    gain = np.array(relevance, np.float64)
    similarity = np.full(len(gain), -1.0)
    while len(chosen) < min(k, len(gain)):
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        np.maximum(similarity, vectors @ vectors[chosen[-1]], out=similarity)
        gain = weight * relevance - (1 - weight) * similarity
    return chosen


def top(
    scores: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None, above: float = 0
) -> NDArray[np.int64]:
    """Find the highest scores.

    Args:
        scores: (n,) scores.
        k: How many to find.
        allowed: (n,) bool, which may be found; None for all.
        above: Only scores above this are found. Default 0.

    Returns:
        Their numbers, at most k, the highest first; of equal scores the earlier comes first.
    """
    if k <= 0:
        return np.zeros(0, np.int64)
    candidates = np.flatnonzero(scores > above if allowed is None else (scores > above) & allowed)
    if len(candidates) > k:
        # a full sort of 100,000 passages costs more than the rest of a query
        threshold = np.partition(scores[candidates], len(candidates) - k)[len(candidates) - k]
        candidates = candidates[scores[candidates] >= threshold]
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]


def union(some: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct numbers of both, rising; for a thousand ten times as fast as ``np.union1d`` of NumPy 2.3."""
    both = np.sort(np.concatenate([some, others]))
    first = np.ones(len(both), bool)
    first[1:] = both[1:] != both[:-1]
    return both[first]


def with_leading(
    best: NDArray[np.int64], leading: NDArray[np.integer], scores: NDArray[np.float32], k: int
) -> NDArray[np.int64]:
    """Insert the leaders by another score among the best.

    Args:
        best: Numbers of the best by `scores`, at most k, the highest first.
        leading: Numbers that are to be among them, at most k.
        scores: By number.
        k: How many there may be.

    Returns:
        At most k numbers, the highest by `scores` first; the lowest of the others make room.
    """
    missing = leading[~np.isin(leading, best)]
    if not len(missing):
        return best
    others = best[~np.isin(best, leading)][: k - len(leading)]
    kept = np.concatenate([others, leading])
    return np.asarray(kept[np.argsort(-scores[kept], kind="stable")], np.int64)
