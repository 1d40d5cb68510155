"""What a query and a passage have in common, in numbers: the input of the packaged reranker.

Everything is computed for one pair at a time in meaning and for many pairs at once in NumPy: no number depends on
the other passages of the call. Query terms are the distinct content morphemes of the query (for a word without any,
the word itself); beside them stand the character bigrams and, for soft matches, the word vectors of the bi-encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.text import TokenizedTexts, bigrams

#: Strings -> inverse document frequencies in 0..1.
Idf = Callable[[list[str]], NDArray[np.float32]]

#: Distinct words and their morphemes -> unit vectors, shape (words, dimension); zeros for a word without one.
WordVectors = Callable[[list[str], list[tuple[str, ...]]], NDArray[np.float32]]

#: The heaviest terms and bigrams of a query that are looked at; the rest of a query of several paragraphs is ignored.
MAX_TERMS, MAX_BIGRAMS = 32, 96
#: Widths, in words, of the windows in which matches are gathered; the last also shows what stands near the matches.
WINDOWS = (8, 16, 32, 64)
NEAR = 2
#: Words of a passage that count as its heading (title or first words).
HEADING = 8
#: Width in words of the blocks of soft matches, and the passage length that counts as usual (for saturation).
BLOCK, USUAL_LENGTH = 16, 150
SOFT_WINDOWS = (1, 2, 4)
#: Beginnings of question words, by what they ask for.
QUESTION_WORDS: tuple[tuple[str, ...], ...] = (
    ("누구", "누가", "누굴", "누군"),
    ("언제", "몇년", "몇월", "며칠"),
    ("어디", "어느곳"),
    ("몇", "얼마", "몇명", "몇개"),
    ("왜", "이유", "까닭", "원인"),
    ("어떻", "방법", "어찌"),
    ("무엇", "무슨", "뭐", "뭔", "뭘", "무어"),
    ("어느", "어떤"),
    ("이름", "명칭"),
)
#: Tags whose share in the best window is an input, by group.
EVIDENCE_TAGS = ("NNP", "SN", "NNB", "NR", "SL", "SH", "VV", "VA", "NNG")
TERM_TAGS: tuple[tuple[str, ...], ...] = (("NNG",), ("NNP",), ("VV", "VA", "XR"), ("SN", "NR", "SL", "SH"), ("NP", "MM"))

MATCH_FEATURES = 9
SOFT_FEATURES = 3 + len(SOFT_WINDOWS)
TERM_FEATURES = 5 + len(TERM_TAGS) + 1
PAIR_FEATURES = 11 + 2 * len(WINDOWS) + 3 + 1 + len(EVIDENCE_TAGS) + 1 + 2 + SOFT_FEATURES + 2 + len(QUESTION_WORDS)

_F32 = np.float32


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """The numbers of one query and n passages.

    Attributes:
        matches: float32, shape (n, terms, `MATCH_FEATURES`): how each query term is found in each passage.
        terms: float32, shape (terms, `TERM_FEATURES`): what kind of term it is.
        pairs: float32, shape (n, `PAIR_FEATURES`): the pair as a whole.
    """

    matches: NDArray[np.float32]
    terms: NDArray[np.float32]
    pairs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class QueryTerms:
    """A query, made ready to be looked for.

    Attributes:
        words: Its distinct words.
        word_vectors: Their unit vectors, shape (words, dimension), or None.
        term_index: Term -> column.
        bigram_index: Bigram -> column.
        term_idf: float32, shape (terms,).
        bigram_idf: float32, shape (bigrams,).
        term_word: For each term the number of the (last) word it stands in.
        word_bigrams: float32, shape (bigrams, words): 1 / (bigrams of the word) where the word has the bigram.
        neighbours: int, shape (pairs, 2): terms that stand one after the other.
        descriptors: float32, shape (terms, `TERM_FEATURES`).
        question: float32, shape (question words,): which kinds of question word occur.
        vector: Unit vector of the whole query, shape (dimension,), or None.
    """

    words: list[str]
    word_vectors: NDArray[np.float32] | None
    term_index: dict[str, int]
    bigram_index: dict[str, int]
    term_idf: NDArray[np.float32]
    bigram_idf: NDArray[np.float32]
    term_word: NDArray[np.int64]
    word_bigrams: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    descriptors: NDArray[np.float32]
    question: NDArray[np.float32]
    vector: NDArray[np.float32] | None


def term_units(word: str, morphemes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the terms of a word: its content morphemes, or itself where it has none."""
    return morphemes or (word,)


