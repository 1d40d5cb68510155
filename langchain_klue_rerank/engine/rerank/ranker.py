"""A reranker: one model or a cascade of several, which candidates each of them reads, and how scores are combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine.contracts import CrossEncoder, ScoreRequest, Scores, State
from langchain_klue_rerank.engine.rerank.early_stop import score_until_sure
from langchain_klue_rerank.engine.threads import Lazy

#: Share of a model's own score beside that of the models before it.
_OWN_SHARE = 0.5


class Score(Protocol):
    """What scores: the method of a `CrossEncoder`, or a function like it."""

    def __call__(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """A model and the candidates that it reads.

    Attributes:
        encoder: The model, loaded on first use.
        read_n: How many candidates of a query it reads at most, the most promising; None for all.
        early_stop: Score from which the remaining candidates are skipped; None to score all.
    """

    encoder: Lazy[CrossEncoder]
    read_n: int | None = None
    early_stop: float | None = None

    def scorer(self) -> Score:
        """Return what scores; loads the model if need be."""
        encoder = self.encoder()
        if self.early_stop is None:
            return encoder.score
        return partial(score_until_sure, encoder, sure=self.early_stop)


@dataclass(frozen=True, slots=True)
class Ranker:
    """Stages in sequence; each scores candidates in the order of the earlier stages' scores."""

    stages: tuple[Stage, ...]

    @property
    def is_loaded(self) -> bool:
        """Whether all models are in memory."""
        return all(stage.encoder.made for stage in self.stages)

    def load(self) -> None:
        """Load the models that are not loaded yet."""
        for stage in self.stages:
            stage.encoder()

    def score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries; see `CrossEncoder.score`."""
        scores: list[Scores] | None = None
        for stage in self.stages:
            scores = _score_best(stage.scorer(), requests, earlier=scores, read_n=stage.read_n, deadline=deadline)
        return scores or []


def _score_best(
    score: Score,
    requests: Sequence[ScoreRequest],
    *,
    earlier: Sequence[Scores] | None = None,
    read_n: int | None = None,
    deadline: float | None = None,
) -> list[Scores]:
    """Let a model read the most promising candidates of each query.

    Where a reranker came before, a candidate's score is the mean of both, and half of the earlier one's where the
    model did not read it. As the model scores in the order of the earlier scores, no scored candidate falls behind one
    that was not scored.

    Args:
        score: The model.
        requests: Queries and their candidates, in the order of the first stage.
        earlier: For each query the scores of the rerankers before; None if there were none.
        read_n: How many candidates of a query to read at most; None for all.
        deadline: As for `CrossEncoder.score`.

    Returns:
        For each query its candidates' scores; those that were left out for better ones are skipped.
    """
    if earlier is None and read_n is None:  # all candidates, in their order
        return score(requests, deadline)
    orders = [
        _order(request, None if earlier is None else earlier[number])[:read_n]
        for number, request in enumerate(requests)
    ]
    read = score([request.take(order) for request, order in zip(requests, orders, strict=True)], deadline)
    result = []
    for number, (request, order, found) in enumerate(zip(requests, orders, read, strict=True)):
        scores = Scores.unread(len(request.passages), State.SKIPPED)
        scores.values[order], scores.states[order] = found.values, found.states
        result.append(scores if earlier is None else _mean(earlier[number], scores))
    return result


def _order(request: ScoreRequest, earlier: Scores | None) -> NDArray[np.int64]:
    """Return the candidates in the order in which they are to be read."""
    if earlier is None:
        return np.arange(len(request.passages))
    worth = (1 - _OWN_SHARE) * earlier.values.astype(np.float64)
    if request.first_stage is not None:
        worth = blend_scores(worth, request.first_stage, request.weight)
    return np.argsort(-worth, kind="stable")


def _mean(earlier: Scores, own: Scores) -> Scores:
    """Put the scores of the rerankers before and those of this one together."""
    values = (1 - _OWN_SHARE) * earlier.values + _OWN_SHARE * own.values
    states = np.where(~own.is_read & earlier.is_late, np.int8(State.LATE), own.states)
    return Scores(np.asarray(values, np.float32), states)


def blend_scores(reranked: ArrayLike, first_stage: ArrayLike, weight: float) -> NDArray[np.float64]:
    """Take the weighted mean of a reranker's and the first stage's scores.

    On probabilities, a confident reranker decides, and one that finds nothing leaves the first stage's order unchanged.
    This keeps a reranker from doing harm on texts unlike its training data.

    Args:
        reranked: (n,) the reranker's scores in 0..1.
        first_stage: (n,) the first stage's scores in 0..1, of the same passages.
        weight: Weight of the reranker's scores in the mean, 0..1.

    Returns:
        (n,) float64 scores in 0..1, in the same order.
    """
    return weight * np.asarray(reranked, np.float64) + (1 - weight) * np.asarray(first_stage, np.float64)
