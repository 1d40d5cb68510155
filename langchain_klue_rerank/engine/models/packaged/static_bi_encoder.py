"""The packaged bi-encoder: a text's vector is a weighted sum of learned vectors of morphemes and character n-grams.

No neural network and no torch: a word's contribution is the sum of the rows of its features, a text's vector the
sum over its words, damped where a word repeats, and scaled to length one. The features of a word are

- its content morphemes (``form/TAG``), one row each when they are in the vocabulary, else one of a few shared rows, and
- where a morpheme is outside the vocabulary, or there is none, its character bigrams and trigrams, the edges of the
  word included, hashed into shared rows. They carry names and spellings. A word that the vocabulary covers has none:
  they would say only that it is itself, which hides what it means, and lexical search says it already.

Rows have four bits a number and one scale each: many dimensions at few bits keep more of what tells words apart than
few dimensions at many bits. Since words are analysed one by one, a word has the same contribution wherever it
stands; the reranker reads it from `StaticBiEncoder.word_vectors`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.arrays.unit_vectors import from_four_bits
from langchain_klue_rerank.engine.contracts import Kind
from langchain_klue_rerank.engine.models.packaged import static_files
from langchain_klue_rerank.engine.models.packaged.static_files import StaticConfig
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.windows import WINDOW_WORDS, cut_tokens
from langchain_klue_rerank.engine.threads import give_way

# Words are joined by this character, which no word contains; it doubles as the edge of a word in an n-gram.
_EDGE: Final = " "

# How much is worked on at once: words whose features are unpacked together, words added up together (small enough for
# the processor's cache), and word positions of texts.
_WORDS_AT_ONCE: Final = 1 << 14
_SUMS_AT_ONCE: Final = 1 << 9
_POSITIONS_AT_ONCE: Final = 1 << 16
_LOOKED_UP_AT_ONCE: Final = 1 << 11
#: Texts added up between two pauses for searches.
_TEXTS_BETWEEN_PAUSES: Final = 16


class WordFeatures:
    """Numbers the features of words.

    Args:
        vocabulary: Morphemes with a row of their own, in the order of their rows.
        unknown_rows: Shared rows for other morphemes.
        ngram_rows: Shared rows for character n-grams.
    """

    def __init__(self, vocabulary: Sequence[str], unknown_rows: int, ngram_rows: int) -> None:
        self._numbers = {morpheme: number for number, morpheme in enumerate(vocabulary)}
        self._first_unknown = len(vocabulary)
        self._unknown_rows = unknown_rows
        self._first_ngram = len(vocabulary) + unknown_rows
        self._ngram_rows = ngram_rows

    def __call__(self, words: Sequence[str], morphemes: Sequence[Sequence[str]]) -> Ragged:
        """Return the feature rows of each word.

        Args:
            words: Words as `split_words` makes them, none empty.
            morphemes: For each word its content morphemes.

        Returns:
            One row of numbers per word: morphemes first, then bigrams, then trigrams. Never empty.
        """
        counts = np.fromiter(map(len, morphemes), np.int64, len(words))
        known = self._rows(list(chain.from_iterable(morphemes)))
        owners_of_known = np.repeat(np.arange(len(words)), counts)
        uncovered = counts == 0
        uncovered[owners_of_known[known >= self._first_unknown]] = True
        spelled = np.flatnonzero(uncovered)
        rows, owners = _hashed_ngrams([words[number] for number in spelled.tolist()], self._ngram_rows)
        all_rows = np.concatenate([known, rows + self._first_ngram])
        all_owners = np.concatenate([owners_of_known, spelled[owners]])
        order = np.argsort(all_owners, kind="stable")
        offsets = np.zeros(len(words) + 1, np.int64)
        np.cumsum(np.bincount(all_owners, minlength=len(words)), out=offsets[1:])
        return Ragged(all_rows[order].astype(np.int32), offsets)

    def _rows(self, morphemes: Sequence[str]) -> NDArray[np.int64]:
        rows = np.empty(len(morphemes), np.int64)
        for start in range(0, len(morphemes), _LOOKED_UP_AT_ONCE):
            if start:
                give_way()
            some = morphemes[start : start + _LOOKED_UP_AT_ONCE]
            found = rows[start : start + len(some)]
            found[:] = [*map(self._numbers.get, some, repeat(-1))]
            for place in np.flatnonzero(found < 0).tolist():
                # Not Python's hash(), which differs from process to process.
                found[place] = self._first_unknown + zlib.crc32(some[place].encode()) % self._unknown_rows
        return rows


def _hashed_ngrams(words: Sequence[str], buckets: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hash every bigram and trigram of some words, edges included, without a Python loop.

    Args:
        words: None empty, none with a space in it.
        buckets: Number of hash values.

    Returns:
        The hash values, all bigrams before all trigrams, and the number of the word that each belongs to.
    """
    if not words:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    joined = _EDGE + _EDGE.join(words) + _EDGE
    codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32).astype(np.uint64)
    edge = codes == ord(_EDGE)
    owner = np.cumsum(edge) - 1
    pair = _mix(codes[:-1] * np.uint64(0x1F123BB5) + codes[1:])
    # Three characters are one n-gram unless the middle one is the edge between two words.
    inside = ~edge[1:-1]
    triple = _mix(pair[:-1] ^ (codes[2:] * np.uint64(0x9E3779B97F4A7C15)))[inside]
    hashed = np.concatenate([pair, triple]) % np.uint64(buckets)
    return hashed.astype(np.int64), np.concatenate([owner[:-1], owner[:-2][inside]])


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of 64-bit numbers (the finalizer of splitmix64, public domain); overflow is meant."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def repeat_weights(texts: TokenizedTexts, power: float) -> NDArray[np.float32]:
    """Weigh every occurrence of a word so that ``tf`` of them in one text together weigh ``tf ** power``.

    Args:
        texts: The texts.
        power: 1 counts every occurrence fully, 0 only the first.

    Returns:
        float32, one weight per entry of ``texts.word_ids``.
    """
    lengths = np.diff(texts.offsets)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    _, inverse, counts = np.unique(owners * len(texts.words) + texts.word_ids, return_inverse=True, return_counts=True)
    weights: NDArray[np.float32] = (counts.astype(np.float64) ** (power - 1.0)).astype(np.float32)
    return weights[inverse]


