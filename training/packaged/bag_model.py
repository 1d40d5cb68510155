"""The packaged bi-encoder while it learns: tasks as text numbers, texts as sparse rows, the table and its optimizer.

`training.packaged.bi_encoder` is the recipe that uses this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import spearmanr

from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import WordFeatures, repeat_weights
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.text.words import split_words
from training import data as sets
from training.packaged.morpheme_vectors import unit


@dataclass
class Task:
    """Rows of text numbers; `kind` is ``pairs`` (query, passage), ``triplets`` or ``scored``.

    Attributes:
        left, right: Text numbers.
        extra: For triplets the text number of the negative or -1; for scored pairs the score.
        anchor: For pairs, which word of the passage answers, or -1.
    """

    kind: str
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    extra: NDArray[np.float64]
    anchor: NDArray[np.int64]


@dataclass
class Imitated:
    """Texts, and what another model makes of them.

    Attributes:
        corpus: The texts.
        vectors: float32, (texts, dimension), less their mean, rows of length 1.
    """

    corpus: Corpus
    vectors: NDArray[np.float32]

    @classmethod
    def of(cls, corpus: Corpus, vectors: NDArray[np.float32]) -> Imitated:
        """Take the vectors' mean out, which is most of what a transformer's cosines tell."""
        return cls(corpus, unit(vectors - vectors.mean(axis=0)))


class TextTable:
    """Numbers texts while the tasks are built."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def add(self, text: str) -> int:
        """Return the number of a text."""
        return self.numbers.setdefault(text, len(self.numbers))

    def pairs(self, pairs: list[sets.Pair]) -> Task:
        """Make a task of pairs."""
        anchors = []
        for pair in pairs:
            position = pair.passage.find(pair.answer) if pair.answer else -1
            anchors.append(len(split_words(pair.passage[:position])) if position >= 0 else -1)
        left = np.asarray([self.add(pair.query) for pair in pairs])
        right = np.asarray([self.add(pair.passage) for pair in pairs])
        return Task("pairs", left, right, np.zeros(len(pairs)), np.asarray(anchors))

    def scored(self, pairs: list[sets.ScoredPair]) -> Task:
        """Make a task of scored pairs."""
        left = np.asarray([self.add(pair.first) for pair in pairs])
        right = np.asarray([self.add(pair.second) for pair in pairs])
        return Task("scored", left, right, np.asarray([p.score for p in pairs]), np.full(len(pairs), -1))

    def triplets(self, triplets: list[sets.Triplet]) -> Task:
        """Make a task of triplets."""
        left = np.asarray([self.add(t.anchor) for t in triplets])
        right = np.asarray([self.add(t.positive) for t in triplets])
        negative = [self.add(t.negative) if t.negative else -1 for t in triplets]
        return Task("triplets", left, right, np.asarray(negative, np.float64), np.full(len(triplets), -1))


class Corpus:
    """All texts as sparse rows of features.

    Args:
        texts: The tokenized texts.
        features: (words, rows): how often each feature occurs in each distinct word.
        titles: How many words of each text are its title, 0 when it has none.
        power: How the repeats of a word count, as in `StaticConfig.repeat_power`.
    """

    def __init__(
        self, texts: TokenizedTexts, features: sparse.csr_matrix, titles: NDArray[np.int64], power: float
    ) -> None:
        self.texts = texts
        self.features = features
        self.titles = titles
        self.power = power

    def matrix(self, slices: list[NDArray[np.int32]]) -> sparse.csr_matrix:
        """Return the features of texts given as word numbers, (texts, rows), float32."""
        offsets = np.zeros(len(slices) + 1, np.int64)
        np.cumsum([len(s) for s in slices], out=offsets[1:])
        ids = np.concatenate(slices)
        weights = repeat_weights(TokenizedTexts(self.texts.words, [], ids, offsets), self.power)
        shape = (len(slices), self.features.shape[0])
        return sparse.csr_matrix((weights, ids, offsets), shape=shape) @ self.features

    def words(self, text: int) -> NDArray[np.int32]:
        """Return the words of a text as numbers."""
        return self.texts.word_ids[self.texts.offsets[text] : self.texts.offsets[text + 1]]

    def crop(self, text: int, anchor: int, size: int, title: bool, generator: np.random.Generator) -> NDArray[np.int32]:
        """Return the words of a random window.

        Args:
            text: The text's number.
            anchor: A word that the window contains, by its place in the text; -1 for any window.
            size: Words in the window; a shorter text is returned whole.
            title: Whether to put the text's title before the window.
            generator: Where chance comes from.
        """
        words = self.words(text)
        if len(words) <= size:
            return words
        lowest, highest = 0, len(words) - size
        if anchor >= 0:
            lowest, highest = max(0, anchor - size + 3), min(anchor, highest)
        start = int(generator.integers(lowest, max(lowest, highest) + 1))
        before = words[: min(self.titles[text], start)] if title else words[:0]
        return np.concatenate([before, words[start : start + size]])

    def without_shared(self, words: NDArray[np.int32], others: NDArray[np.int32]) -> NDArray[np.int32]:
        """Leave out words that share a feature with any of the others; but all stay where less than three would."""
        offsets, rows = self.features.indptr, self.features.indices
        shared = {row for word in others.tolist() for row in rows[offsets[word] : offsets[word + 1]].tolist()}
        kept = [word for word in words.tolist() if shared.isdisjoint(rows[offsets[word] : offsets[word + 1]].tolist())]
        return np.asarray(kept, np.int32) if len(kept) >= 3 else words

    def some_words(self, text: int, longest: int, generator: np.random.Generator) -> NDArray[np.int32]:
        """Return 2 to 8 words out of the first `longest` of a text: half the time in a row, else from anywhere."""
        words = self.words(text)[:longest]
        size = min(len(words), int(generator.integers(2, 9)))
        if generator.random() < 0.5:
            start = int(generator.integers(0, len(words) - size + 1))
            return words[start : start + size]
        return words[generator.choice(len(words), size=size, replace=False)]


