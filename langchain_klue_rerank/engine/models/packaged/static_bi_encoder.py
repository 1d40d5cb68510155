"""The packaged bi-encoder: a text's vector is a weighted sum of learned vectors of morphemes and character n-grams.

There is no network and no torch: a word's contribution is the sum of the rows of its features, a text's vector the
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

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.files import SavedFiles, map_file, read_small, write_array
from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

FORMAT: Final = "klue-static-bi-encoder"
#: Raised when a reader of the old version would misread the new files. 2: n-grams of uncovered words only.
FORMAT_VERSION: Final = 2

CONFIG_FILE: Final = "config.json"
VOCABULARY_FILE: Final = "vocabulary.txt"
VECTORS_FILE: Final = "vectors.npy"
SCALES_FILE: Final = "scales.npy"

_FILES: Final = (VECTORS_FILE, SCALES_FILE, VOCABULARY_FILE)
#: Largest configuration that is read, in bytes, and most dimensions.
_CONFIG_BYTES: Final = 1 << 20
_MOST_DIMENSIONS: Final = 1 << 14

# Words are joined by this character, which no word contains; it doubles as the edge of a word in an n-gram.
_EDGE: Final = " "

# How much is worked on at once: words whose features are unpacked together, words added up together (small enough for
# the processor's cache), and word positions of texts.
_WORDS_AT_ONCE: Final = 1 << 14
_SUMS_AT_ONCE: Final = 1 << 9
_POSITIONS_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class StaticConfig:
    """What, beside the arrays, decides a vector.

    Attributes:
        dimension: Length of a vector, an even number.
        morphemes: Size of the vocabulary.
        unknown_rows: Shared rows for morphemes outside the vocabulary.
        ngram_rows: Shared rows for character bigrams and trigrams.
        repeat_power: A word that occurs ``tf`` times in a text counts ``tf ** repeat_power`` times.
    """

    dimension: int
    morphemes: int
    unknown_rows: int
    ngram_rows: int
    repeat_power: float

    def __post_init__(self) -> None:
        for name, least in (("dimension", 2), ("morphemes", 0), ("unknown_rows", 1), ("ngram_rows", 1)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value < 1 << 31:
                raise ValueError(f"{name} is {value!r}; expected a whole number from {least} up.")
        if self.dimension % 2 or self.dimension > _MOST_DIMENSIONS:
            raise ValueError(f"dimension is {self.dimension}; expected an even number up to {_MOST_DIMENSIONS}.")
        if type(self.repeat_power) not in (int, float) or not 0 <= self.repeat_power <= 1:
            raise ValueError(f"repeat_power is {self.repeat_power!r}; expected a number in 0..1.")

    @property
    def rows(self) -> int:
        """Rows of the table: the vocabulary, then the unknown, then the n-grams."""
        return self.morphemes + self.unknown_rows + self.ngram_rows


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
        counts = np.fromiter((len(found) for found in morphemes), np.int64, len(words))
        known = np.fromiter((self._row(morpheme) for found in morphemes for morpheme in found), np.int64, counts.sum())
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

    def _row(self, morpheme: str) -> int:
        number = self._numbers.get(morpheme)
        if number is None:
            # Not Python's hash(), which differs from process to process.
            number = self._first_unknown + zlib.crc32(morpheme.encode()) % self._unknown_rows
        return number


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
    owners = np.repeat(np.arange(len(texts)), texts.lengths())
    _, inverse, counts = np.unique(owners * len(texts.words) + texts.word_ids, return_inverse=True, return_counts=True)
    weights: NDArray[np.float32] = (counts.astype(np.float64) ** (power - 1.0)).astype(np.float32)
    return weights[inverse]


class StaticBiEncoder:
    """Texts into vectors by adding up rows of a table.

    Use `load`. An instance is immutable and may be used by several threads at once.

    Args:
        config: The numbers that decide a vector.
        vocabulary: Morphemes in the order of their rows.
        vectors: uint8, (rows, dimension / 2), as `pack` makes them.
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

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Whether a folder holds weights in this format, whole or damaged; no other kind of model has such files."""
        return (folder / VECTORS_FILE).is_file() or (folder / SCALES_FILE).is_file()

    @classmethod
    def load(cls, folder: Path) -> StaticBiEncoder:
        """Open the weights in a folder; the large array is mapped, not kept in memory.

        Args:
            folder: What `save` wrote.

        Returns:
            The encoder, ready after some 0.1 s.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the folder holds something else, a newer format, or damaged files.
        """
        folder = Path(folder)
        try:
            settings = json.loads(read_small(folder / CONFIG_FILE, _CONFIG_BYTES))
        except RecursionError as error:
            raise ValueError(f"{folder / CONFIG_FILE} is nested too deeply.") from error
        if not isinstance(settings, dict) or settings.get("format") != FORMAT:
            raise ValueError(f"{folder / CONFIG_FILE} does not describe a {FORMAT}.")
        if settings.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"The weights in {folder} have format version {settings.get('format_version')}; this release reads "
                f"version {FORMAT_VERSION}. Update langchain-klue-rerank or use the weights of this release."
            )
        names = StaticConfig.__dataclass_fields__
        missing = [name for name in names if name not in settings]
        if missing:
            raise ValueError(f"{folder / CONFIG_FILE} lacks {', '.join(missing)}.")
        config = StaticConfig(**{name: settings[name] for name in names})
        checksums = settings.get("sha256")
        if not isinstance(checksums, dict) or set(checksums) != set(_FILES):
            raise ValueError(f"{folder / CONFIG_FILE} lacks the checksums of {', '.join(_FILES)}. Make it again.")
        files = SavedFiles({name: map_file(folder / name) for name in _FILES}, str(folder))
        for name in _FILES:
            if hashlib.sha256(files.content(name)).hexdigest() != checksums[name]:
                raise ValueError(f"{folder / name} was edited or damaged. Restore it from a copy, or make it again.")
        return cls(
            config,
            list(files.lines(VOCABULARY_FILE)),
            files.array(VECTORS_FILE.removesuffix(".npy"), np.uint8, ndim=2),
            files.array(SCALES_FILE.removesuffix(".npy"), np.float32),
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.config.dimension

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
            part = slice(start, start + _WORDS_AT_ONCE)
            features = self._features(words[part], morphemes[part])
            used, ids = np.unique(features.values, return_inverse=True)
            table = unpack(self._vectors[used], self._scales[used])
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
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for first, last in _text_chunks(texts.offsets):
            vectors[first:last] = self._sum_words(texts.take(np.arange(first, last)))
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        vectors /= np.where(norms > 0, norms, 1.0)[:, None]
        return vectors

    def _sum_words(self, texts: TokenizedTexts) -> NDArray[np.float32]:
        by_word = self.word_vectors(texts.words, texts.morphemes)
        weights = repeat_weights(texts, self.config.repeat_power)
        sums = np.zeros((len(texts), self.dimension), np.float32)
        for text, (start, end) in enumerate(pairwise(texts.offsets.tolist())):
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
        block = order[start : start + _SUMS_AT_ONCE]
        starts, rising = offsets[block], -lengths[block]
        sums = np.zeros((len(block), table.shape[1]), np.float32)
        for position in range(int(-rising[0])):
            count = int(np.searchsorted(rising, -position, side="left"))  # words with more rows than `position`
            np.take(table, ids[starts[:count] + position], axis=0, out=buffer[:count], mode="clip")
            sums[:count] += buffer[:count]
        out[block] = sums


def _text_chunks(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut texts into runs of about `_POSITIONS_AT_ONCE` words, at least one text each."""
    first, count = 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + _POSITIONS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield first, last
        first = last


