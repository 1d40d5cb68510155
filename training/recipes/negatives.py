"""Wrong passages to learn from: drawn at random, or mined with BM25 and with a bi-encoder, false ones left out."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank.engine.models.opening import load_bi_encoder
from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from training.inputs import DataError, Question
from training.lexical import LexicalCorpus
from training.settings import SettingsError, require_positive

Scores = NDArray[np.float32]

#: Best passages of a search that are looked at; enough that filters leave some.
_DEPTH = 200
#: Questions searched at a time.
_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class NegativeSettings:
    """How wrong passages are found.

    Attributes:
        negatives: Hard wrong passages: none, or those that BM25, the bi-encoder of --miner, or both find best.
        negative_count: Wrong passages a question; where mining finds fewer, random ones fill up.
        negative_margin: A passage that scores above this share less than the right one may be right, too, and is
            left out: 0.05 keeps those below 95% of the right one's score; none keeps all.
        miner: Bi-encoder that mines: packaged, a folder or a hub id.
    """

    negatives: Literal["none", "bm25", "bi-encoder", "both"] = "none"
    negative_count: int = 1
    negative_margin: float | None = 0.05
    miner: str = "packaged"

    def __post_init__(self) -> None:
        require_positive(self, "negative_count")
        if self.negative_margin is not None and not 0 <= self.negative_margin < 1:
            raise SettingsError(f"--negative-margin {self.negative_margin}: give a number from 0 to below 1, or none")


def require_in_batch(batch_size: int, teacher: str | None, negatives: str) -> None:
    """Check settings of a recipe whose batches hold the wrong answers, and which may learn from a teacher.

    Raises:
        SettingsError: If a batch has one question, or a teacher no wrong passages to compare.
    """
    if batch_size < 2:
        raise SettingsError("--batch-size 1: the other questions of a batch are the wrong answers; give 2 or more")
    if teacher is not None and negatives == "none":
        raise SettingsError(f"--teacher {teacher}: a teacher compares passages; set --negatives, to bm25 say")


class Corpus:
    """The distinct passages of some questions, and who may be whose wrong passage.

    Args:
        questions: Questions with the passages that answer them.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        self.numbers: dict[str, int] = {}
        self._titles: list[str] = []
        self._right: dict[str, set[int]] = defaultdict(set)
        for row in questions:
            number = self.numbers.setdefault(row.passage, len(self.numbers))
            if number == len(self._titles):
                self._titles.append(row.title)
            self._right[row.question].add(number)
        self.passages = list(self.numbers)

    def is_wrong(self, question: Question, number: int) -> bool:
        """Return whether a passage is of another title and answers neither this question nor an equal one."""
        if number == self.numbers[question.passage] or number in self._right[question.question]:
            return False
        return not question.title or self._titles[number] != question.title

    def is_hard_wrong(self, question: Question, number: int) -> bool:
        """Return whether a passage `is_wrong` and does not hold the answer's words either."""
        if not self.is_wrong(question, number):
            return False
        return not question.answer or question.answer not in self.passages[number]


def wrong_passages(
    questions: Sequence[Question], corpus: Corpus, settings: NegativeSettings, seed: int, *, fill: bool = True
) -> list[list[str]]:
    """Return wrong passages of each question: those that the data names, then mined ones, then random ones.

    Args:
        questions: Questions, whose passages are in the corpus.
        corpus: Where to look.
        settings: How.
        seed: Of the random ones.
        fill: Whether to fill up with random passages. If not, and if neither data nor settings give any wrong passage,
            there are none at all. Default True.

    Returns:
        For each question ``negative_count`` passages (fewer only where the corpus has no more), or none.

    Raises:
        DataError: If the corpus has no wrong passage for a question.
    """
    if not fill and settings.negatives == "none" and not any(row.negatives for row in questions):
        return [[] for _ in questions]
    mined = mine(questions, corpus, settings)
    drawn = draw(questions, corpus, settings.negative_count, seed)
    found = []
    for row, hard, easy in zip(questions, mined, drawn, strict=True):
        candidates = dict.fromkeys([*row.negatives, *hard, *easy])
        if not candidates:
            raise DataError(f"{row.question!r} has no wrong passage: all are of its title; add rows, or hold fewer out")
        found.append(list(candidates)[: settings.negative_count])
    return found


