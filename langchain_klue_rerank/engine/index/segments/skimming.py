"""Search in a large index: the best by words and the nearest by bits are scored, and not every passage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.index import fusion
from langchain_klue_rerank.engine.index.segments import scoring
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot
from langchain_klue_rerank.engine.parallel import both

#: Passages whose windows are compared with a query, for each requested result.
READ_FOR_EACH = 10
#: Passages whose windows are compared, and passages that the words alone bring into hybrid search, at least so many and
#: so many for each requested result.
_SKIMMED, _WORDED, _WORDED_FOR_EACH = 400, 200, 5
#: Passages nearest to the query whose lexical scores are computed, for each whose windows are compared.
_WEIGHED = 2


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best passages of a query.

    Attributes:
        rows: Their rows, the best first.
        scores: Their scores.
        cosines: Their cosines; None for lexical search.
        lexical: Their lexical scores; None for dense search.
        second: Their scores by a second bi-encoder, in 0..1; None without one.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    cosines: NDArray[np.float32] | None
    lexical: NDArray[np.float32] | None
    second: NDArray[np.float32] | None = None


def skimmed(
    snapshot: Snapshot,
    k: int,
    words: list[list[scoring.WeightedTerm]] | None,
    query: NDArray[np.float32] | None,
    combine: Callable[..., NDArray[np.float32]],
    mask: NDArray[np.bool_] | None,
    field: str,
    keep_lexical: int,
) -> Ranked:
    """Rank without scoring every passage: only those that the words alone or a coarse look at the vectors rank first.

    Both are found at the same time, on two cores.

    Args:
        snapshot: The state of the index.
        k: How many passages at most.
        words: The query's terms by segment; None to search by vectors alone.
        query: Its unit vector; None to search by words alone.
        combine: Makes one score of lexical scores and cosines.
        mask: Which rows may be found; None for all.
        field: The field of vectors.
        keep_lexical: How many of the passages that the words alone rank first stay among those found.
    """
    read = max(_SKIMMED, READ_FOR_EACH * k)
    if query is None:
        leaders = _leaders(snapshot, words or [], max(1, k), mask)
        rows, scores = _first(snapshot, leaders, max(1, k))
        return Ranked(rows[:k], scores[:k], None, scores[:k])
    lexical: NDArray[np.float32] | None = None
    if words is None:
        rows, cosines = _nearest(snapshot, query, read, mask, field)
        leading = rows[:0]
    else:
        most = max(_WORDED_FOR_EACH * k, _WORDED)
        leaders, (rows, cosines) = both(
            lambda: _leaders(snapshot, words, most, mask), lambda: _nearest(snapshot, query, read, mask, field)
        )
        lexical = np.empty(len(rows), np.float32)
        ends = np.searchsorted(rows, snapshot.starts)
        for number, own in enumerate(leaders):
            some = slice(ends[number], ends[number + 1])
            lexical[some] = own.scores_of(rows[some] - snapshot.starts[number])
        leading, scores = _first(snapshot, leaders, most)
        new = ~np.isin(leading, rows)
        rows = np.concatenate([rows, leading[new]])
        order = np.argsort(rows)
        lexical = np.concatenate([lexical, scores[new]])[order]
        others = np.sort(leading[new])
        cosines = np.concatenate([cosines, np.empty(len(others), np.float32)])[order]
        rows = rows[order]
        cosines[np.searchsorted(rows, others)] = _whole_cosines(snapshot, others, query, field)
    scores = combine(lexical, snapshot.blanks_last(rows, cosines, field))
    leading = np.searchsorted(rows, np.sort(leading[:keep_lexical]))
    places = fusion.union(fusion.top(scores, read, above=-1), leading)
    rows, leading = rows[places], np.searchsorted(places, leading)
    lexical = lexical[places] if lexical is not None else None
    half = len(rows) // 2
    cosines = np.concatenate(
        both(
            lambda: snapshot.best_windows(rows[:half], query, field),
            lambda: snapshot.best_windows(rows[half:], query, field),
        )
    )
    cosines = snapshot.blanks_last(rows, cosines, field)
    scores = combine(lexical, cosines)
    # a query without a word has no vector: nothing is near it
    least = 0 if lexical is not None else -1 if query.any() else 1
    best = fusion.with_leading(fusion.top(scores, k, above=least), leading, scores, k)
    return Ranked(rows[best], scores[best], cosines[best], lexical[best] if lexical is not None else None)


def _leaders(
    snapshot: Snapshot, words: list[list[scoring.WeightedTerm]], most: int, mask: NDArray[np.bool_] | None
) -> list[scoring.Leaders]:
    """Return the best by words of every segment."""
    return [
        scoring.leaders(snapshot, view.segment, own, most, _part(mask, start, view.segment.size))
        for start, view, own in zip(snapshot.starts.tolist(), snapshot.views, words, strict=False)
    ]


def _first(
    snapshot: Snapshot, leaders: list[scoring.Leaders], most: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows that words rank first, so many of every segment, and their scores, the highest first."""
    rows, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for start, own in zip(snapshot.starts.tolist(), leaders, strict=False):
        best = fusion.top(own.scores, most)
        rows.append(own.rows[best] + start)
        scores.append(own.scores[best])
    every = np.concatenate(scores)
    order = np.argsort(-every, kind="stable")
    return np.concatenate(rows)[order], every[order]


def _nearest(
    snapshot: Snapshot, query: NDArray[np.float32], read: int, mask: NDArray[np.bool_] | None, field: str
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows that are nearest to a query as wholes, rising, and their cosines."""
    found = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for start, view in zip(snapshot.starts.tolist(), snapshot.views, strict=False):
        own = _part(mask, start, view.segment.size)
        rows, cosines = view.segment.vectors[field].nearest(query, read, own)
        if len(rows) > _WEIGHED * read:
            best = np.sort(fusion.top(cosines, _WEIGHED * read, above=-2))
            rows, cosines = rows[best], cosines[best]
        found[0].append(rows + start)
        found[1].append(cosines)
    return np.concatenate(found[0]), np.concatenate(found[1])


def _part(mask: NDArray[np.bool_] | None, start: int, count: int) -> NDArray[np.bool_] | None:
    return None if mask is None else mask[start : start + count]


def _whole_cosines(
    snapshot: Snapshot, rows: NDArray[np.int64], query: NDArray[np.float32], field: str
) -> NDArray[np.float32]:
    """Return the cosine of a query with some rows as wholes, which may err by as much as rounding to bytes does."""
    cosines = np.empty(len(rows), np.float32)
    for segment, places, own in snapshot.places(rows):
        cosines[places] = segment.vectors[field].whole_cosines(query, own)
    return cosines