def pack(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantize rows to four bits.

    Args:
        vectors: float32, (rows, dimension), an even dimension.

    Returns:
        uint8, (rows, dimension / 2), the first half of a row in the low four bits and the second half in the high ones,
        each a number -7..7 plus 8; and float32, (rows,), the scale of each row. Of several scales the one with the
        smallest squared error is taken: cutting off the few largest numbers lets all others be finer.
    """
    largest = np.maximum(np.abs(vectors).max(axis=1), 1e-12)
    best = np.full(len(vectors), np.inf, np.float32)
    scales = np.zeros(len(vectors), np.float32)
    for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        trial = (largest * (share / 7.0)).astype(np.float32)
        numbers = np.clip(np.rint(vectors / trial[:, None]), -7, 7)
        error = ((numbers * trial[:, None] - vectors) ** 2).sum(axis=1)
        better = error < best
        best[better], scales[better] = error[better], trial[better]
    codes = (np.clip(np.rint(vectors / scales[:, None]), -7, 7) + 8).astype(np.uint8)
    half = vectors.shape[1] // 2
    return codes[:, :half] | (codes[:, half:] << 4), scales


def unpack(packed: NDArray[np.uint8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo `pack`: float32, (rows, dimension)."""
    half = packed.shape[1]
    vectors = np.empty((len(packed), 2 * half), np.float32)
    vectors[:, :half] = packed & 15
    vectors[:, half:] = packed >> 4
    vectors -= 8.0
    vectors *= scales[:, None]
    return vectors


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(
    folder: Path,
    config: StaticConfig,
    vocabulary: Sequence[str],
    vectors: NDArray[np.float32],
    about: dict[str, object],
) -> None:
    """Quantize vectors to four bits and write a folder that `StaticBiEncoder.load` opens.

    Args:
        folder: An existing folder; files of the same names are replaced.
        config: The numbers that decide a vector.
        vocabulary: Morphemes in the order of their rows.
        vectors: float32, (rows, dimension).
        about: Further JSON-serialisable entries for the configuration, for people to read.
    """
    packed, scales = pack(vectors)
    write_array(folder / VECTORS_FILE, packed)
    write_array(folder / SCALES_FILE, scales)
    (folder / VOCABULARY_FILE).write_text("".join(f"{morpheme}\n" for morpheme in vocabulary), encoding="utf-8")
    checksums = {name: _sha256(folder / name) for name in (VECTORS_FILE, SCALES_FILE, VOCABULARY_FILE)}
    settings = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **asdict(config),
        "sha256": checksums,
        "about": about,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