class StaticBiEncoder:
    """Texts into vectors by adding up rows of a table.

    Use `load`. An instance is immutable and may be used by several threads at once.

    Args:
        config: The numbers that decide a vector.
        vocabulary: Morphemes in the order of their rows.
        vectors: uint8, (rows, dimension / 2), as `to_four_bits` makes them.
        scales: float32, (rows,): what to multiply each row with.

    Raises:
        ValueError: If the shapes do not fit together.
    """

    def __init__(
        self,
        config: StaticConfig,
        vocabulary: Sequence[str],
        vectors: NDArray[np.uint8],
        scales: NDArray[np.float32],
    ) -> None:
        if len(vocabulary) != config.morphemes:
            raise ValueError(f"The vocabulary has {len(vocabulary)} morphemes; expected {config.morphemes}.")
        expected = (config.rows, config.dimension // 2)
        if vectors.shape != expected or vectors.dtype != np.uint8:
            raise ValueError(f"The vectors are {vectors.dtype} {vectors.shape}; expected uint8 {expected}.")
        if scales.shape != (config.rows,):
            raise ValueError(f"There are {scales.shape} scales for {config.rows} rows.")
        if not np.isfinite(scales).all():
            raise ValueError("There are scales that are no finite numbers.")
        self.config = config
        self._features = WordFeatures(vocabulary, config.unknown_rows, config.ngram_rows)
        self._vectors = vectors
        self._scales = scales.astype(np.float32)

    @classmethod
    def load(cls, folder: Path) -> StaticBiEncoder:
        """Open the weights in a folder; the large array is mapped, not kept in memory.

        Args:
            folder: What `static_files.save` wrote.

        Returns:
            The encoder, ready after some 0.1 s.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the folder holds something else, a newer format, or damaged files.
        """
        return cls(*static_files.read(folder))

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.config.dimension

    def best_cosines(
        self, query: TokenizedTexts, passages: TokenizedTexts, headings: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Return the cosine of a query with the best window of each passage.

        Args:
            query: One text, tokenized with morphemes.
            passages: n texts, tokenized with morphemes.
            headings: See `cut_tokens`. Default: no passage has a title.

        Returns:
            (n,) float32; 0 for a query or passage without words.
        """
        if not len(passages):
            return np.zeros(0, np.float32)
        windows, offsets = cut_tokens(passages, headings or [0] * len(passages), WINDOW_WORDS)
        cosines: NDArray[np.float32] = self.encode(windows) @ self.encode(query)[0]
        return np.maximum.reduceat(cosines, offsets[:-1])

    def word_vectors(self, words: Sequence[str], morphemes: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Return what each word adds to a text's vector.

        Args:
            words: Words as `split_words` makes them.
            morphemes: For each word its content morphemes.

        Returns:
            float32, (number of words, dimension), not normalised: the length is the word's weight. The same word has
            the same vector in every call.
        """
        vectors = np.empty((len(words), self.dimension), np.float32)
        for start in range(0, len(words), _WORDS_AT_ONCE):
            if start:
                give_way()
            part = slice(start, start + _WORDS_AT_ONCE)
            features = self._features(words[part], morphemes[part])
            used, ids = np.unique(features.values, return_inverse=True)
            table = from_four_bits(self._vectors[used], self._scales[used])
            _sum_rows(table, ids, features.offsets, vectors[part])
        return vectors

    def encode(self, texts: TokenizedTexts) -> NDArray[np.float32]:
        """Turn texts into vectors.

        The vector of a text depends on that text alone, to the last bit. Beside the result at most some 400 MB of
        memory are used, however many the texts; a single text of more than 65,536 words needs 2 kB per distinct word.

        Args:
            texts: Texts tokenized with morphemes.

        Returns:
            float32, (number of texts, dimension), each row of length 1; a text without words gets zeros.
        """
        chunks = _text_chunks(texts.offsets)
        if len(chunks) == 1:
            vectors = self._sum_words(texts)
        else:
            vectors = np.zeros((len(texts.offsets) - 1, self.dimension), np.float32)
            for first, last in chunks:
                vectors[first:last] = self._sum_words(texts.take(np.arange(first, last)))
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        vectors /= np.where(norms > 0, norms, 1.0)[:, None]
        return vectors

    def _sum_words(self, texts: TokenizedTexts) -> NDArray[np.float32]:
        by_word = self.word_vectors(texts.words, texts.morphemes)
        weights = repeat_weights(texts, self.config.repeat_power)
        sums = np.zeros((len(texts.offsets) - 1, self.dimension), np.float32)
        for text, (start, end) in enumerate(pairwise(texts.offsets.tolist())):
            if text and not text % _TEXTS_BETWEEN_PAUSES:
                give_way()
            for first in range(start, end, _POSITIONS_AT_ONCE):  # more than one round for enormous texts only
                last = min(first + _POSITIONS_AT_ONCE, end)
                sums[text] += weights[first:last] @ by_word[texts.word_ids[first:last]]
        return sums


def _sum_rows(
    table: NDArray[np.float32], ids: NDArray[np.int64], offsets: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """Add up the rows of a table that each word asks for.

    The words are sorted by how many rows they have and the first rows of all of them are added, then the second rows
    and so on: many times faster than `numpy.add.reduceat`, and always in the same order within a word.

    Args:
        table: float32, (rows, dimension).
        ids: Row numbers, all words one after the other.
        offsets: Word ``i`` has the rows ``ids[offsets[i]:offsets[i + 1]]``.
        out: float32, (words, dimension), overwritten.
    """
    lengths = np.diff(offsets)
    order = np.argsort(-lengths, kind="stable")
    buffer = np.empty((_SUMS_AT_ONCE, table.shape[1]), np.float32)
    for start in range(0, len(order), _SUMS_AT_ONCE):
        if start:
            give_way()
        block = order[start : start + _SUMS_AT_ONCE]
        starts, rising = offsets[block], -lengths[block]
        sums = np.zeros((len(block), table.shape[1]), np.float32)
        for position in range(int(-rising[0])):
            count = int(np.searchsorted(rising, -position, side="left"))  # words with more rows than `position`
            np.take(table, ids[starts[:count] + position], axis=0, out=buffer[:count], mode="clip")
            sums[:count] += buffer[:count]
        out[block] = sums


def _text_chunks(offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut texts into runs of about `_POSITIONS_AT_ONCE` words, at least one text each."""
    chunks, first, count = [], 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + _POSITIONS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), count)
        chunks.append((first, last))
        first = last
    return chunks


class PackagedBiEncoder:
    """A static bi-encoder, the packaged one or one adapted from it, behind the protocol.

    Args:
        model: The loaded model.
    """

    def __init__(self, model: StaticBiEncoder) -> None:
        self.model = model

    def encode(
        self, texts: Sequence[str], kind: Kind, tokens: TokenizedTexts | None = None, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Encode texts; see `BiEncoder`."""
        return self.model.encode(tokens if tokens is not None else tokenize(texts, shared_analyzer()))
