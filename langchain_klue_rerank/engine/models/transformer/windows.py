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
    chosen: dict[int, list[Span]] = {number: [] for number, spans in enumerate(whole) if len(spans) > count}
    if not chosen:
        return whole
    # all passages in one array: with many callers at a time the interpreter's share is what makes one another wait
    begins = np.cumsum([0, *map(len, passages)])
    hits = _Hits.find(np.unique(query), np.concatenate(passages), begins)
    step = max(1, int(room * _GRID))
    grids = {
        number: begins[number] + np.minimum(np.arange(0, own - room + step, step), own - room)
        for number, own in ((number, len(passages[number])) for number in chosen)
    }
    starts = np.concatenate(list(grids.values()))
    ends = np.cumsum([0, *map(len, grids.values())])
    for _ in range(count):
        worth = hits.worth(starts, room)
        for (number, spans), first, last in zip(chosen.items(), ends[:-1], ends[1:], strict=True):
            own = worth[first:last]
            for start, _end in spans:
                own[np.abs(grids[number] - begins[number] - start) < room / 2] = -1
            best = int(own.argmax())
            if own[best] < 0:  # all others lie half within what is chosen
                continue
            start = int(grids[number][best] - begins[number])
            spans.append((start, start + room))
            if count > 1:
                hits.remove(int(begins[number]) + start, room)  # a match counts once
    return [chosen.get(number, spans) for number, spans in enumerate(whole)]


class _Hits:
    """Where the query's tokens occur in the passages, which lie one after the other, and what each is worth."""

    def __init__(self, keys: NDArray[np.int64], size: int, weights: NDArray[np.float64]) -> None:
        self._keys = keys  # token * size + place, rising
        self._size = size
        self._weights = weights

    @classmethod
    def find(cls, tokens: NDArray[np.int32], text: NDArray[np.int32], begins: NDArray[np.int64]) -> _Hits:
        """Find the tokens, rising, in the passages' text; a passage begins at each of `begins` but the last."""
        count, size = len(begins) - 1, len(text) + 1
        places = np.flatnonzero(np.isin(text, tokens))
        kinds = np.searchsorted(tokens, text[places])
        owners = np.searchsorted(begins, places, side="right") - 1
        frequency = np.bincount(np.unique(kinds * count + owners) // count, minlength=len(tokens))
        weights = np.log1p((count - frequency + 0.5) / (frequency + 0.5))
        return cls(np.sort(kinds * size + places), size, weights)

    def worth(self, starts: NDArray[np.int64], room: int) -> NDArray[np.float64]:
        """Return the weight of the tokens that occur in each of the windows."""
        low = np.arange(len(self._weights)) * self._size + starts[:, None]
        occurs = np.searchsorted(self._keys, low + room) > np.searchsorted(self._keys, low)
        return np.asarray((occurs * self._weights).sum(axis=1))  # equal windows get equal sums: the earlier wins

    def remove(self, start: int, room: int) -> None:
        """Forget what occurs in a window."""
        places = self._keys % self._size
        self._keys = self._keys[(places < start) | (places >= start + room)]
