"""Early stop: score candidates in rounds until one exceeds a threshold, and calibrate that threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.contracts import CrossEncoder, ScoreRequest, Scores, State

#: Candidates of the first round; every further round doubles what has been read.
FIRST_ROUND = 5


def score_until_sure(
    encoder: CrossEncoder, requests: Sequence[ScoreRequest], deadline: float | None = None, *, sure: float
) -> list[Scores]:
    """Score candidates in their order, in rounds, for each query until one reaches `sure`.

    Args:
        encoder: What scores.
        requests: Queries and their candidates, the first stage's best first.
        deadline: As for `CrossEncoder.score`.
        sure: Score, 0..1, from which the remaining candidates of a query are skipped.
    """
    result = [Scores.unread(len(request.passages), State.SKIPPED) for request in requests]
    start, end = 0, FIRST_ROUND
    going = [number for number, request in enumerate(requests) if request.passages]
    while going:
        parts = [np.arange(start, min(end, len(requests[number].passages))) for number in going]
        found = encoder.score(
            [requests[number].take(part) for number, part in zip(going, parts, strict=True)], deadline
        )
        for number, part, scores in zip(going, parts, found, strict=True):
            result[number].values[part] = scores.values
            result[number].states[part] = scores.states
        going = [
            number
            for number in going
            if len(requests[number].passages) > end and not (result[number].values >= sure).any()
        ]
        start, end = end, 2 * end
    return result


def calibrate(scores: Sequence[NDArray[np.float32]], error: float) -> float:
    """Find the lowest score to stop at such that the best passage is seldom among those not read.

    Args:
        scores: Of a set of questions of your own that trains nothing: for each the scores of all its candidates, in
            the order of the first stage.
        error: Share of the questions for which the best may be missed, such as 0.01.

    Returns:
        A value for ``early_stop``, just above 1 if none is good enough.
    """
    # the best is missed if a round before the best's reaches the value; the value to exceed is that round's best
    missed_up_to = np.full(len(scores), -np.inf)
    for number, own in enumerate(scores):
        end = FIRST_ROUND
        while len(own) > end:
            if own[:end].max() < own.max():
                missed_up_to[number] = own[:end].max()
            end *= 2
    allowed = int(error * len(scores))
    worst = np.sort(missed_up_to)[::-1]
    value = worst[allowed] if allowed < len(worst) else -np.inf
    return float(max(0.0, np.nextafter(np.float32(value), np.float32(2))))
