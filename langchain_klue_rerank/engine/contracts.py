"""What the packages of the engine exchange: candidates' evidence, score requests, scores, and the models' protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.errors import ModelOutputError


@dataclass(frozen=True, slots=True)
class Evidence:
    """Precomputed features of n candidates of a query, which the index passes to the reranker.

    Attributes:
        tokens: Their tokens, with morphemes; None where the index keeps none.
        cosines: (n,) float32, the packaged bi-encoder's cosine of the query with each one's best window; None where the
            index has vectors of another model, or none.
        lexical: (n,) float32, their lexical scores in 0..1, which know how frequent a word is in this index; None where
            the query was not searched by words.
        corpus_size: How many passages the index has.
        token_vectors: Their vectors by a late-interaction model; None where the index keeps none.
        second: (n,) float32 in 0..1, how far each is ahead of the index's passages by a second bi-encoder
            (`fusion.lead`); None where the index keeps none of its vectors.
        query: The query's tokens, with morphemes; None where it was not tokenized so.
    """

    tokens: TokenizedTexts | None = None
    cosines: NDArray[np.float32] | None = None
    lexical: NDArray[np.float32] | None = None
    corpus_size: int = 0
    token_vectors: TokenVectors | None = None
    second: NDArray[np.float32] | None = None
    query: TokenizedTexts | None = None

    def take(self, rows: NDArray[np.integer]) -> Evidence:
        """Return the evidence of some of the candidates, in that order."""
        return Evidence(
            None if self.tokens is None else self.tokens.take(rows),
            None if self.cosines is None else self.cosines[rows],
            None if self.lexical is None else self.lexical[rows],
            self.corpus_size,
            None if self.token_vectors is None else self.token_vectors.take(rows),
            None if self.second is None else self.second[rows],
            self.query,
        )


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One query and the candidates to score for it.

    Attributes:
        query: The query.
        passages: n candidates, the most promising first.
        evidence: Precomputed features from the index; None for none.
        first_stage: (n,) the first stage's scores in 0..1, where these are blended with the reranker's afterwards; None
            where the reranker's scores alone decide. The packaged model then adds a little of the bi-encoder's cosine,
            as no first stage counts it.
        weight: Weight of the reranker's scores in that blend, 0..1.
    """

    query: str
    passages: Sequence[str]
    evidence: Evidence | None = None
    first_stage: NDArray[np.float32] | None = None
    weight: float = 1.0

    @property
    def alone(self) -> bool:
        """Whether the reranker's scores alone decide."""
        return self.first_stage is None or self.weight == 1

    def take(self, rows: NDArray[np.integer]) -> ScoreRequest:
        """Return the request for some of the candidates, in that order."""
        if len(rows) == len(self.passages) and bool((rows == np.arange(len(rows))).all()):
            return self
        return replace(
            self,
            passages=[self.passages[row] for row in rows.tolist()],
            evidence=None if self.evidence is None else self.evidence.take(rows),
            first_stage=None if self.first_stage is None else self.first_stage[rows],
        )


class State(IntEnum):
    """Whether a candidate was scored."""

    #: Scored by the model.
    READ = 0
    #: Not scored before the deadline; thresholds do not apply.
    LATE = 1
    #: Not scored because others were more promising.
    SKIPPED = 2


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of n candidates.

    Attributes:
        values: (n,) float32 in 0..1; 0 for a candidate that was not read and of which nothing else is known.
        states: (n,) int8, a `State` each.
    """

    values: NDArray[np.float32]
    states: NDArray[np.int8]

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.values)

    @classmethod
    def read(cls, values: NDArray[np.float32]) -> Scores:
        """Return scores of candidates that were all read."""
        return cls(values, np.full(len(values), State.READ, np.int8))

    @classmethod
    def unread(cls, count: int, state: State) -> Scores:
        """Return zeros for candidates none of which was read."""
        return cls(np.zeros(count, np.float32), np.full(count, state, np.int8))

    @property
    def is_read(self) -> NDArray[np.bool_]:
        """Which candidates were read, (n,) bool."""
        return np.asarray(self.states == State.READ)

    @property
    def is_late(self) -> NDArray[np.bool_]:
        """For which candidates time ran out, (n,) bool."""
        return np.asarray(self.states == State.LATE)


def check_scores(scores: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return scores as float32.

    Raises:
        ModelOutputError: If one is NaN or infinite.
    """
    array = np.asarray(scores, np.float32)
    if not np.isfinite(array).all():
        raise ModelOutputError(
            f"The model {name!r} returned NaN or infinity for pair number {int((~np.isfinite(array)).argmax())}. "
            "Check the weights and the precision (fp16 overflows)."
        )
    return array


Kind = Literal["query", "passage"]


class BiEncoder(Protocol):
    """A model that turns texts into vectors. Thread-safe."""

    def encode(
        self, texts: Sequence[str], kind: Kind, tokens: TokenizedTexts | None = None, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: n texts; the packaged model does not read them where it has their tokens.
            kind: Whether they are queries or passages; some models encode the two differently.
            tokens: The same texts tokenized, if the caller has them; saves the packaged model that work.
            show_progress: Whether to draw a progress bar.

        Returns:
            (n, dim) float32 unit vectors; the zero vector for a text with nothing to read.

        Raises:
            ModelOutputError: If the model returns NaN or infinity.
        """
        ...


class CrossEncoder(Protocol):
    """A model that scores passages for a query. Thread-safe."""

    def score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries together.

        A passage longer than the model's window is read in overlapping windows, of which the best counts.

        Args:
            requests: Queries and their candidates.
            deadline: Value of `time.monotonic` at which to return with the scores computed so far; None for no
                deadline. Candidates are read in their order, so the most promising should come first.

        Returns:
            For each request its candidates' scores. A pair's score does not depend on the other pairs (but for the
            rounding of int8).

        Raises:
            ModelOutputError: If the model returns NaN or infinity.
        """
        ...
