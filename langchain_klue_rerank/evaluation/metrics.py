"""How good a ranking is: hit rate, reciprocal rank, nDCG, their intervals, paired tests, and calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Resampled values held at a time by `interval`; bounds its memory to some 20 MB.
_VALUES_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Judged:
    """What came back for the questions of a set.

    Attributes:
        relevant: (questions, depth) bool: whether the passage at that rank is relevant.
        total: (questions,) int: how many relevant passages there are.
    """

    relevant: NDArray[np.bool_]
    total: NDArray[np.int64]

    @classmethod
    def from_rankings(
        cls, rankings: Sequence[Sequence[str]], relevant: Sequence[frozenset[str]], depth: int = 10
    ) -> Judged:
        """Judge rankings of identifiers.

        Args:
            rankings: For each question the identifiers found, best first.
            relevant: For each question the identifiers that answer it.
            depth: How many ranks to look at. Default 10.
        """
        table = np.zeros((len(rankings), depth), bool)
        for row, (ranking, wanted) in enumerate(zip(rankings, relevant, strict=True)):
            for rank, identifier in enumerate(ranking[:depth]):
                table[row, rank] = identifier in wanted
        return cls(table, np.asarray([len(wanted) for wanted in relevant], np.int64))


def hit_rate(judged: Judged, k: int) -> NDArray[np.float64]:
    """Return for each question 1 if a relevant passage is among the first k, else 0."""
    return np.asarray(judged.relevant[:, :k].any(axis=1), np.float64)


def reciprocal_rank(judged: Judged) -> NDArray[np.float64]:
    """Return for each question 1 / rank of its first relevant passage, 0 if none is within the depth."""
    first = judged.relevant.argmax(axis=1)
    ranks: NDArray[np.float64] = np.where(judged.relevant.any(axis=1), 1 / (first + 1), 0.0)
    return ranks


def ndcg(judged: Judged) -> NDArray[np.float64]:
    """Return for each question the normalised discounted cumulative gain (Jarvelin and Kekalainen 2002)."""
    depth = judged.relevant.shape[1]
    discount = 1 / np.log2(np.arange(depth) + 2)
    ideal = np.concatenate([[1.0], np.cumsum(discount)])
    return np.asarray((judged.relevant * discount).sum(axis=1) / ideal[np.clip(judged.total, 1, depth)], np.float64)


#: The columns of every table of results.
METRICS: dict[str, Callable[[Judged], NDArray[np.float64]]] = {
    "HitRate@1": lambda judged: hit_rate(judged, 1),
    "HitRate@3": lambda judged: hit_rate(judged, 3),
    "HitRate@5": lambda judged: hit_rate(judged, 5),
    "HitRate@10": lambda judged: hit_rate(judged, 10),
    "MRR@10": reciprocal_rank,
    "nDCG@10": ndcg,
}


def interval(values: NDArray[np.float64], *, samples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return the 95% bootstrap interval (percentiles) of a mean over questions.

    Args:
        values: One value per question.
        samples: How many resamples. Default 2,000.
        seed: Of the random numbers. Default 0.
    """
    generator = np.random.default_rng(seed)
    step = max(1, _VALUES_AT_ONCE // len(values))
    means = [
        values[generator.integers(0, len(values), (min(step, samples - done), len(values)))].mean(axis=1)
        for done in range(0, samples, step)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def paired_p_value(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, samples: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value that two systems are equally good (paired randomization test, Smucker et al. 2007).

    Where all differences have the same size, as with hit rates, it is computed exactly (then it is the sign test, also
    known as McNemar's exact test); else from random sign changes.

    Args:
        ours: One value per question.
        theirs: The other system's values for the same questions.
        samples: How many random sign changes. Default 10,000.
        seed: Of the random numbers. Default 0.
    """
    differences = (ours - theirs)[ours != theirs]
    if not len(differences):
        return 1.0
    if np.ptp(np.abs(differences)) == 0:
        n, fewer = len(differences), int(min((differences > 0).sum(), (differences < 0).sum()))
        return min(1.0, float(2 * sum(math.comb(n, wins) for wins in range(fewer + 1)) / 2**n))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (samples, len(differences)))
    beyond = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12
    return float((beyond.sum() + 1) / (samples + 1))


@dataclass(frozen=True, slots=True)
class Bin:
    """Scores of about the same height.

    Attributes:
        count: How many there are.
        score: Their mean.
        right: The share of them that are right.
    """

    count: int
    score: float
    right: float


def reliability(scores: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> list[Bin]:
    """Sort scores into bins of equal width, the first from 0, the last up to and with 1.

    Args:
        scores: (n,), each in 0..1.
        right: (n,): whether what was scored is right.
        bins: How many bins. Default 10.

    Returns:
        The bins in order; an empty one has a mean and a share of 0.
    """
    place = np.minimum((np.asarray(scores) * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=scores, minlength=bins)
    hits = np.bincount(place, weights=np.asarray(right, np.float64), minlength=bins)
    return [
        Bin(count, score / max(count, 1), hit / max(count, 1))
        for count, score, hit in zip(counts.tolist(), sums.tolist(), hits.tolist(), strict=True)
    ]


def calibration_error(scores: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Return the expected calibration error (Naeini et al. 2015): how far scores are from shares, over `reliability`.

    0 for scores that can be taken for probabilities; 0 for no scores, too. Arguments as for `reliability`.
    """
    table = reliability(scores, right, bins)
    return sum(one.count * abs(one.score - one.right) for one in table) / max(len(scores), 1)
