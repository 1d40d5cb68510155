"""BM25 over all segments of an index: scores that are those of one index built from the passages that are there.

Two fields are scored and averaged, Kiwi's content morphemes and character bigrams. Why not a library: bm25s computes
every score when it indexes, which makes a query very fast and every added or deleted passage a new index, once for
morphemes and once for bigrams, from tokens that somebody has to keep. Here the tokens are kept anyway and passages come
and go. ``python -m benchmarks.lexical`` prints both side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.index.segments.segment import Segment
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

#: BM25's saturation of the term frequency, and its strength of the length normalisation (Robertson and Zaragoza 2009).
K1: Final = 1.5
B: Final = 0.75
#: Postings of a list that may be skipped, and postings scored between two looks at whether the rest may be.
_LONG: Final = 8192
_CHECKED_AFTER: Final = 200_000
#: A list so many times as long as there are rows to find in it is searched and not read.
_PROBES: Final = 24
#: Against rounding: sums of the same numbers in another order differ by less.
_SLACK: Final = 1 - 1e-5


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    """A term of a query in one segment.

    Attributes:
        field: Its field.
        weight: Its idf times its count in the query, divided by the query's idf mass and the number of fields.
        start: Where its postings begin in the segment.
        end: Where they end.
    """

    field: str
    weight: float
    start: int
    end: int


def weigh(snapshot: Snapshot, query: TokenizedTexts, number: int) -> list[list[WeightedTerm]]:
    """Look up and weigh the terms of a query.

    Args:
        snapshot: The state of the index.
        query: Queries.
        number: Which of them.

    Returns:
        For each segment the query's terms that occur in it. The weights of a passage that has all terms, known or not,
        endlessly often would add up to 1.
    """
    result: list[list[WeightedTerm]] = [[] for _ in snapshot.views]
    for name, found in look_up(snapshot, query, number).items():
        weights = (found.weights * found.counts).tolist()
        for own, (starts, ends) in zip(result, found.spans, strict=True):
            for weight, start, end in zip(weights, starts.tolist(), ends.tolist(), strict=True):
                if end > start:
                    own.append(WeightedTerm(name, weight, start, end))
    return result


@dataclass(frozen=True, slots=True)
class QueryTerms:
    """The terms of a query in one field.

    Attributes:
        places: Of every occurrence, in order, where its term stands among the distinct ones; terms that no passage has
            are one.
        counts: How often each distinct one stands in the query.
        weights: Of one occurrence of each: its idf, divided by the query's idf mass and the number of fields.
        spans: For each segment where the postings of the distinct ones begin and end.
    """

    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    weights: NDArray[np.float64]
    spans: list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def look_up(snapshot: Snapshot, query: TokenizedTexts, number: int) -> dict[str, QueryTerms]:
    """Return the terms of a query by field; nothing of a query without terms, or in an empty index."""
    words = query.word_ids[query.offsets[number] : query.offsets[number + 1]].tolist()
    numbers = snapshot.terms.query([query.words[word] for word in words], [query.morphemes[word] for word in words])
    searched = [name for name in numbers if name == "bigram" or snapshot.settings.kiwi]
    if not snapshot.count:
        return {}
    asked = {
        name: np.unique(numbers[name], return_inverse=True, return_counts=True)
        for name in searched
        if len(numbers[name])
    }
    spans: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {name: [] for name in asked}
    for name, (terms, _, _) in asked.items():
        for view in snapshot.views:
            spans[name].append(view.segment.fields[name].spans(terms))
    result: dict[str, QueryTerms] = {}
    for name, (terms, places, counts) in asked.items():
        frequencies = _document_frequencies(snapshot, name, spans[name], len(terms))
        # Lucene's, which is never negative
        idf = np.log1p((snapshot.count - frequencies + 0.5) / (frequencies + 0.5))
        # every term that no passage has stands in one place of `terms`, that of -1, with their common count
        weights = idf / (float(idf @ counts) * len(searched))
        result[name] = QueryTerms(places, counts, weights, spans[name])
    return result


def _document_frequencies(
    snapshot: Snapshot, name: str, spans: list[tuple[NDArray[np.int64], NDArray[np.int64]]], count: int
) -> NDArray[np.int64]:
    """Return how many passages that are there have each term."""
    total = np.zeros(count, np.int64)
    for view, (starts, ends) in zip(snapshot.views, spans, strict=True):
        if view.alive is None:
            total += ends - starts
            continue
        rows = view.segment.fields[name].rows
        for place in np.flatnonzero(ends > starts).tolist():
            total[place] += np.count_nonzero(view.alive[rows[starts[place] : ends[place]]])
    return total


def scores(snapshot: Snapshot, segment: Segment, terms: list[WeightedTerm], out: NDArray[np.float32]) -> None:
    """Score all rows of a segment.

    Args:
        snapshot: The state of the index.
        segment: One of its segments.
        terms: The query's terms in it.
        out: (n,) float32, zeros; set to the BM25 scores, divided by their upper bound.
    """
    norms = _norms(snapshot, segment)
    for term in terms:
        _add_to_all(segment, term, norms[term.field], out)


def scores_of(
    snapshot: Snapshot, segment: Segment, terms: list[WeightedTerm], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the scores of some rows of a segment, given rising; see `scores`."""
    found, norms = np.zeros(len(rows), np.float32), _norms(snapshot, segment)
    for term in terms:
        _add_to_some(segment, term, norms[term.field], rows, found, None)
    return found