def _heaviest(strings: list[str], idf: Idf, limit: int) -> tuple[dict[str, int], NDArray[np.float32]]:
    """Number the distinct strings in order, at most `limit` of them, those of the highest idf."""
    distinct = list(dict.fromkeys(strings))
    weights = idf(distinct)
    if len(distinct) > limit:
        keep = np.sort(np.argsort(-weights, kind="stable")[:limit])
        distinct, weights = [distinct[i] for i in keep.tolist()], weights[keep]
    return {string: i for i, string in enumerate(distinct)}, weights


def prepare_query(query: TokenizedTexts, idf: Idf, word_vectors: WordVectors | None) -> QueryTerms:
    """Make a query ready.

    Args:
        query: One tokenized text.
        idf: Weights of terms and bigrams.
        word_vectors: The bi-encoder's word vectors, or None for lexical features only.

    Returns:
        The query's terms.
    """
    ids = query.word_ids.tolist()
    used = list(dict.fromkeys(ids))
    local = {word: i for i, word in enumerate(used)}
    words = [query.words[i] for i in used]
    sequence = [(unit, local[i], unit.rpartition("/")[2]) for i in ids
                for unit in term_units(query.words[i], query.morphemes[i])]
    term_index, term_idf = _heaviest([unit for unit, _, _ in sequence], idf, MAX_TERMS)
    bigram_index, bigram_idf = _heaviest([b for word in words for b in bigrams(word)], idf, MAX_BIGRAMS)
    word_bigrams = np.zeros((len(bigram_index), len(words)), _F32)
    for column, word in enumerate(words):
        parts = bigrams(word)
        for part in parts:
            if part in bigram_index:
                word_bigrams[bigram_index[part], column] = 1 / len(set(parts))
    order = [term_index[unit] for unit, _, _ in sequence if unit in term_index]
    neighbours = sorted({(a, b) for a, b in zip(order[:-1], order[1:], strict=True) if a != b})
    question = np.array([any(word.startswith(kind) for word in words) for kind in QUESTION_WORDS], _F32)
    descriptors = np.zeros((len(term_index), TERM_FEATURES), _F32)
    term_word = np.zeros(len(term_index), np.int64)
    total, heaviest = max(float(term_idf.sum()), 1e-6), max(float(term_idf.max(initial=0)), 1e-6)
    for place, (unit, word, tag) in enumerate(sequence):
        row = term_index.get(unit)
        if row is None:
            continue
        term_word[row] = word
        descriptors[row, :5] = (
            term_idf[row],
            term_idf[row] / total,
            term_idf[row] / heaviest,
            place / max(len(sequence) - 1, 1),
            word == len(words) - 1,
        )
        for group, tags in enumerate(TERM_TAGS):
            descriptors[row, 5 + group] = tag in tags
        descriptors[row, 5 + len(TERM_TAGS)] = any(words[word].startswith(kind) for kind in QUESTION_WORDS)
    vectors = vector = None
    if word_vectors is not None and words:
        vectors = word_vectors(words, [query.morphemes[i] for i in used])
        vector = _unit(vectors[[local[i] for i in ids]].sum(axis=0, keepdims=True))[0]
    return QueryTerms(
        words=words,
        word_vectors=vectors,
        term_index=term_index,
        bigram_index=bigram_index,
        term_idf=term_idf,
        bigram_idf=bigram_idf,
        term_word=term_word,
        word_bigrams=word_bigrams,
        neighbours=np.array(neighbours, np.int64).reshape(-1, 2),
        descriptors=descriptors,
        question=question,
        vector=vector,
    )