def draw_rows(questions: Sequence[Question], seed: int) -> list[list[str]]:
    """Draw for each row the passage of a row with another title, as the tutorial does: passages of many rows often.

    Raises:
        DataError: If all rows have one title.
    """
    if len({row.title for row in questions}) < 2:
        raise DataError("All questions have one title: no passage could be wrong; add rows")
    generator = random.Random(seed)
    found = []
    for row in questions:
        other = generator.choice(questions)
        while other.title == row.title:
            other = generator.choice(questions)
        found.append([other.passage])
    return found


def draw(questions: Sequence[Question], corpus: Corpus, count: int, seed: int) -> list[list[str]]:
    """Draw random passages of other titles, as the tutorial's tests and cross-encoder do."""
    generator = random.Random(seed)
    found = []
    for row in questions:
        own: list[str] = []
        seen: set[int] = set()
        while len(own) < count and len(seen) < len(corpus.passages):
            number = generator.randrange(len(corpus.passages))
            if number not in seen and corpus.is_wrong(row, number):
                own.append(corpus.passages[number])
            seen.add(number)
        found.append(own)
    return found


def mine(questions: Sequence[Question], corpus: Corpus, settings: NegativeSettings) -> list[list[str]]:
    """Search the corpus for each question and keep the best passages that do not answer it.

    Passages of the same title, passages that hold the answer, and passages that score almost like the right one
    (``negative_margin``) are left out.

    Returns:
        For each question at most ``negative_count`` passages, hardest first; with ``both``, both searches take turns.
    """
    rankings: list[list[list[str]]] = []
    if settings.negatives in ("bm25", "both"):
        rankings.append(_search(questions, corpus, settings, _Bm25(corpus.passages)))
    if settings.negatives in ("bi-encoder", "both"):
        rankings.append(_search(questions, corpus, settings, _Dense(corpus.passages, settings.miner)))
    if not rankings:
        return [[] for _ in questions]
    merged = []
    for rows in zip(*rankings, strict=True):
        in_turns = dict.fromkeys(text for text in chain(*zip_longest(*rows)) if text is not None)
        merged.append(list(in_turns)[: settings.negative_count])
    return merged


class _Bm25:
    """BM25 over morphemes and bigrams, the package's own."""

    def __init__(self, passages: Sequence[str]) -> None:
        self._corpus = LexicalCorpus(tokenize(passages, shared_analyzer()))

    def __call__(self, questions: Sequence[str]) -> Scores:
        return self._corpus.scores(tokenize(questions, shared_analyzer()))


class _Dense:
    """The cosine of a bi-encoder."""

    def __init__(self, passages: Sequence[str], miner: str) -> None:
        self._model = load_bi_encoder(miner, ModelOptions())
        self._vectors = self._model.encode(passages, "passage", show_progress=True)

    def __call__(self, questions: Sequence[str]) -> Scores:
        return self._model.encode(questions, "query") @ self._vectors.T


def _search(
    questions: Sequence[Question], corpus: Corpus, settings: NegativeSettings, search: _Bm25 | _Dense
) -> list[list[str]]:
    found = []
    with tqdm(total=len(questions), desc="mining wrong passages", mininterval=1) as progress:
        for start in range(0, len(questions), _CHUNK):
            rows = questions[start : start + _CHUNK]
            for row, scores in zip(rows, search([row.question for row in rows]), strict=True):
                found.append(_best(row, scores, corpus, settings))
            progress.update(len(rows))
    return found


def _best(question: Question, scores: Scores, corpus: Corpus, settings: NegativeSettings) -> list[str]:
    limit = np.inf
    if settings.negative_margin is not None:
        limit = (1 - settings.negative_margin) * scores[corpus.numbers[question.passage]]
    own: list[str] = []
    for number in np.argsort(-scores, kind="stable")[:_DEPTH].tolist():
        if len(own) == settings.negative_count:
            break
        if scores[number] <= limit and corpus.is_hard_wrong(question, number):
            own.append(corpus.passages[number])
    return own