def drop_words(words: NDArray[np.int32], share: float, generator: np.random.Generator) -> NDArray[np.int32]:
    """Leave out a random share of the words, but never all."""
    kept = words[generator.random(len(words)) >= share]
    return kept if len(kept) else words


def feature_matrix(features: WordFeatures, texts: TokenizedTexts, rows: int) -> sparse.csr_matrix:
    """Return (words, rows): which features each distinct word has."""
    ragged = features(texts.words, texts.morphemes)
    values = np.ones(len(ragged.values), np.float32)
    matrix = sparse.csr_matrix((values, ragged.values, ragged.offsets), shape=(len(texts.words), rows))
    matrix.sum_duplicates()
    return matrix


class Table:
    """Row weights times directions, and a lazy Adam that updates only the rows of a batch.

    A row is its weight times its direction, learned apart: Adam moves every number by about the learning rate, which
    would be far too much for the short rows of common features and too little for rare ones.

    Args:
        vectors: float32, (rows, dimension): the start.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        length = np.maximum(np.linalg.norm(vectors, axis=1), 1e-6)
        self.log_weight = np.log(length)
        self.direction = vectors / length[:, None]
        self.first = np.zeros_like(vectors)
        self.second = np.zeros_like(vectors)
        self.weight_first = np.zeros_like(length)
        self.weight_second = np.zeros_like(length)
        self.touched = np.zeros(len(vectors), np.int32)
        self.step = 0

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some rows, weight times direction."""
        vectors: NDArray[np.float32] = self.direction[rows] * np.exp(self.log_weight[rows])[:, None]
        return vectors

    def store(self, path: Path) -> None:
        """Write everything, completely or not at all."""
        part = path.with_suffix(".part.npz")
        np.savez(part, **self.__dict__)
        part.replace(path)

    def restore(self, path: Path) -> None:
        """Read what `store` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            for name, value in stored.items():
                setattr(self, name, value if value.ndim else value.item())

    @property
    def vectors(self) -> NDArray[np.float32]:
        """All rows, weight times direction: float32, (rows, dimension)."""
        vectors: NDArray[np.float32] = self.direction * np.exp(self.log_weight)[:, None]
        return vectors

    def update(
        self, rows: NDArray[np.int64], gradient: NDArray[np.float32], direction_rate: float, weight_rate: float
    ) -> None:
        """Take one step of Adam on the rows of a batch.

        Args:
            rows: Distinct row numbers.
            gradient: float32, (rows, dimension): of the loss by the rows as `rows` returns them.
            direction_rate: Learning rate of the directions.
            weight_rate: Learning rate of the logarithms of the weights.
        """
        self.step += 1
        self.touched[rows] += 1
        one, two = 1 - 0.9**self.step, 1 - 0.999**self.step
        gradient = gradient * np.exp(self.log_weight[rows])[:, None]
        slope = np.einsum("ij,ij->i", gradient, self.direction[rows])
        first = self.weight_first[rows] * 0.9 + 0.1 * slope
        second = self.weight_second[rows] * 0.999 + 0.001 * slope**2
        self.weight_first[rows], self.weight_second[rows] = first, second
        self.log_weight[rows] -= weight_rate * (first / one) / (np.sqrt(second / two) + 1e-10)
        # In place from here on: these arrays are most of a step's memory traffic.
        moment = self.first[rows]
        moment += 0.1 * (gradient - moment)
        self.first[rows] = moment
        square = self.second[rows]
        square += 0.001 * (gradient * gradient - square)
        self.second[rows] = square
        moment *= direction_rate / one
        square /= two
        np.sqrt(square, out=square)
        square += 1e-10
        moment /= square
        self.direction[rows] -= moment


def contrastive_loss(
    queries: torch.Tensor, passages: torch.Tensor, same: torch.Tensor, scale: float, negatives: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy over the batch: a query must find its passage, and a passage its query.

    Args:
        queries: (batch, dimension), rows of length 1.
        passages: (batch, dimension); row i belongs to query i.
        same: bool, (batch, batch): where a passage is a copy of a query's own and so no negative.
        scale: What the cosines are multiplied with.
        negatives: Further passages that no query may find, or None.

    Returns:
        The sum of both directions.
    """
    scores = (scale * queries @ passages.T).masked_fill(same, -1e4)
    labels = torch.arange(len(queries))
    backward = torch.nn.functional.cross_entropy(scores.T, labels)
    if negatives is not None:
        scores = torch.cat([scores, scale * queries @ negatives.T], dim=1)
    return torch.nn.functional.cross_entropy(scores, labels) + backward


