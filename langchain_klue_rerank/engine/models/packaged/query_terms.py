"""Query features of the packaged reranker: terms, weights, similar terms."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.packaged.exact_features import ExactTerms, exact_terms
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.text.words import bigrams_of

#: Terms -> inverse document frequencies in 0..1.
Idf = Callable[[list[str]], NDArray[np.float32]]

#: The heaviest terms and bigrams of a query that are looked at; the rest of a query of several paragraphs is ignored.
MAX_TERMS: Final = 32
MAX_BIGRAMS: Final = 96
#: Tags of morphemes whose share near the matches is an input: names, numbers, counting units, ...
EVIDENCE_TAGS: Final = ("NNP", "SN", "NNB", "NR", "SL", "SH", "VV", "VA", "NNG")
#: Beginnings of question words, by what they ask for: who, when, where, how many, why, how, what, which, what name.
QUESTION_WORDS: Final[tuple[tuple[str, ...], ...]] = (
    ("누구", "누가", "누굴", "누군"),
    ("언제", "몇년", "몇월", "며칠"),
    ("어디", "어느곳"),
    ("몇", "얼마"),
    ("왜", "이유", "까닭", "원인"),
    ("어떻", "방법", "어찌"),
    ("무엇", "무슨", "뭐", "뭔", "뭘", "무어"),
    ("어느", "어떤"),
    ("이름", "명칭"),
)
#: Groups of tags told apart in a term: common noun, proper noun, verb or adjective, number or foreign, pronoun.
TERM_TAGS: Final[tuple[tuple[str, ...], ...]] = (
    ("NNG",),
    ("NNP",),
    ("VV", "VA", "XR"),
    ("SN", "NR", "SL", "SH"),
    ("NP", "MM"),
)
#: Numbers that describe a query term: idf, share of the query's idf, idf relative to the heaviest, place, whether in
#: the last word; tag groups; whether in a question word.
TERM_FEATURES: Final = 5 + len(TERM_TAGS) + 1


class TermStatistics:
    """In how many texts a term stands, from a hashed table: weights of terms when there is no corpus.

    Args:
        table: uint8, its size a power of two: 0 for a term of at most one text, else
            ``1 + steps * log2(document frequency)``, rounded. Of terms that share a slot the more frequent one counts.
        documents: How many texts were counted.
        steps: Steps per doubling.
    """

    def __init__(self, table: NDArray[np.uint8], documents: int, steps: float) -> None:
        self.table = table
        self.documents = documents
        self.steps = steps
        codes = np.arange(256)
        frequency = np.where(codes > 0, 2 ** ((codes - 1) / steps), 0.5)
        idf = np.log1p(np.maximum(documents - frequency + 0.5, 0) / (frequency + 0.5))
        self._idf = np.clip(idf / math.log1p(documents), 0.01, 1).astype(np.float32)

    def idf(self, terms: list[str]) -> NDArray[np.float32]:
        """Return BM25's inverse document frequency of each term, scaled to 0..1."""
        slots = [self.slot(term, len(self.table)) for term in terms]
        return self._idf[self.table[slots]] if slots else np.zeros(0, np.float32)

    @staticmethod
    def slot(term: str, size: int) -> int:
        """Return where a table of that size keeps a term. Python's own hash differs from process to process."""
        return zlib.crc32(term.encode()) & (size - 1)


