"""Reading candidates until one is surely the answer, and how sure is sure enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.contracts import CrossEncoder, Ready

#: Candidates of the first round; every further round doubles what has been read.
FIRST_ROUND = 5


def score_until_sure(
    encoder: CrossEncoder,
    queries: Sequence[str],
    passages: Sequence[Sequence[str]],
    tokens: Sequence[Ready | None] | None = None,
    *,
    sure: float,
    alone: bool = True,
    deadline: float | None = None,
) -> list[NDArray[np.float32]]:
    """Score passages in their order, in rounds, and for each query only until one reaches `sure`.

    Args:
        encoder: What scores.
        queries: m queries.
        passages: For each its passages, the first stage's best first.
        tokens: As for `CrossEncoder.score`.
        sure: Score, 0..1, after which the rest of a query's passages is not read.
        alone: As for `CrossEncoder.score`.
        deadline: As for `CrossEncoder.score`.

    Returns:
        For each query its passages' scores: minus infinity for a passage that was skipped, NaN for one that was not
        read in time.
    """
    result = [np.full(len(texts), -np.inf, np.float32) for texts in passages]
    start, end = 0, FIRST_ROUND
    going = [number for number, texts in enumerate(passages) if texts]
    while going:
        parts = [slice(start, min(end, len(passages[number]))) for number in going]
        found = encoder.score(
            [queries[number] for number in going],
            [passages[number][part] for number, part in zip(going, parts, strict=True)],
            None
            if tokens is None
            else [_take(tokens[number], part) for number, part in zip(going, parts, strict=True)],
            alone=alone,
            deadline=deadline,
        )
        for number, part, scores in zip(going, parts, found, strict=True):
            result[number][part] = scores
        going = [number for number in going if len(passages[number]) > end and not (result[number] >= sure).any()]
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


def _take(tokens: Ready | None, part: slice) -> Ready | None:
    return None if tokens is None else tokens.take(np.arange(part.start, part.stop))
