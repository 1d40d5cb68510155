"""BM25 over Kiwi content morphemes and over character bigrams, together.

Why not a library: bm25s computes every score when it indexes, which makes a query very fast and every added or
deleted passage a new index, once for morphemes and once for bigrams, from tokens that somebody has to keep. Here the
tokens are kept anyway, passages come and go, and scores stay exactly those of an index built from the passages that
are left. ``python -m benchmarks.lexical`` prints both side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.files import (
    RESTORE,
    SavedFiles,
    check_offsets,
    check_range,
    write_array,
    write_lines,
    write_ragged,
)
from langchain_klue_rerank.engine.arrays.ragged import Ragged, Vocabulary
from langchain_klue_rerank.engine.index.tokens import TokenStore
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.text.words import bigrams
from langchain_klue_rerank.errors import IndexFormatError

#: Passages whose postings are built at a time; bounds the memory of indexing.
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class _Postings:
    """The postings of a run of passages, by term.

    Attributes:
        offsets: int64: the postings of term ``t`` are those from ``offsets[t]`` to ``offsets[t + 1]``.
        rows: int32, passage numbers, rising within a term.
        frequencies: uint16, how often the term stands in that passage.
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    frequencies: NDArray[np.uint16]

    @classmethod
    def from_keys(cls, keys: NDArray[np.int64], frequencies: NDArray[np.uint16]) -> _Postings:
        """Build from rising keys, each a term number times 2**32 plus a passage number."""
        terms = keys >> 32
        counts = np.bincount(terms) if len(terms) else np.zeros(0, np.int64)
        return cls(np.concatenate([[0], np.cumsum(counts)]), (keys & 0xFFFFFFFF).astype(np.int32), frequencies)

    def keys(self) -> NDArray[np.int64]:
        """Return what `from_keys` was given."""
        terms = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        return (terms << 32) | self.rows

    def of(self, term: int) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """Return passage numbers and frequencies of one term."""
        if term >= len(self.offsets) - 1:
            return self.rows[:0], self.frequencies[:0]
        start, end = self.offsets[term : term + 2]
        return self.rows[start:end], self.frequencies[start:end]