def _segment_max(values: NDArray[np.float32], starts: NDArray[np.int64], filled: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the maximum of each segment's rows; zeros for an empty segment."""
    out = np.zeros((len(filled), *values.shape[1:]), values.dtype)
    if filled.any():
        out[filled] = np.maximum.reduceat(values, starts[filled], axis=0)
    return out


def pair_features(
    query: QueryTerms, passages: TokenizedTexts, word_vectors: WordVectors | None
) -> PairFeatures:
    """Compute the features of one query with n passages.

    Args:
        query: What `prepare_query` made.
        passages: n tokenized texts; together a few thousand words, the caller cuts longer ones.
        word_vectors: The same as for `prepare_query`.

    Returns:
        The features; all zeros but lengths for a passage without words.
    """
    n, terms, grams = len(passages), len(query.term_index), len(query.bigram_index)
    offsets, lengths = passages.offsets, passages.lengths()
    used, local = np.unique(passages.word_ids, return_inverse=True)
    used_words = [passages.words[i] for i in used.tolist()]
    used_morphemes = [passages.morphemes[i] for i in used.tolist()]
    hits, evidence, same_word = _word_table(query, used_words, used_morphemes)

    # Only the positions where something matches are looked at from here on: a sixth of a usual passage.
    places = np.flatnonzero(hits.any(axis=1)[local])
    owner = np.searchsorted(offsets, places, side="right") - 1
    found = hits[local[places]]
    sums = np.zeros((len(places) + 1, terms + grams), np.int32)
    np.cumsum(found, axis=0, out=sums[1:])
    bounds = np.searchsorted(places, offsets)
    starts, ends = bounds[:-1], bounds[1:]
    filled = ends > starts

    weights = np.zeros((terms + grams, 2), _F32)
    weights[:terms, 0] = query.term_idf / max(float(query.term_idf.sum()), 1e-6)
    weights[terms:, 1] = query.bigram_idf / max(float(query.bigram_idf.sum()), 1e-6)

    counts = (sums[ends] - sums[starts]).astype(_F32)
    present = counts > 0
    saturated = counts / (counts + (1.5 * (0.25 + 0.75 * lengths / USUAL_LENGTH)).astype(_F32)[:, None] + 1e-9)
    heading_ends = np.searchsorted(places, np.minimum(offsets[:-1] + HEADING, offsets[1:]))
    heading = sums[heading_ends] > sums[starts]
    shares = present @ weights
    missing = np.where(present[:, :terms], 0, query.term_idf) / max(float(query.term_idf.max(initial=0)), 1e-6)
    columns: list[NDArray[np.float32]] = [
        shares,
        saturated @ weights,
        heading @ weights,
        present[:, :terms].mean(axis=1, keepdims=True) if terms else np.zeros((n, 1), _F32),
        present[:, terms:].mean(axis=1, keepdims=True) if grams else np.zeros((n, 1), _F32),
        missing.max(axis=1, keepdims=True, initial=0),
        np.log1p(lengths)[:, None] / 6,
        np.minimum(lengths, 40)[:, None] / 40,
    ]

    # The best window of every width begins where something matches.
    in_window: list[NDArray[np.bool_]] = []
    best_places = np.zeros(n, np.int64)
    for number, width in enumerate(WINDOWS):
        window_ends = np.searchsorted(places, np.minimum(places + width, offsets[owner + 1]))
        covered = sums[window_ends] > sums[:-1]
        value = covered @ weights
        both = value.sum(axis=1)
        best = _segment_max(both, starts, filled)
        first = np.flatnonzero(both == best[owner]) if len(places) else np.zeros(0, np.int64)
        chosen = np.zeros(n, np.int64)
        chosen[filled] = first[np.searchsorted(first, starts[filled])]
        value_best, covered_best = np.zeros((n, 2), _F32), np.zeros((n, terms + grams), bool)
        value_best[filled], covered_best[filled] = value[chosen[filled]], covered[chosen[filled]]
        columns.append(value_best)
        in_window.append(covered_best)
        if number == NEAR:
            best_places[filled] = places[chosen[filled]]
    relative = (best_places - offsets[:-1]) / np.maximum(lengths, 1)
    columns += [
        np.where(filled, relative, 0)[:, None],
        np.where(filled, np.minimum(best_places - offsets[:-1], 60) / 60, 0)[:, None],
        filled[:, None].astype(_F32),
    ]

    # Terms that follow each other in the query and in the passage (in one word or in the next).
    adjacent = np.zeros((n, terms), _F32)
    pair_weight = np.zeros((n, 1), _F32)
    if len(query.neighbours) and len(places):
        a, b = query.neighbours.T
        following = np.zeros_like(found[:, :terms])
        joined = (np.diff(places) == 1) & (np.diff(owner) == 0)
        following[:-1][joined] = found[1:, :terms][joined]
        together = found[:, a] & (found[:, b] | following[:, b])
        seen = _segment_max(together, starts, filled)
        pair_idf = np.minimum(query.term_idf[a], query.term_idf[b])
        pair_weight = (seen @ pair_idf / max(float(pair_idf.sum()), 1e-6))[:, None].astype(_F32)
        for column in range(len(a)):
            adjacent[:, a[column]] = np.maximum(adjacent[:, a[column]], seen[:, column])
            adjacent[:, b[column]] = np.maximum(adjacent[:, b[column]], seen[:, column])
    columns.append(pair_weight)

    # What stands in the best window beside the query's own words: numbers, names, ...
    flags = np.zeros((len(passages.word_ids) + 1, evidence.shape[1]), np.int32)
    np.cumsum(evidence[local], axis=0, out=flags[1:])
    near_start = np.maximum(best_places - 4, offsets[:-1])
    near_end = np.minimum(best_places + WINDOWS[NEAR] + 4, offsets[1:])
    near_end = np.maximum(near_start, near_end)
    near = (flags[near_end] - flags[near_start]) / np.maximum(near_end - near_start, 1)[:, None]
    columns.append(np.where(filled[:, None], near, 0))
    columns.append(np.where(filled, near[:, 1] > 0, 0)[:, None])

    # Whole words, and words by the share of their bigrams: what survives a wrong analysis or a typing error.
    word_weight = np.zeros(len(query.words), _F32)
    np.add.at(word_weight, query.term_word, query.term_idf)
    word_weight /= max(float(word_weight.sum()), 1e-6)
    overlap = _segment_max(found[:, terms:] @ query.word_bigrams, starts, filled)
    same = _segment_max(same_word[local[places]].astype(_F32), starts, filled)
    columns += [(overlap @ word_weight)[:, None], (same @ word_weight)[:, None]]

    soft, soft_columns = _soft_matches(query, local, offsets, used_words, used_morphemes, word_vectors, word_weight)
    columns += soft_columns
    columns += [
        np.full((n, 1), query.term_idf.max(initial=0)),
        np.full((n, 1), min(len(query.words), 40) / 20),
        np.tile(query.question, (n, 1)),
    ]
    pairs = np.concatenate([np.asarray(column, _F32).reshape(n, -1) for column in columns], axis=1)
    matches = np.stack(
        [
            present[:, :terms],
            saturated[:, :terms],
            heading[:, :terms],
            in_window[0][:, :terms],
            in_window[1][:, :terms],
            in_window[NEAR][:, :terms],
            adjacent,
            overlap[:, query.term_word],
            soft[:, query.term_word],
        ],
        axis=2,
    ).astype(_F32)
    return PairFeatures(matches=matches, terms=query.descriptors, pairs=pairs)


def _word_table(
    query: QueryTerms, words: list[str], morphemes: list[tuple[str, ...]]
) -> tuple[NDArray[np.bool_], NDArray[np.int8], NDArray[np.bool_]]:
    """Look every distinct passage word up in the query: terms and bigrams it has, its tags, equal words."""
    terms = len(query.term_index)
    rows: list[int] = []
    columns: list[int] = []
    tag_rows: list[int] = []
    tag_columns: list[int] = []
    term_index, bigram_index = query.term_index, query.bigram_index
    tag_index = {f"/{tag}"[-3:]: i for i, tag in enumerate(EVIDENCE_TAGS)}
    characters = frozenset("".join(bigram_index))
    word_index = {word: i for i, word in enumerate(query.words)}
    same = np.zeros((len(words), len(query.words)), bool)
    for row, (word, parts) in enumerate(zip(words, morphemes, strict=True)):
        for unit in parts or (word,):
            column = term_index.get(unit)
            if column is not None:
                rows.append(row)
                columns.append(column)
            tag = tag_index.get(unit[-3:])
            if tag is not None:
                tag_rows.append(row)
                tag_columns.append(tag)
        if characters.isdisjoint(word):  # most words; saves half of the time of this loop
            continue
        for i in range(len(word) - 1 or 1):
            column = bigram_index.get(word[i : i + 2])
            if column is not None:
                rows.append(row)
                columns.append(terms + column)
        if word in word_index:
            same[row, word_index[word]] = True
    hits = np.zeros((len(words), terms + len(bigram_index)), bool)
    hits[rows, columns] = True
    evidence = np.zeros((len(words), len(EVIDENCE_TAGS)), np.int8)
    evidence[tag_rows, tag_columns] = 1
    evidence[hits[:, :terms].any(axis=1)] = 0  # what the query says itself answers nothing
    return hits, evidence, same


def _soft_matches(
    query: QueryTerms,
    local: NDArray[np.intp],
    offsets: NDArray[np.int64],
    words: list[str],
    morphemes: list[tuple[str, ...]],
    word_vectors: WordVectors | None,
    word_weight: NDArray[np.float32],
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Return the best cosine of every query word in every passage (n, words), and what follows from the vectors."""
    n = len(offsets) - 1
    if word_vectors is None or query.word_vectors is None or not len(local):
        return np.zeros((n, len(query.words)), _F32), [np.zeros((n, SOFT_FEATURES), _F32)]
    raw = word_vectors(words, morphemes)
    similar = (_unit(raw) @ _unit(query.word_vectors).T)[local]  # (positions, query words)
    lengths = np.diff(offsets)
    blocks = -(-lengths // BLOCK)  # of each passage, rounded up
    bounds = np.concatenate([[0], np.cumsum(blocks)])
    block_owner = np.repeat(np.arange(n), blocks)
    block_starts = offsets[block_owner] + (np.arange(bounds[-1]) - bounds[block_owner]) * BLOCK
    block_best = np.maximum.reduceat(similar, block_starts, axis=0)
    # float64: differences of running sums must not depend on what other passages stand before
    sums = np.zeros((bounds[-1] + 1, raw.shape[1]))
    np.cumsum(np.add.reduceat(raw[local], block_starts, axis=0), axis=0, dtype=np.float64, out=sums[1:])
    starts, filled = bounds[:-1], blocks > 0
    soft = _segment_max(block_best, starts, filled)
    cover = (np.maximum(soft, 0) @ word_weight)[:, None]
    following = np.minimum(np.arange(bounds[-1]) + 1, bounds[block_owner + 1] - 1)
    pairs_of_blocks = np.maximum(block_best, block_best[following])
    window_cover = _segment_max((np.maximum(pairs_of_blocks, 0) @ word_weight)[:, None], starts, filled)
    whole = _cosines(sums[bounds[1:]] - sums[starts], query.vector)
    columns = [whole[:, None], cover, window_cover]
    for width in SOFT_WINDOWS:
        window_ends = np.minimum(np.arange(bounds[-1]) + width, bounds[block_owner + 1])
        cosines = _cosines(sums[window_ends] - sums[:-1], query.vector)
        columns.append(_segment_max(cosines[:, None], starts, filled))
    return soft, columns


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows at length one; rows of zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _cosines(vectors: NDArray[np.float64], direction: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the cosine of every row with a unit vector."""
    assert direction is not None
    return (vectors @ direction / np.maximum(np.linalg.norm(vectors, axis=1), 1e-6)).astype(_F32)
