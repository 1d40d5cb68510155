"""A cheap reranker reads all candidates first, a dear one the few that may be the answer; and what both say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.contracts import Ready
from langchain_klue_rerank.engine.rerank.blend import blend_scores

#: Share of the model's own score beside that of the reranker before it.
_OWN_SHARE = 0.5

Scores = Sequence[float] | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a passage.

    Attributes:
        score: 0..1; where the model did not read the passage, the share of the reranker before it, or 0.
        read: Whether the model read it.
        late: Whether it was not read because time ran out: then no threshold can tell.
    """

    score: float
    read: bool
    late: bool = False


def judge(
    score: Callable[..., list[NDArray[np.float32]]],
    queries: Sequence[str],
    passages: Sequence[Sequence[str]],
    tokens: Sequence[Ready | None] | None = None,
    *,
    before: Sequence[Scores] | None = None,
    first_stage: Sequence[Scores] | None = None,
    weight: float = 1.0,
    read_n: int | None = None,
    deadline: float | None = None,
) -> list[list[Verdict]]:
    """Let a model read the most promising passages of each query.

    Where a reranker came before, a passage's score is the mean of both, and half of the first one's where the model
    did not read it. As the model reads in the order of what is known already, what it reads never falls behind what
    it does not.

    Args:
        score: The model: the method of a `CrossEncoder`, or one like it.
        queries: m queries.
        passages: For each its passages, in the order of the first stage.
        tokens: As for `CrossEncoder.score`.
        before: For each the scores of a reranker that read the passages before, 0..1, NaN or minus infinity where it
            did not; None if there was none.
        first_stage: For each the first stage's scores, if they are blended with these afterwards.
        weight: The weight that these have then; 1 where they alone decide.
        read_n: How many passages of a query to read at most; None for all.
        deadline: As for `CrossEncoder.score`.

    Returns:
        For each query its passages' verdicts.
    """
    orders = [list(range(len(texts))) for texts in passages]
    if before is not None:
        stages = first_stage if first_stage is not None else [np.zeros(len(texts)) for texts in passages]
        for number, (known, stage) in enumerate(zip(before, stages, strict=True)):
            own = [(1 - _OWN_SHARE) * one for one in _known(known)]
            worth = np.asarray(blend_scores(own, stage, weight), np.float64)  # type: ignore[arg-type]
            orders[number] = np.argsort(-worth, kind="stable").tolist()
    orders = [order[:read_n] for order in orders]
    found = score(
        queries,
        [[texts[place] for place in order] for texts, order in zip(passages, orders, strict=True)],
        None
        if tokens is None
        else [
            None if own is None else own if order == list(range(len(texts))) else own.take(np.asarray(order, np.intp))
            for own, order, texts in zip(tokens, orders, passages, strict=True)
        ],
        alone=weight == 1,
        deadline=deadline,
    )
    result = []
    for number, (texts, order, scores) in enumerate(zip(passages, orders, found, strict=True)):
        earlier = None if before is None else before[number]
        read = dict(zip(order, scores.tolist(), strict=True))
        result.append([_verdict(read.get(place, -math.inf), earlier, place) for place in range(len(texts))])
    return result


def _known(scores: Scores) -> list[float]:
    return [float(one) if math.isfinite(one) else 0.0 for one in scores]


def _verdict(score: float, earlier: Scores | None, place: int) -> Verdict:
    """Put a score (NaN: too late, minus infinity: skipped) and that of the reranker before together."""
    read = math.isfinite(score)
    if earlier is None:
        return Verdict(score if read else 0.0, read, math.isnan(score))
    other = float(earlier[place])
    own = _OWN_SHARE * score if read else 0.0
    rest = (1 - _OWN_SHARE) * other if math.isfinite(other) else 0.0
    return Verdict(own + rest, read, not read and (math.isnan(score) or math.isnan(other)))