class Bm25Field:
    """BM25 (Robertson and Zaragoza 2009, with Lucene's never negative idf) over one kind of term.

    Args:
        k1: Saturation of the term frequency. Default 1.5.
        b: Strength of the length normalisation, 0..1. Default 0.75.
    """

    def __init__(self, k1: float = 1.5, b: float = 0.75) -> None:
        self.k1 = k1
        self.b = b
        self._segments: list[_Postings] = []
        self._lengths = np.zeros(0, np.float32)
        self._alive = np.zeros(0, bool)
        self._document_frequency = np.zeros(0, np.int64)
        self._norms: NDArray[np.float32] | None = None

    def copy(self) -> Bm25Field:
        """Return a field that changes without changing this one."""
        other = Bm25Field(self.k1, self.b)
        other._segments = self._segments.copy()
        other._lengths, other._norms = self._lengths, self._norms  # replaced, never changed
        other._alive, other._document_frequency = self._alive.copy(), self._document_frequency.copy()
        return other

    @property
    def size(self) -> int:
        """The number of passages, with the removed ones."""
        return len(self._lengths)

    def add(self, passages: Ragged) -> None:
        """Append passages given as term numbers."""
        for start in range(0, len(passages), _CHUNK):
            self._add_chunk(passages.take(np.arange(start, min(start + _CHUNK, len(passages)))))
        self._norms = None

    def _add_chunk(self, passages: Ragged) -> None:
        first = len(self._lengths)
        rows = np.repeat(np.arange(first, first + len(passages)), passages.lengths())
        keys, counts = np.unique((passages.values.astype(np.int64) << 32) | rows, return_counts=True)
        segment = _Postings.from_keys(keys, np.minimum(counts, 65535).astype(np.uint16))
        terms = np.bincount(keys >> 32, minlength=len(self._document_frequency))
        terms[: len(self._document_frequency)] += self._document_frequency
        self._document_frequency = terms
        self._lengths = np.concatenate([self._lengths, passages.lengths().astype(np.float32)])
        self._alive = np.concatenate([self._alive, np.ones(len(passages), bool)])
        # Merging a segment into an older one only when the older is at most twice as long keeps the number of segments
        # logarithmic and the work of adding passages one by one low.
        while self._segments and len(self._segments[-1].rows) <= 2 * len(segment.rows):
            segment = _merge(self._segments.pop(), segment)
        self._segments.append(segment)

    def remove(self, row: int, terms: NDArray[np.int32]) -> None:
        """Take a passage out; its terms no longer count."""
        self._alive[row] = False
        self._document_frequency[np.unique(terms)] -= 1
        self._norms = None

    def scores(self, terms: Mapping[int, int], unknown: int = 0) -> NDArray[np.float32]:
        """Score all passages for a query.

        Args:
            terms: The query's distinct terms, with how often each stands in it.
            unknown: How many of its terms no passage has.

        Returns:
            (n,) float32 in 0..1: the BM25 score divided by its upper bound, the idf mass of all terms of the query,
            known or not, times ``k1 + 1``. This keeps BM25's order and makes scores of different queries comparable.
            Removed passages have 0.
        """
        scores = np.zeros(len(self._lengths), np.float32)
        count = int(self._alive.sum())
        if not (terms or unknown) or not count:
            return scores
        if self._norms is None:
            mean = max(float(self._lengths[self._alive].mean()), 1e-9)
            self._norms = (self.k1 * (1 - self.b + self.b * self._lengths / mean)).astype(np.float32)
        mass = unknown * _idf(0, count)
        for term, times in terms.items():
            frequency = int(self._document_frequency[term]) if term < len(self._document_frequency) else 0
            weight = times * _idf(frequency, count)
            mass += weight
            if not frequency:
                continue
            for segment in self._segments:
                rows, frequencies = segment.of(term)
                scores[rows] += weight * frequencies / (frequencies + self._norms[rows])
        scores[~self._alive] = 0
        return scores / np.float32(mass)

    def save(self, path: Path) -> None:
        """Write the postings; only for an index without removed passages."""
        segment = _Postings.from_keys(np.zeros(0, np.int64), np.zeros(0, np.uint16))
        for other in self._segments:
            segment = _merge(segment, other)
        write_array(path.with_name(path.name + "_offsets"), segment.offsets)
        write_array(path.with_name(path.name + "_rows"), segment.rows)
        write_array(path.with_name(path.name + "_frequencies"), segment.frequencies)
        write_array(path.with_name(path.name + "_lengths"), self._lengths)
        write_array(path.with_name(path.name + "_document_frequency"), self._document_frequency)

    def load(self, files: SavedFiles, name: str, passages: int, terms: int) -> None:
        """Read what `save` wrote; the arrays stay on disk until they are needed.

        Raises:
            IndexFormatError: If it does not hold postings of so many passages and terms.
        """
        offsets = files.array(f"{name}_offsets", np.int64)
        rows = files.array(f"{name}_rows", np.int32)
        frequencies = files.array(f"{name}_frequencies", np.uint16)
        lengths = files.array(f"{name}_lengths", np.float32)
        document_frequency = np.array(files.array(f"{name}_document_frequency", np.int64))
        check_offsets(name, offsets, len(rows))
        check_range(name, rows, passages)
        check_range(name, document_frequency, passages + 1)
        check_range(name, lengths, np.inf)
        if len(frequencies) != len(rows) or len(lengths) != passages or len(offsets) > terms + 1:
            raise IndexFormatError(f"The postings {name!r} are not those of {passages} passages. {RESTORE}")
        if len(document_frequency) != len(offsets) - 1 or (document_frequency != np.diff(offsets)).any():
            raise IndexFormatError(f"The document frequencies of {name!r} are not those of its postings. {RESTORE}")
        self._segments = [_Postings(offsets, rows, frequencies)]
        self._lengths = lengths
        self._alive = np.ones(passages, bool)
        self._document_frequency = document_frequency
        self._norms = None


def _idf(frequency: int, passages: int) -> float:
    """Return the inverse document frequency of a term, never negative."""
    return float(np.log1p((passages - frequency + 0.5) / (frequency + 0.5)))


def _merge(older: _Postings, newer: _Postings) -> _Postings:
    keys = np.concatenate([older.keys(), newer.keys()])
    order = np.argsort(keys, kind="stable")  # two sorted runs: linear
    return _Postings.from_keys(keys[order], np.concatenate([older.frequencies, newer.frequencies])[order])


