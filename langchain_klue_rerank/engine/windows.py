"""Long passages in windows of tokens, and which of them are worth reading for a query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Where a window's tokens begin and end in its passage.
Span = tuple[int, int]

#: Share of a window that the next one repeats, so that no sentence is cut in both.
OVERLAP = 0.25
#: Windows to choose from begin this share of their length after one another.
_GRID = 0.25


def cut(length: int, room: int) -> list[Span]:
    """Cut a passage into overlapping windows that together hold all of it.

    Args:
        length: Tokens of the passage.
        room: Most tokens of a window, at least 1.

    Returns:
        The windows in the order of the text; one, perhaps empty, for a passage that fits.
    """
    step = max(1, int(room * (1 - OVERLAP)))
    return [(start, min(start + room, length)) for start in range(0, max(1, length - room + step), step)]


def promising(
    query: NDArray[np.int32], passages: Sequence[NDArray[np.int32]], room: int, count: int
) -> list[list[Span]]:
    """Choose the windows of each passage that share most with the query.

    A window's worth is the weight of the query's tokens that occur in it. A token weighs its inverse document frequency
    over these passages: what all candidates share tells none from another.

    Args:
        query: The query's tokens.
        passages: The passages' tokens.
        room: Most tokens of a window, at least 1.
        count: Most windows of a passage.

    Returns:
        For each passage its windows, the most promising first; all of them where there are no more than `count`. Of
        equals the earlier comes first.
    """
    whole = [cut(len(passage), room) for passage in passages]
    if all(len(spans) <= count for spans in whole):
        return whole
    tokens = np.unique(query)
    hits = [[np.flatnonzero(passage == token) for token in tokens] for passage in passages]
    frequency = np.asarray([[len(places) > 0 for places in own] for own in hits], np.float64).sum(axis=0)
    weights = np.log1p((len(passages) - frequency + 0.5) / (frequency + 0.5))
    return [
        spans if len(spans) <= count else _best(len(passage), own, weights, room, count)
        for passage, own, spans in zip(passages, hits, whole, strict=True)
    ]


def _best(
    length: int, hits: Sequence[NDArray[np.intp]], weights: NDArray[np.float64], room: int, count: int
) -> list[Span]:
    step = max(1, int(room * _GRID))
    starts = np.minimum(np.arange(0, length - room + step, step), length - room)
    chosen: list[Span] = []
    for _ in range(count):
        worth = np.zeros(len(starts))
        for places, weight in zip(hits, weights, strict=True):
            worth += weight * (np.searchsorted(places, starts + room) > np.searchsorted(places, starts))
        for start, _end in chosen:
            worth[np.abs(starts - start) < room / 2] = -1
        best = int(worth.argmax())
        if worth[best] < 0:  # all others lie half within what is chosen
            break
        start = int(starts[best])
        chosen.append((start, start + room))
        hits = [places[(places < start) | (places >= start + room)] for places in hits]  # a match counts once
    return chosen