def correlation_loss(cosines: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One minus Pearson's correlation of the cosines with the labels over the batch."""
    cosines = cosines - cosines.mean()
    labels = labels - labels.mean()
    loss: torch.Tensor = 1 - (cosines * labels).sum() / (cosines.norm() * labels.norm() + 1e-9)
    return loss


def imitation_loss(vectors: torch.Tensor, wanted: torch.Tensor, scale: float) -> torch.Tensor:
    """How far the texts' neighbours are from those that another model sees (Kullback-Leibler divergence).

    Args:
        vectors: (batch, dimension), rows of length 1.
        wanted: (batch, any dimension): the other model's vectors of the same texts, rows of length 1.
        scale: What the cosines of both are multiplied with; a larger one asks for the nearest neighbours alone.

    Returns:
        The mean over the texts.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool)
    own, other = ((scale * one @ one.T).masked_fill(itself, -1e4) for one in (vectors, wanted))
    return torch.nn.functional.kl_div(
        torch.log_softmax(own, dim=1), torch.log_softmax(other, dim=1), log_target=True, reduction="batchmean"
    )


class Validation:
    """The two figures that settings are chosen by: KLUE-STS and KLUE-MRC validation.

    Args:
        data: The data folder.
        corpus_of: Turns texts into a corpus.
    """

    def __init__(self, data: Path, corpus_of: Callable[[list[str]], Corpus]) -> None:
        pairs = sets.read_klue_sts(data, "validation")
        self.labels = [p.score for p in pairs]
        questions = sets.read_mrc(data, "validation")
        pool = [p.passage for split in ("validation", "train", "test") for p in sets.read_mrc(data, split)]
        passages = list(dict.fromkeys(pool))
        number = {p: i for i, p in enumerate(passages)}
        self.positive = np.asarray([number[p.passage] for p in questions])
        texts = [p.first for p in pairs] + [p.second for p in pairs] + [p.query for p in questions] + passages
        corpus = corpus_of(texts)
        self.matrix = corpus.matrix([corpus.words(t) for t in range(len(texts))])

    def __call__(self, table: NDArray[np.float32]) -> dict[str, float]:
        """Return Spearman's correlation on KLUE-STS and HitRate on KLUE-MRC (240 questions, all contexts)."""
        vectors = unit(self.matrix @ table)
        sts, count = len(self.labels), len(self.positive)
        cosines = (vectors[:sts] * vectors[sts : 2 * sts]).sum(axis=1)
        scores = vectors[2 * sts : 2 * sts + count] @ vectors[2 * sts + count :].T
        rank = (scores > scores[np.arange(count), self.positive][:, None]).sum(axis=1)
        return {
            "sts": round(float(spearmanr(cosines, self.labels).statistic), 4),
            "mrc@1": round(float((rank < 1).mean()), 4),
            "mrc@10": round(float((rank < 10).mean()), 4),
        }
