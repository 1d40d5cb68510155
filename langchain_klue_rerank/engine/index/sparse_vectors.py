"""The lexical search as sparse vectors, for engines that keep and compare such vectors themselves.

The product of a query's vector with a passage's is the lexical score of `segments.scoring`: BM25 over content morphemes
and over character bigrams, divided by its upper bound, and averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.arrays.strings import StringTable, hashes
from langchain_klue_rerank.engine.index.segments.scoring import K1, B
from langchain_klue_rerank.engine.text.kiwi import Analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.words import bigrams

#: Dimensions of a vector. Terms are hashed into them: of a million terms one in 500 shares its place with another.
DIMENSIONS = 1 << 29

#: Terms of a text: their dimensions, rising, and how often each occurs.
Counts = tuple[NDArray[np.int64], NDArray[np.int64]]
#: Dimensions, rising, and the weight in each.
Weights = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class TermStatistics:
    """What BM25 knows of a collection.

    Attributes:
        passages: How many passages it has.
        mean_lengths: Mean number of terms of a passage by field, ``morpheme`` and ``bigram``.
        terms: The dimensions that occur, rising, int64.
        frequencies: In how many passages each occurs, int64.
    """

    passages: int
    mean_lengths: dict[str, float]
    terms: NDArray[np.int64]
    frequencies: NDArray[np.int64]

    def idf(self, terms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the inverse document frequency of terms; the highest for unknown ones."""
        frequencies = np.zeros(len(terms), np.int64)
        if len(self.terms):
            places = np.minimum(np.searchsorted(self.terms, terms), len(self.terms) - 1)
            frequencies = np.where(self.terms[places] == terms, self.frequencies[places], 0)
        return np.asarray(np.log1p((self.passages - frequencies + 0.5) / (frequencies + 0.5)))


def count_terms(texts: Sequence[str], analyzer: Analyzer | None) -> list[dict[str, Counts]]:
    """Count the terms of texts.

    Args:
        texts: Any strings.
        analyzer: What makes morphemes; None for bigrams alone.

    Returns:
        For each text its terms by field.
    """
    tokens = tokenize(texts, analyzer)
    fields = {"bigram": _dimensions("b", map(bigrams, tokens.words))}
    if analyzer is not None:
        fields["morpheme"] = _dimensions("m", tokens.morphemes)
    return [{name: _counted(tokens, row, *own) for name, own in fields.items()} for row in range(len(tokens))]


def _dimensions(field: str, rows: Iterable[Sequence[str]]) -> tuple[Ragged, NDArray[np.int64]]:
    """Return the terms of each word, numbered, and the dimension of each term."""
    numbers: dict[str, int] = {}
    ids = Ragged.from_rows([[numbers.setdefault(field + term, len(numbers)) for term in row] for row in rows])
    table = StringTable.of(numbers)
    hashed = (hashes(table.bytes, table.offsets) % np.uint64(DIMENSIONS)).astype(np.int64)
    return ids, hashed


def _counted(tokens: TokenizedTexts, row: int, ids: Ragged, dimensions: NDArray[np.int64]) -> Counts:
    words = tokens.word_ids[tokens.offsets[row] : tokens.offsets[row + 1]]
    terms, counts = np.unique(dimensions[ids.take(words).values], return_counts=True)
    return terms, counts


def statistics(counts: Iterable[dict[str, Counts]]) -> TermStatistics:
    """Gather the statistics of a collection from the terms of its passages."""
    passages, lengths = 0, {"morpheme": 0, "bigram": 0}
    frequencies: dict[int, int] = {}
    for own in counts:
        passages += 1
        for name, (terms, often) in own.items():
            lengths[name] += int(often.sum())
            for term in terms.tolist():
                frequencies[term] = frequencies.get(term, 0) + 1
    terms = np.fromiter(sorted(frequencies), np.int64, len(frequencies))
    return TermStatistics(
        passages,
        {name: total / max(1, passages) for name, total in lengths.items()},
        terms,
        np.fromiter((frequencies[term] for term in terms.tolist()), np.int64, len(terms)),
    )


def passage_vector(counts: dict[str, Counts], mean_lengths: dict[str, float]) -> Weights:
    """Return a passage's dimensions and its weights there, float64: the saturated frequencies of its terms."""
    parts = []
    for name, (terms, often) in counts.items():
        length = float(often.sum()) / max(mean_lengths[name], 1e-9)
        parts.append((terms, often / (often + K1 * (1 - B + B * length))))
    return _added(parts)


def query_vector(counts: dict[str, Counts], known: TermStatistics | None) -> Weights:
    """Return a query's dimensions and its weights there, float64.

    Args:
        counts: Its terms.
        known: The statistics of the collection; None where the engine multiplies each weight by its own idf.
    """
    parts = []
    for terms, often in counts.values():
        weights = often * (known.idf(terms) if known is not None else 1.0)
        if len(terms):
            parts.append((terms, weights / (weights.sum() * len(counts))))
    return _added(parts)


def _added(parts: Sequence[Weights]) -> Weights:
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0)
    terms, places = np.unique(np.concatenate([own for own, _ in parts]), return_inverse=True)
    weights = np.zeros(len(terms))
    np.add.at(weights, places, np.concatenate([own for _, own in parts]))
    return terms, weights
