"""A reranker: one model, or several in a row, and which candidates each of them reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from langchain_klue_rerank.engine.contracts import CrossEncoder, ScoreRequest, Scores
from langchain_klue_rerank.engine.lazy import Lazy
from langchain_klue_rerank.engine.rerank.cascade import Score, score_best
from langchain_klue_rerank.engine.rerank.early_stop import score_until_sure


@dataclass(frozen=True, slots=True)
class Stage:
    """A model and the candidates that it reads.

    Attributes:
        encoder: The model, loaded on first use.
        read_n: How many candidates of a query it reads at most, the most promising; None for all.
        early_stop: Score after which the rest is skipped; None to read everything.
    """

    encoder: Lazy[CrossEncoder]
    read_n: int | None = None
    early_stop: float | None = None

    @property
    def reads_all(self) -> bool:
        """Whether no candidate is skipped."""
        return self.read_n is None and self.early_stop is None

    def score(self) -> Score:
        """Return what scores; loads the model if need be."""
        encoder = self.encoder()
        if self.early_stop is None:
            return encoder.score
        return partial(score_until_sure, encoder, sure=self.early_stop)


@dataclass(frozen=True, slots=True)
class Ranker:
    """Stages in a row: each reads in the order of what the stages before it found."""

    stages: tuple[Stage, ...]

    @property
    def is_loaded(self) -> bool:
        """Whether all models are in memory."""
        return all(stage.encoder.made for stage in self.stages)

    def load(self) -> None:
        """Load the models that are not loaded yet."""
        for stage in self.stages:
            stage.encoder()

    def score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries; see `CrossEncoder.score`."""
        scores: list[Scores] | None = None
        for stage in self.stages:
            scores = score_best(stage.score(), requests, earlier=scores, read_n=stage.read_n, deadline=deadline)
        return scores or []