def _added(weight: float, frequencies: NDArray[np.uint16], norms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a term adds to the scores of rows, ``weight * tf / (tf + norm)``; `norms` is changed."""
    norms += frequencies
    added = frequencies * np.float32(weight)
    added /= norms
    return added


def _add_to_all(segment: Segment, term: WeightedTerm, norms: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Add what a term adds to the scores of all rows that have it; arguments as for `_add_to_some`."""
    postings, some = segment.fields[term.field], slice(term.start, term.end)
    places = postings.rows[some].astype(np.intp)
    added = _added(term.weight, postings.frequencies[some], norms.take(places))
    np.add.at(out, places, added)  # twice as fast as `out[places] += added`


@dataclass(frozen=True, slots=True, eq=False)
class Leaders:
    """The rows of a segment that can be among the best by words, and what it takes to score others.

    Attributes:
        rows: Rows, rising: the best k of those that may be found and have a term, ties with the k-th included.
        scores: Their scores, float32.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    _segment: Segment
    _norms: dict[str, NDArray[np.float32]]
    _read: NDArray[np.float32]  # the sums over the terms whose lists were read completely, of all rows
    _skipped: list[WeightedTerm]  # the others

    def scores_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores of any rows, given rising."""
        found = self._read[rows]
        for term in self._skipped:
            _add_to_some(self._segment, term, self._norms[term.field], rows, found, None)
        return found


def leaders(
    snapshot: Snapshot, segment: Segment, terms: list[WeightedTerm], k: int, mask: NDArray[np.bool_] | None
) -> Leaders:
    """Score the rows of a segment that can be among the best k (MaxScore, Turtle and Flood 1995).

    Terms are taken in falling order of the most that they can add. Once the remaining ones together add less than the
    k-th best score, only rows that have a score already can be among the best, and of the remaining lists, which are
    the long ones, only those rows are read. They become fewer with every list.

    Args:
        snapshot: The state of the index.
        segment: One of its segments.
        terms: The query's terms in it.
        k: How many of the best rows are needed.
        mask: Which rows may be found, (n,) bool; None for all.
    """
    norms = _norms(snapshot, segment)
    bounds = [_most(segment, term, norms[term.field]) for term in terms]
    order = np.argsort(-np.asarray(bounds), kind="stable").tolist()
    total = remaining = float(sum(bounds))
    since = _CHECKED_AFTER
    read = np.zeros(segment.size, np.float32)
    member: NDArray[np.bool_] | None = None
    chosen: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None  # rows and their scores
    skipped: list[WeightedTerm] = []
    for place in order:
        term = terms[place]
        length = term.end - term.start
        due = since >= _CHECKED_AFTER or chosen is not None
        if length >= _LONG and due and remaining < total - remaining:  # no score is above the sum of the bounds so far
            scores = read if chosen is None else chosen[1]
            reached, since = _in_reach(scores, k, mask if chosen is None else None, remaining), 0
            if reached is not None:
                rows = reached if chosen is None else chosen[0][reached]
                if member is None:
                    member = np.zeros(segment.size, bool)
                elif chosen is not None:
                    member[chosen[0]] = False
                member[rows] = True
                chosen = rows, scores[reached]
        if chosen is None:
            _add_to_all(segment, term, norms[term.field], read)
        else:
            skipped.append(term)
            _add_to_some(segment, term, norms[term.field], *chosen, member)
        remaining -= bounds[place]
        since += length
    if chosen is None:
        scored = read > 0
        rows = np.flatnonzero(scored if mask is None else scored & mask)
        chosen = rows, read[rows]
    return Leaders(*chosen, segment, norms, read, skipped)


def _add_to_some(
    segment: Segment,
    term: WeightedTerm,
    norms: NDArray[np.float32],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    member: NDArray[np.bool_] | None,
) -> None:
    """Add what a term adds to the scores of some rows.

    Args:
        segment: The segment.
        term: One of the query's terms in it.
        norms: What `Segment.norms` returns for its field.
        rows: The rows, rising.
        scores: Their scores, which are changed.
        member: Of every row whether it is one of them; None if that is not known.
    """
    postings = segment.fields[term.field]
    listed = postings.rows[term.start : term.end]
    if member is None or _PROBES * len(rows) < len(listed):
        found = np.minimum(np.searchsorted(listed, rows.astype(listed.dtype)), len(listed) - 1)
        places = np.flatnonzero(listed.take(found) == rows)
        found = found.take(places)
    else:
        found = np.flatnonzero(member.take(listed))
        places = np.searchsorted(rows, listed.take(found))
    frequencies = postings.frequencies[term.start : term.end].take(found)
    scores[places] += _added(term.weight, frequencies, norms.take(rows.take(places)))


def _in_reach(
    scores: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None, remaining: float
) -> NDArray[np.int64] | None:
    """Return the places of scores that can be among the best k if none rises by more than `remaining`; None for all.

    Args:
        scores: The scores so far.
        k: How many of the best are needed.
        mask: Which may be found; None for all.
        remaining: What may still be added to a score.
    """
    best = np.flatnonzero(scores > remaining)  # unless there are k of them, a row without a score can be among the best
    if mask is not None:
        best = best[mask[best]]
    if len(best) < k:
        return None
    threshold = float(np.partition(scores[best], len(best) - k)[len(best) - k]) * _SLACK
    if remaining >= threshold:
        return None
    places = np.flatnonzero(scores >= threshold - remaining)
    return places if mask is None else places[mask[places]]


def _most(segment: Segment, term: WeightedTerm, norms: NDArray[np.float32]) -> float:
    """Return no less than what a term adds to the score of any row."""
    highest = segment.highest_frequency(term.field, term.start, term.end)
    return term.weight * highest / (highest + segment.least_norm(term.field, norms))


def _norms(snapshot: Snapshot, segment: Segment) -> dict[str, NDArray[np.float32]]:
    return {name: segment.norms(name, snapshot.mean_lengths[name], K1, B) for name in segment.fields}