class LexicalIndex:
    """Lexical search over the tokens of a `TokenStore`.

    Args:
        tokens: The passages' tokens, shared with the other engines; passages that it already holds are indexed.
        morphemes: Whether to search content morphemes beside the bigrams. Default True; without, no Kiwi is needed.
    """

    def __init__(self, tokens: TokenStore, *, morphemes: bool = True) -> None:
        self._tokens = tokens
        self._bigrams = Vocabulary()
        self._word_bigrams = Ragged.empty()
        self._bigram_field = Bm25Field()
        self._morpheme_field = Bm25Field() if morphemes else None
        self._known = 0
        self.update()

    def copy(self, tokens: TokenStore) -> LexicalIndex:
        """Return an index that changes without changing this one.

        Args:
            tokens: The copy of the tokens.
        """
        other = LexicalIndex(TokenStore(), morphemes=self._morpheme_field is not None)
        other._tokens = tokens
        other._bigrams, other._word_bigrams = self._bigrams.copy(), self._word_bigrams
        other._bigram_field = self._bigram_field.copy()
        if self._morpheme_field is not None:
            other._morpheme_field = self._morpheme_field.copy()
        other._known = self._known
        return other

    @property
    def size(self) -> int:
        """The number of passages, with the removed ones; of fields that differ, the smaller one."""
        fields = [self._bigram_field, *([self._morpheme_field] if self._morpheme_field is not None else [])]
        return min(field.size for field in fields)

    def update(self) -> None:
        """Index the passages that were added to the token store since the last call."""
        if self._known == len(self._tokens):
            return
        new_words = self._tokens.words.strings[len(self._word_bigrams) :]
        self._word_bigrams = self._word_bigrams.extend(
            Ragged.from_rows(self._bigrams.add(bigrams(word)) for word in new_words)
        )
        passages = self._tokens.passages.take(np.arange(self._known, len(self._tokens)))
        self._bigram_field.add(passages.through(self._word_bigrams))
        if self._morpheme_field is not None:
            self._morpheme_field.add(passages.through(self._tokens.word_morphemes))
        self._known = len(self._tokens)

    def remove(self, row: int) -> None:
        """Take a passage out of search."""
        passage = self._tokens.passages.take(np.asarray([row]))
        self._bigram_field.remove(row, passage.through(self._word_bigrams).values)
        if self._morpheme_field is not None:
            self._morpheme_field.remove(row, passage.through(self._tokens.word_morphemes).values)

    def scores(self, query: TokenizedTexts) -> NDArray[np.float32]:
        """Score all passages for each query.

        Args:
            query: m queries.

        Returns:
            (m, n) float32 in 0..1: the mean of the two kinds of terms' scores (see `Bm25Field.scores`); 0 where no term
            of the query occurs.
        """
        scores = np.zeros((len(query), len(self._tokens)), np.float32)
        for number in range(len(query)):
            own = query.word_ids[query.offsets[number] : query.offsets[number + 1]]
            distinct, counts = np.unique(own, return_counts=True)
            words = list(zip(distinct.tolist(), counts.tolist(), strict=True))
            grams = [(gram, times) for word, times in words for gram in bigrams(query.words[word])]
            scores[number] = self._bigram_field.scores(*_distinct(grams, self._bigrams.numbers))
            if self._morpheme_field is not None:
                morphemes = [(one, times) for word, times in words for one in query.morphemes[word]]
                scores[number] += self._morpheme_field.scores(*_distinct(morphemes, self._tokens.morphemes.numbers))
        if self._morpheme_field is not None:
            scores /= 2
        return scores

    def save(self, folder: Path) -> None:
        """Write everything but the tokens into a folder."""
        write_lines(folder / "bigrams.txt", self._bigrams.strings)
        write_ragged(folder / "word_bigrams", self._word_bigrams)
        self._bigram_field.save(folder / "bigram")
        if self._morpheme_field is not None:
            self._morpheme_field.save(folder / "morpheme")

    @classmethod
    def load(cls, files: SavedFiles, tokens: TokenStore, *, morphemes: bool = True) -> LexicalIndex:
        """Read what `save` wrote for the same tokens."""
        index = cls(TokenStore(), morphemes=morphemes)
        index._tokens = tokens
        index._bigrams = Vocabulary(files.lines("lexical/bigrams.txt"))
        index._word_bigrams = files.ragged("lexical/word_bigrams", len(tokens.words), len(index._bigrams))
        index._bigram_field.load(files, "lexical/bigram", len(tokens), len(index._bigrams))
        if index._morpheme_field is not None:
            index._morpheme_field.load(files, "lexical/morpheme", len(tokens), len(tokens.morphemes))
        index._known = len(tokens)
        return index


def _distinct(terms: Iterable[tuple[str, int]], numbers: Mapping[str, int]) -> tuple[dict[int, int], int]:
    """Return the distinct terms' numbers with how often each is there, and how many terms have no number."""
    known: dict[int, int] = {}
    unknown = 0
    for term, times in terms:
        number = numbers.get(term)
        if number is None:
            unknown += times
        else:
            known[number] = known.get(number, 0) + times
    return known, unknown
