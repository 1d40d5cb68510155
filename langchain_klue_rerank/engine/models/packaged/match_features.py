"""Features of a query-passage pair: the input of the packaged reranker.

Everything is computed for many passages at once in NumPy, but no number depends on the other passages of the call. Only
the positions where something matches are followed through the windows, a sixth of a usual passage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.packaged.exact_features import EXACT_FEATURES, exact_features
from langchain_klue_rerank.engine.models.packaged.query_terms import (
    EVIDENCE_TAGS,
    QUESTION_WORDS,
    QueryTerms,
    TermVectors,
    match_words,
)
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

#: Widths in words of the windows in which matches are gathered; the last also shows what stands near the matches.
WINDOWS: Final = (8, 16, 32)
#: Words before and after the last window that count as near, too.
_MARGIN: Final = 4
#: Words of a passage that count as its heading (title or first words).
_HEADING: Final = 8
#: Width in words of the blocks of soft matches: two neighbouring blocks are a window.
_BLOCK: Final = 16
#: Passage length in words at which term frequencies saturate as in BM25 with an average document.
_USUAL_LENGTH: Final = 150
#: Passages of a corpus whose own weights of words count as much as their weights in general.
_HALF_TRUSTED: Final = 50
#: Sizes of the last axis of `PairFeatures.matches` and of `PairFeatures.pairs`; `pair_features` names the numbers.
MATCH_FEATURES: Final = 6 + len(WINDOWS)
PAIR_FEATURES: Final = 25 + len(EVIDENCE_TAGS) + len(QUESTION_WORDS) + EXACT_FEATURES

_F32 = np.float32

#: A NumPy array or, in training, a tensor.
Array = TypeVar("Array", bound=Any)


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """The numbers of one query with n passages.

    Attributes:
        matches: float32, shape (n, terms, `MATCH_FEATURES`): how each query term is found in each passage.
        terms: float32, shape (terms, `TERM_FEATURES`): what kind of term it is.
        pairs: float32, shape (n, `PAIR_FEATURES`): the pair as a whole.
    """

    matches: NDArray[np.float32]
    terms: NDArray[np.float32]
    pairs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Matches:
    """The positions of some passages where something of the query stands.

    Attributes:
        places: int64, (m,): positions, rising.
        owner: int64, (m,): the passage of each.
        found: bool, (m, terms + bigrams): what stands there.
        sums: int32, (m + 1, terms + bigrams): running sums of `found`.
        starts, ends: int64, (n,): each passage's first match and the one after its last.
    """

    places: NDArray[np.int64]
    owner: NDArray[np.int64]
    found: NDArray[np.bool_]
    sums: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def filled(self) -> NDArray[np.bool_]:
        """Which passages have a match, (n,)."""
        return self.ends > self.starts

    def best(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maximum of each passage's rows of (m, ...) values; zeros for a passage without matches."""
        return _segment_max(values, self.starts, self.filled)