class TermVectors:
    """Vectors whose products tell how alike two morphemes are.

    Args:
        vocabulary: Morphemes (``form/TAG``) in the order of their rows.
        vectors: int8, (morphemes, dimension): unit vectors times 127. Sums of products of such numbers are exact in
            float32, so that they do not depend on the shape of the product that they are computed in.
    """

    def __init__(self, vocabulary: Sequence[str], vectors: NDArray[np.int8]) -> None:
        if vectors.ndim != 2 or len(vectors) != len(vocabulary) or vectors.dtype != np.int8:
            raise ValueError(f"Vectors are {vectors.dtype} {vectors.shape} for a vocabulary of {len(vocabulary)}.")
        self.numbers = {morpheme: number for number, morpheme in enumerate(vocabulary)}
        self._vectors = vectors

    def take(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows, (rows, dimension); zeros for the number -1."""
        vectors = self._vectors[numbers].astype(np.float32)
        vectors[numbers < 0] = 0
        return vectors


@dataclass(frozen=True, slots=True)
class QueryTerms:
    """A query, made ready to be looked for.

    Attributes:
        words: Its distinct words.
        term_index: Term -> column. Terms are the content morphemes, and words that have none.
        bigram_index: Character bigram -> column.
        term_idf: float32, shape (terms,).
        bigram_idf: float32, shape (bigrams,).
        term_word: int64, shape (terms,): the number of the (last) word in which the term stands.
        word_bigrams: float32, shape (bigrams, words): one over the number of the word's bigrams, where it has it.
        neighbours: int64, shape (neighbours, 2): terms of which the second follows the first.
        descriptors: float32, shape (terms, `TERM_FEATURES`).
        question: float32, shape (kinds of question words,): which of them occur.
        vectors: float32, shape (terms, dimension): see `TermVectors`.
        exact: Its exact parts: numbers, quoted forms, words in order.
    """

    words: list[str]
    term_index: dict[str, int]
    bigram_index: dict[str, int]
    term_idf: NDArray[np.float32]
    bigram_idf: NDArray[np.float32]
    term_word: NDArray[np.int64]
    word_bigrams: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    descriptors: NDArray[np.float32]
    question: NDArray[np.float32]
    vectors: NDArray[np.float32]
    exact: ExactTerms


def prepare_query(query: TokenizedTexts, idf: Idf, vectors: TermVectors, text: str = "") -> QueryTerms:
    """Make a query ready.

    Args:
        query: One tokenized text with at least one word.
        idf: Weights of terms and bigrams.
        vectors: Vectors that tell how similar two terms are.
        text: The query as it was written, for what it quotes.

    Returns:
        The query's terms.
    """
    ids = query.word_ids.tolist()
    local = {number: place for place, number in enumerate(dict.fromkeys(ids))}
    words = [query.words[number] for number in local]
    sequence = [(unit, local[i]) for i in ids for unit in query.morphemes[i] or (query.words[i],)]
    term_index, term_idf = _heaviest([unit for unit, _ in sequence], idf, MAX_TERMS)
    bigrams = bigrams_of(words)
    bigram_index, bigram_idf = _heaviest(list(chain.from_iterable(bigrams)), idf, MAX_BIGRAMS)
    word_bigrams = np.zeros((len(bigram_index), len(words)), np.float32)
    for column, grams in enumerate(map(set, bigrams)):
        word_bigrams[[bigram_index[gram] for gram in grams if gram in bigram_index], column] = 1 / len(grams)
    order = [term_index[unit] for unit, _ in sequence if unit in term_index]
    neighbours = sorted({(a, b) for a, b in pairwise(order) if a != b})
    numbers = np.array([vectors.numbers.get(term, -1) for term in term_index], np.int64)
    term_word = np.zeros(len(term_index), np.int64)
    for unit, word in sequence:
        if unit in term_index:
            term_word[term_index[unit]] = word
    return QueryTerms(
        words=words,
        term_index=term_index,
        bigram_index=bigram_index,
        term_idf=term_idf,
        bigram_idf=bigram_idf,
        term_word=term_word,
        word_bigrams=word_bigrams,
        neighbours=np.array(neighbours, np.int64).reshape(-1, 2),
        descriptors=_descriptors(sequence, words, term_index, term_idf),
        question=np.array([any(word.startswith(kind) for word in words) for kind in QUESTION_WORDS], np.float32),
        vectors=vectors.take(numbers),
        exact=exact_terms([query.words[number] for number in ids], text),
    )


def _heaviest(strings: list[str], idf: Idf, limit: int) -> tuple[dict[str, int], NDArray[np.float32]]:
    """Number the distinct strings in order, at most `limit` of them, those of the highest idf."""
    distinct = list(dict.fromkeys(strings))
    weights = idf(distinct)
    if len(distinct) > limit:
        keep = np.sort(np.argsort(-weights, kind="stable")[:limit])
        distinct, weights = [distinct[i] for i in keep.tolist()], weights[keep]
    return {string: i for i, string in enumerate(distinct)}, weights


def _descriptors(
    sequence: list[tuple[str, int]], words: list[str], term_index: dict[str, int], term_idf: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Describe each term, (terms, `TERM_FEATURES`); of a repeated term the last place counts."""
    descriptors = np.zeros((len(term_index), TERM_FEATURES), np.float32)
    total, heaviest = max(float(term_idf.sum()), 1e-6), max(float(term_idf.max(initial=0)), 1e-6)
    for place, (unit, word) in enumerate(sequence):
        row = term_index.get(unit)
        if row is None:
            continue
        idf, tag = float(term_idf[row]), unit.rpartition("/")[2]
        relative_place = place / max(len(sequence) - 1, 1)
        descriptors[row, :5] = (idf, idf / total, idf / heaviest, relative_place, word == len(words) - 1)
        descriptors[row, 5:-1] = [tag in tags for tags in TERM_TAGS]
        descriptors[row, -1] = any(words[word].startswith(kind) for kind in QUESTION_WORDS)
    return descriptors


@dataclass(frozen=True, slots=True)
class WordMatches:
    """What the distinct words of some passages have in common with a query.

    Attributes:
        hits: bool, (words, terms + bigrams): which terms and bigrams of the query a word has.
        evidence: int8, (words, tags): tags of the words that have no term of the query.
        same: float32, (words, query words): equal words.
        similar: float32, (words, terms): the greatest similarity of any morpheme of the word, 0..1.
    """

    hits: NDArray[np.bool_]
    evidence: NDArray[np.int8]
    same: NDArray[np.float32]
    similar: NDArray[np.float32]


def match_words(
    query: QueryTerms, words: list[str], morphemes: list[tuple[str, ...]], vectors: TermVectors
) -> WordMatches:
    """Match distinct words of passages with a query.

    Args:
        query: What `prepare_query` made.
        words: Distinct words.
        morphemes: Those of each word.
        vectors: The same as for `prepare_query`.
    """
    term_index, bigram_index, vector_number = query.term_index, query.bigram_index, vectors.numbers.get
    terms = len(term_index)
    word_index = {word: i for i, word in enumerate(query.words)}
    # The last three characters of "부산/NNP" and "가/VV" name the tag.
    tag_index = {f"/{tag}"[-3:]: i for i, tag in enumerate(EVIDENCE_TAGS)}
    characters = frozenset("".join(bigram_index))
    hit_rows: list[int] = []
    hit_columns: list[int] = []
    tag_rows: list[int] = []
    tag_columns: list[int] = []
    unit_numbers: list[int] = []
    unit_counts: list[int] = []
    same = np.zeros((len(words), len(query.words)), np.float32)
    for row, (word, parts) in enumerate(zip(words, morphemes, strict=True)):
        units = parts or (word,)
        unit_counts.append(len(units))
        for unit in units:
            unit_numbers.append(vector_number(unit, -1))
            if unit in term_index:
                hit_rows.append(row)
                hit_columns.append(term_index[unit])
            tag = tag_index.get(unit[-3:])
            if tag is not None:
                tag_rows.append(row)
                tag_columns.append(tag)
        if characters.isdisjoint(word):  # most words; saves a third of this loop's time
            continue
        for i in range(len(word) - 1 or 1):
            column = bigram_index.get(word[i : i + 2])
            if column is not None:
                hit_rows.append(row)
                hit_columns.append(terms + column)
        if word in word_index:
            same[row, word_index[word]] = 1
    hits = np.zeros((len(words), terms + len(bigram_index)), bool)
    hits[hit_rows, hit_columns] = True
    evidence = np.zeros((len(words), len(EVIDENCE_TAGS)), np.int8)
    evidence[tag_rows, tag_columns] = 1
    evidence[hits[:, :terms].any(axis=1)] = 0  # what the query says itself answers nothing

    similar = np.zeros((len(words), terms), np.float32)
    if words:
        distinct, inverse = np.unique(np.array(unit_numbers, np.int64), return_inverse=True)
        products = np.maximum(vectors.take(distinct) @ query.vectors.T / np.float32(127 * 127), 0)[inverse]
        starts = np.concatenate([[0], np.cumsum(unit_counts)[:-1]])
        similar = np.minimum(np.maximum.reduceat(products, starts, axis=0), 1)
        similar[hits[:, :terms]] = 1
    return WordMatches(hits, evidence, same, similar)
