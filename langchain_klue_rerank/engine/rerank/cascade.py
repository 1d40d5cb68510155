"""Several rerankers in a row: an inexpensive one scores all candidates, an expensive one rescores the best few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.contracts import ScoreRequest, Scores, State
from langchain_klue_rerank.engine.rerank.blend import blend_scores

#: Share of a model's own score beside that of the models before it.
_OWN_SHARE = 0.5


class Score(Protocol):
    """What scores: the method of a `CrossEncoder`, or a function like it."""

    def __call__(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries."""
        ...


def score_best(
    score: Score,
    requests: Sequence[ScoreRequest],
    *,
    earlier: Sequence[Scores] | None = None,
    read_n: int | None = None,
    deadline: float | None = None,
) -> list[Scores]:
    """Let a model read the most promising candidates of each query.

    Where a reranker came before, a candidate's score is the mean of both, and half of the earlier one's where the
    model did not read it. As the model reads in the order of what is known already, what it reads never falls behind
    what it does not.

    Args:
        score: The model.
        requests: Queries and their candidates, in the order of the first stage.
        earlier: For each query the scores of the rerankers before; None if there were none.
        read_n: How many candidates of a query to read at most; None for all.
        deadline: As for `CrossEncoder.score`.

    Returns:
        For each query its candidates' scores; those that were left out for better ones are skipped.
    """
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