def pair_features(
    query: QueryTerms,
    passages: TokenizedTexts,
    vectors: TermVectors,
    cosines: NDArray[np.float32],
    lexical: NDArray[np.float32] | None,
    trust: float,
) -> PairFeatures:
    """Compute the features of one query with n passages.

    Args:
        query: What `prepare_query` made.
        passages: n texts; together some ten thousand words at most, the caller cuts longer ones.
        vectors: The same as for `prepare_query`.
        cosines: (n,): of the packaged bi-encoder's vectors of query and passage, whose best window counts.
        lexical: (n,): lexical scores in 0..1 of a search that knows the corpus; None where there was none.
        trust: Share of these scores, 0..1 (`lexical_trust`). The rest is the same score with the weights that the terms
            have in general.

    Returns:
        The features.
    """
    offsets, lengths = passages.offsets, np.diff(passages.offsets)
    n, terms = len(lengths), len(query.term_index)
    used, local = np.unique(passages.word_ids, return_inverse=True)
    numbers = used.tolist()
    words = match_words(query, [passages.words[i] for i in numbers], [passages.morphemes[i] for i in numbers], vectors)
    matches = _find(words.hits, local, offsets)
    filled = matches.filled

    term_weight = query.term_idf / max(float(query.term_idf.sum()), 1e-6)
    weights = np.zeros((words.hits.shape[1], 2), _F32)
    weights[:terms, 0] = term_weight
    weights[terms:, 1] = query.bigram_idf / max(float(query.bigram_idf.sum()), 1e-6)
    word_weight = np.zeros(len(query.words), _F32)
    np.add.at(word_weight, query.term_word, term_weight)

    counts = (matches.sums[matches.ends] - matches.sums[matches.starts]).astype(_F32)
    present = counts > 0
    # BM25's saturation with k1 = 1.5 and b = 0.75.
    saturated = counts / (counts + (1.5 * (0.25 + 0.75 * lengths / _USUAL_LENGTH)).astype(_F32)[:, None] + 1e-9)
    heading_ends = np.searchsorted(matches.places, np.minimum(offsets[:-1] + _HEADING, offsets[1:]))
    heading = matches.sums[heading_ends] > matches.sums[matches.starts]
    missing = np.where(present[:, :terms], 0, query.term_idf) / max(float(query.term_idf.max(initial=0)), 1e-6)

    in_window, place = _windows(matches, offsets, weights)
    adjacent, adjacent_share = _adjacent(query, matches)
    near = _near(words.evidence[local], place, offsets, filled)
    overlap = matches.best(matches.found[:, terms:] @ query.word_bigrams)
    same = matches.best(words.same[local[matches.places]])
    soft, soft_window = _soft_matches(words.similar, local, offsets, term_weight)

    in_general = saturated @ weights
    score = in_general.mean(axis=1)
    if lexical is not None:
        score = _F32(trust) * lexical + _F32(1 - trust) * score
    pairs = [
        present @ weights,  # share of the idf mass found: terms, bigrams
        in_general,
        # the last bits of these two depend on the shape of the product that made them
        np.round(score, 4),
        np.round(cosines, 4),
        heading @ weights,
        _mean(present[:, :terms]),
        _mean(present[:, terms:]),
        missing.max(axis=1, initial=0),  # the heaviest missing term
        np.log1p(lengths) / 6,
        np.minimum(lengths, 40) / 40,
        np.where(filled, (place - offsets[:-1]) / np.maximum(lengths, 1), 0),  # where the best window begins
        np.where(filled, np.minimum(place - offsets[:-1], 60) / 60, 0),
        filled,
        adjacent_share,
        near,
        near[:, EVIDENCE_TAGS.index("SN")] > 0,
        overlap @ word_weight,  # words by the share of their bigrams: what survives a typing error
        same @ word_weight,
        soft @ term_weight,
        soft_window,
        (soft * ~present[:, :terms]) @ term_weight,  # what stands in for the missing terms
        np.full(n, query.term_idf.max(initial=0)),
        np.full(n, min(len(query.words), 40) / 20),
        np.tile(query.question, (n, 1)),
        exact_features(query.exact, passages),
    ]
    by_term = [
        present[:, :terms],
        saturated[:, :terms],
        heading[:, :terms],
        *in_window[:, :, :terms],
        adjacent,
        overlap[:, query.term_word],
        soft,
    ]
    return PairFeatures(
        matches=np.stack(by_term, axis=2).astype(_F32),
        terms=query.descriptors,
        pairs=np.concatenate([np.asarray(column, _F32).reshape(n, -1) for column in pairs], axis=1),
    )


def lexical_trust(passages: int) -> float:
    """Return the share of a search's own lexical scores: half for a corpus of `_HALF_TRUSTED` passages.

    The fewer passages, the more the corpus's idea of rare words is chance, and the lower are all its scores: a word of
    the query that a small corpus lacks weighs more than all that it has.
    """
    return passages / (passages + _HALF_TRUSTED)


def lexical_score(pairs: Array) -> Array:
    """Return the lexical score of pairs, as `pair_features` put it together.

    Args:
        pairs: Shape (..., `PAIR_FEATURES`), an array or a tensor.

    Returns:
        Shape (...).
    """
    return cast(Array, pairs[..., 4])


def _find(hits: NDArray[np.bool_], local: NDArray[np.intp], offsets: NDArray[np.int64]) -> _Matches:
    """Find the positions with a hit; `local` has the word number of every position."""
    hit: NDArray[np.bool_] = np.any(hits, axis=1)
    places = np.flatnonzero(hit[local])
    found = hits[local[places]]
    sums = np.zeros((len(places) + 1, hits.shape[1]), np.int32)
    np.cumsum(found, axis=0, out=sums[1:])
    bounds = np.searchsorted(places, offsets)
    owner = np.searchsorted(offsets, places, side="right") - 1
    return _Matches(places, owner, found, sums, bounds[:-1], bounds[1:])


