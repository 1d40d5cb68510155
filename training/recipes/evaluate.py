"""How well a model's scores follow the labels of pairs, before and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sentence_transformers import CrossEncoder, MultiVectorEncoder
from sentence_transformers.base.evaluation import BaseEvaluator

from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from training.inputs import Question
from training.recipes.negatives import Corpus, NegativeSettings, draw, draw_rows, wrong_passages
from training.recipes.precision import computing_in

#: Pairs or texts computed at a time.
_BATCH = 32


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts with labels, all of one length."""

    first: list[str]
    second: list[str]
    labels: list[float]


class Correlations(BaseEvaluator):
    """Pearson's and Spearman's correlation of a model's scores with the labels of pairs.

    A bi-encoder's score is the cosine, a cross-encoder's its output in 0..1, a late-interaction model's the mean over
    the first text's tokens of the best cosine.

    Args:
        sets: Prefix of the metrics -> pairs; for example ``"hard_"`` for ``hard_pearson`` and ``hard_spearman``.

    Attributes:
        precision: What the scores are computed in: fp32, or bf16 or fp16 if a run asks for them.
    """

    def __init__(self, sets: dict[str, Pairs]) -> None:
        super().__init__()
        self.sets = sets
        self.precision = "fp32"

    def __len__(self) -> int:
        """Return the number of pairs."""
        return sum(len(pairs.labels) for pairs in self.sets.values())

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return the metrics; a correlation with scores that are all equal counts as 0."""
        everything = [pair for pairs in self.sets.values() for pair in zip(pairs.first, pairs.second, strict=True)]
        distinct = list(dict.fromkeys(everything))  # a question's own passage stands in several sets
        with computing_in(self.precision, model.device.type):
            known = dict(zip(distinct, pair_scores(model, distinct).tolist(), strict=True))
        found = {}
        for prefix, pairs in self.sets.items():
            scores = np.asarray([known[pair] for pair in zip(pairs.first, pairs.second, strict=True)])
            for name, correlation in (("pearson", pearsonr), ("spearman", spearmanr)):
                value = correlation(scores, pairs.labels)[0] if np.ptp(scores) > 0 else 0.0
                found[prefix + name] = float(value)
        return found


def pair_scores(model: Any, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
    """Return the score of every pair, (n,) float32; of which kind it is, the model's class decides."""
    if isinstance(model, CrossEncoder):
        return np.asarray(model.predict(list(pairs), batch_size=_BATCH, show_progress_bar=True), np.float32)
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))  # a passage stands in several pairs
    if isinstance(model, MultiVectorEncoder):
        return _late_scores(model, pairs)
    vectors = as_unit_vectors(np.asarray(model.encode(texts, batch_size=_BATCH, show_progress_bar=True)))
    numbers = {text: number for number, text in enumerate(texts)}
    first, second = (vectors[[numbers[text] for text in side]] for side in zip(*pairs, strict=True))
    return np.asarray((first * second).sum(axis=1), np.float32)


def _late_scores(model: MultiVectorEncoder, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
    encode = (model.encode_query, model.encode_document)
    sides = [list(dict.fromkeys(side)) for side in zip(*pairs, strict=True)]
    first, second = (
        dict(zip(texts, own(texts, batch_size=_BATCH, show_progress_bar=True, convert_to_numpy=True), strict=True))
        for texts, own in zip(sides, encode, strict=True)
    )
    return np.asarray([(first[one] @ second[other].T).max(axis=1).mean() for one, other in pairs], np.float32)


def describe_question_tests(count: int, protocol: str = "ours") -> str:
    """Say on a model's card what `question_tests`, or `tutorial_tests`, of so many questions asks."""
    if protocol == "tutorial":
        return f"{count} questions, each with its passage (1) and that of a random row of another title (0)"
    return (
        f"{count} questions, each with its passage (1) and a wrong one (0): a random one of another title, and for the "
        "hard scores the best that BM25 finds without the answer in it"
    )


def tutorial_tests(questions: Sequence[Question], seed: int) -> Correlations:
    """Return the tutorial's test: each row's passage (1) and the passage of a random row of another title (0)."""
    return Correlations({"": _pairs(questions, draw_rows(questions, seed), None)})


def question_tests(
    questions: Sequence[Question],
    corpus: Corpus,
    seed: int,
    read: Callable[[str, str], str] | None = None,
    protocol: str = "ours",
) -> Correlations:
    """Return the tutorial's kind of test, and a harder one beside it.

    Both ask for the question's own passage (label 1) against a wrong one (label 0). The wrong one is a random passage
    of another title, which shares hardly a word with the question, and for the metrics called ``hard_`` the best that
    BM25 finds in the corpus without the answer in it.

    Args:
        questions: Test questions.
        corpus: Where wrong passages come from; holds the questions' own passages.
        seed: Of the random passages.
        read: Takes question and passage and returns the part of the passage to be read; None for all of it.
        protocol: ``"tutorial"`` for `tutorial_tests` alone.
    """
    if protocol == "tutorial":
        return tutorial_tests(questions, seed)
    hard = NegativeSettings(negatives="bm25", negative_count=1, negative_margin=None)
    sets = {"": draw(questions, corpus, 1, seed), "hard_": wrong_passages(questions, corpus, hard, seed)}
    return Correlations({prefix: _pairs(questions, wrong, read) for prefix, wrong in sets.items()})


def _pairs(
    questions: Sequence[Question], wrong: Sequence[Sequence[str]], read: Callable[[str, str], str] | None
) -> Pairs:
    rows = [
        (row.question, passage, label)
        for row, others in zip(questions, wrong, strict=True)
        for passage, label in [(row.passage, 1.0), *((other, 0.0) for other in others)]
    ]
    return Pairs(
        [question for question, _, _ in rows],
        [read(question, passage) if read else passage for question, passage, _ in rows],
        [label for _, _, label in rows],
    )