def _windows(
    matches: _Matches, offsets: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Find each passage's window with the greatest idf mass of terms and bigrams, for every width.

    Returns:
        (widths, n, terms + bigrams): what stands in the best window; and (n,): where the last width's begins. A best
        window begins where something matches; of equal ones the first counts.
    """
    n, filled = len(matches.starts), matches.filled
    inside = np.zeros((len(WINDOWS), n, weights.shape[0]), bool)
    place = offsets[:-1].copy()
    if not len(matches.places):
        return inside, place
    for number, width in enumerate(WINDOWS):
        ends = np.searchsorted(matches.places, np.minimum(matches.places + width, offsets[matches.owner + 1]))
        covered = matches.sums[ends] > matches.sums[:-1]
        value = covered @ weights.sum(axis=1)
        is_best: NDArray[np.bool_] = np.equal(value, matches.best(value)[matches.owner])
        first = np.flatnonzero(is_best)
        chosen = first[np.searchsorted(first, matches.starts[filled])]
        inside[number, filled] = covered[chosen]
        place[filled] = matches.places[chosen]
    return inside, place


def _adjacent(query: QueryTerms, matches: _Matches) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find terms that follow each other in the query and in the passage, in one word or in the next.

    Returns:
        (n, terms): whether the term stands beside one of its neighbours; and (n,): the idf mass of neighbours found.
    """
    n, terms = len(matches.starts), len(query.term_index)
    adjacent = np.zeros((n, terms), _F32)
    if not len(query.neighbours) or not len(matches.places):
        return adjacent, np.zeros(n, _F32)
    first, second = query.neighbours.T
    found = matches.found[:, :terms]
    following = np.zeros_like(found)
    joined = (np.diff(matches.places) == 1) & (np.diff(matches.owner) == 0)
    following[:-1][joined] = found[1:][joined]
    together = found[:, first] & (found[:, second] | following[:, second])
    seen = matches.best(together.astype(_F32))
    weight = np.minimum(query.term_idf[first], query.term_idf[second])
    for column, (one, other) in enumerate(query.neighbours.tolist()):
        adjacent[:, one] = np.maximum(adjacent[:, one], seen[:, column])
        adjacent[:, other] = np.maximum(adjacent[:, other], seen[:, column])
    return adjacent, seen @ (weight / max(float(weight.sum()), 1e-6))


def _near(
    evidence: NDArray[np.int8], place: NDArray[np.int64], offsets: NDArray[np.int64], filled: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the shares of tags near the best window, (n, tags), of words that are not the query's."""
    sums = np.zeros((len(evidence) + 1, evidence.shape[1]), np.int32)
    np.cumsum(evidence, axis=0, out=sums[1:])
    starts = np.maximum(place - _MARGIN, offsets[:-1])
    ends = np.minimum(place + WINDOWS[-1] + _MARGIN, offsets[1:])
    shares = (sums[ends] - sums[starts]) / np.maximum(ends - starts, 1)[:, None]
    result: NDArray[np.float32] = np.where(filled[:, None], shares, 0).astype(_F32)
    return result


def _soft_matches(
    similar: NDArray[np.float32], local: NDArray[np.intp], offsets: NDArray[np.int64], weight: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each term's greatest similarity, (n, terms), and the best sum in two neighbouring blocks, (n,)."""
    n = len(offsets) - 1
    blocks = -(-np.diff(offsets) // _BLOCK)  # rounded up
    bounds = np.concatenate([[0], np.cumsum(blocks)])
    if not bounds[-1]:
        return np.zeros((n, len(weight)), _F32), np.zeros(n, _F32)
    owner = np.repeat(np.arange(n), blocks)
    number = np.arange(bounds[-1])
    best = np.maximum.reduceat(similar[local], offsets[owner] + (number - bounds[owner]) * _BLOCK, axis=0)
    following = np.minimum(number + 1, bounds[owner + 1] - 1)
    window = np.maximum(best, best[following]) @ weight
    filled = blocks > 0
    return _segment_max(best, bounds[:-1], filled), _segment_max(window, bounds[:-1], filled)


def _segment_max(
    values: NDArray[np.float32], starts: NDArray[np.int64], filled: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the maximum of each segment's rows; zeros for an empty segment."""
    out = np.zeros((len(filled), *values.shape[1:]), _F32)
    if filled.any():
        out[filled] = np.maximum.reduceat(values, starts[filled], axis=0)
    return out


def _mean(values: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the share of true values in each row; 0 for rows without columns."""
    share: NDArray[np.float32] = (values.sum(axis=1) / max(values.shape[1], 1)).astype(_F32)
    return share
