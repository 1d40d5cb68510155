"""The second stage of a `KlueRetriever`: a reranker orders the candidates, both stages' scores make the final score."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from numpy.typing import NDArray

from langchain_klue_rerank.adapters.documents import rescored, searchable_text, with_metadata
from langchain_klue_rerank.adapters.embedding import EncoderEmbeddings
from langchain_klue_rerank.adapters.first_stage import CandidateDocuments, Options
from langchain_klue_rerank.adapters.reranking import RankerCompressor
from langchain_klue_rerank.engine.contracts import ScoreRequest, Scores
from langchain_klue_rerank.engine.parallel import free_cores, spread
from langchain_klue_rerank.engine.rerank.close_scores import close_leaders, put_first
from langchain_klue_rerank.engine.rerank.confidence import (
    CANDIDATES,
    DOUBT,
    FIRST,
    LEAST_CANDIDATES,
    READ,
    SECOND,
    packaged_confidence,
    signals,
)
from langchain_klue_rerank.engine.rerank.ranker import blend_scores


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one query of a batch.

    Attributes:
        documents: The documents, best first.
        candidates: How many candidates were reranked; None for a query that was not searched, such as a blank one.
        milliseconds: How long reranking took, on average over the batch.
        error: What was raised for this query; None if nothing was.
    """

    documents: list[Document] = field(default_factory=list)
    candidates: int | None = None
    milliseconds: float = 0.0
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class SecondStage:
    """Orders the candidates of the first stage.

    Args:
        reranker: What reorders the candidates; None for the first stage's order.
        weight: Weight of a `RankerCompressor`'s score in the final score, 0..1; the first stage's has the rest.
        title_key: The metadata key of a title that is read before the text; None for the text alone.
        scores_in_metadata: Whether documents come with their scores.
        second: The second bi-encoder; the packaged encoder also reads: the first two results where their scores are
            close, to tell which is first, and the first one, for the confidence.
    """

    reranker: BaseDocumentCompressor | None
    weight: float
    title_key: str | None
    scores_in_metadata: bool
    second: Embeddings | None = None

    def order(self, candidates: CandidateDocuments, options: Options, callbacks: Callbacks) -> list[Document]:
        """Return the best documents for a query.

        Args:
            candidates: What the first stage found.
            options: How many documents are wanted, and the threshold.
            callbacks: Where the reranker reports its run.

        Raises:
            ValueError: If there is a threshold, and another library's reranker gives no scores to compare with it.
        """
        reranker = self.reranker
        if reranker is None:
            return self._first_stage_only(candidates, options)
        if not isinstance(reranker, RankerCompressor):
            given = self._with_first_stage_scores(candidates)
            return self._limited(reranker.compress_documents(given, candidates.query, callbacks), options)
        request = self._request(candidates)
        with reranker._run(candidates.query, len(candidates.documents), callbacks) as outputs:
            start = time.perf_counter()
            [scores] = reranker._score([request])
            documents = self._blend(reranker, candidates, scores, options)
            outputs.update(documents=documents, milliseconds=round(1000 * (time.perf_counter() - start), 3))
        return documents

    async def aorder(self, candidates: CandidateDocuments, options: Options, callbacks: Callbacks) -> list[Document]:
        """Return the best documents for a query without blocking the event loop; see `order`."""
        reranker = self.reranker
        if reranker is None:
            return self._first_stage_only(candidates, options)
        if not isinstance(reranker, RankerCompressor):
            given = self._with_first_stage_scores(candidates)
            return self._limited(await reranker.acompress_documents(given, candidates.query, callbacks), options)
        request = self._request(candidates)
        async with reranker._arun(candidates.query, len(candidates.documents), callbacks) as outputs:
            start = time.perf_counter()
            [scores] = await reranker._ascore([request])
            if not isinstance(self.second, EncoderEmbeddings):
                documents = self._blend(reranker, candidates, scores, options)
            else:  # the packaged encoder reads
                documents = await run_in_executor(None, self._blend, reranker, candidates, scores, options)
            outputs.update(documents=documents, milliseconds=round(1000 * (time.perf_counter() - start), 3))
        return documents

    def order_each(self, candidates: Sequence[CandidateDocuments], options: Options) -> list[Answer]:
        """Answer several queries, scoring all their candidates together. Not for another library's reranker.

        Where the reranker fails, each query is scored by itself and gets its own error.
        """
        reranker = self.reranker
        if not isinstance(reranker, RankerCompressor):
            return [
                Answer(self._first_stage_only(candidate, options), len(candidate.documents)) for candidate in candidates
            ]
        start = time.perf_counter()
        answers = [Answer()] * len(candidates)
        scored = _score_each(reranker, [self._request(one) for one in candidates])

        def answer(row: int) -> None:
            one, scores = candidates[row], scored[row]
            answers[row] = (
                Answer(error=scores)
                if isinstance(scores, Exception)
                else Answer(self._blend(reranker, one, scores, options), len(one.documents))
            )

        # all but reading holds Python's lock
        spread(range(len(candidates)), answer, free_cores() if isinstance(self.second, EncoderEmbeddings) else 1)
        milliseconds = round(1000 * (time.perf_counter() - start) / max(1, len(candidates)), 3)
        return [replace(answer, milliseconds=milliseconds) for answer in answers]

    def report(self, query: str, answer: Answer, callbacks: Callbacks) -> list[Document]:
        """Report the reranking of one query of a batch as its child run, and return its documents.

        Raises:
            Exception: The query's error, if it failed.
        """
        if answer.error is not None:
            raise answer.error
        if answer.candidates is not None and isinstance(self.reranker, RankerCompressor):
            with self.reranker._run(query, answer.candidates, callbacks) as outputs:
                outputs.update(documents=answer.documents, milliseconds=answer.milliseconds)
        return answer.documents

    async def areport(self, query: str, answer: Answer, callbacks: Callbacks) -> list[Document]:
        """Report the reranking of one query of a batch from async code; see `report`."""
        if answer.error is not None:
            raise answer.error
        if answer.candidates is not None and isinstance(self.reranker, RankerCompressor):
            async with self.reranker._arun(query, answer.candidates, callbacks) as outputs:
                outputs.update(documents=answer.documents, milliseconds=answer.milliseconds)
        return answer.documents

    def _request(self, candidates: CandidateDocuments) -> ScoreRequest:
        texts = [
            searchable_text(document.page_content, document.metadata, self.title_key)
            for document in candidates.documents
        ]
        return ScoreRequest(candidates.query, texts, candidates.evidence, candidates.scores, self.weight)

    def _blend(
        self, reranker: RankerCompressor, candidates: CandidateDocuments, scores: Scores, options: Options
    ) -> list[Document]:
        """Order candidates by the weighted mean of both stages' scores, and keep the best k above the threshold."""
        blended = blend_scores(scores.values, candidates.scores, self.weight)
        read: dict[int, float] = {}
        may_read = self.second is not None and self._may_read(reranker, candidates, scores)
        if may_read and (leaders := close_leaders(blended)):
            read = self._read(candidates, leaders)
            blended = put_first(blended, leaders, [read[place] for place in leaders]) if read else blended
        # no threshold can tell of a candidate that was not read in time
        passes, marks = reranker._passes(scores), reranker._marks(scores)
        kept = passes & (scores.is_late | (blended >= (options.score_threshold or 0)))
        order = np.argsort(-blended, kind="stable")  # equals keep their order
        best = order[kept[order]][: options.k].tolist()
        if not self.scores_in_metadata:
            return [rescored(candidates.documents[place]) for place in best]
        confidence = self._confidence(reranker, candidates, scores, blended, options, read) if len(order) else {}
        return [
            rescored(
                candidates.documents[place],
                first_stage_score=float(candidates.scores[place]),
                rerank_score=float(scores.values[place]),
                relevance_score=float(blended[place]),
                **marks[place],
                **(confidence if place == order[0] else {}),
            )
            for place in best
        ]

    def _confidence(
        self,
        reranker: RankerCompressor,
        candidates: CandidateDocuments,
        scores: Scores,
        blended: NDArray[np.float64],
        options: Options,
        read: dict[int, float],
    ) -> dict[str, float]:
        """Return the metadata entry with the first result's confidence; empty where it is not known.

        It is fitted on the packaged models' scores of the candidates of hybrid search. Where that leaves a
        doubt, and there is no limit of time, the packaged encoder reads the first result, if it has not `read` it yet.
        """
        evidence = candidates.evidence
        if evidence is not None and candidates.without_places is not None:
            # as in an index, which finds nothing that has nothing in common with the query
            matching = np.flatnonzero(candidates.without_places > 0)
            blended = blend_scores(scores.values, candidates.without_places, self.weight)[matching]
            evidence = evidence.take(matching)
        if (
            not reranker._has_confidence
            or evidence is None
            or evidence.lexical is None
            or evidence.cosines is None
            or evidence.tokens is None
            or max(options.k, options.fetch_k) < LEAST_CANDIDATES
            or not scores.is_read.all()
            or not len(blended)
        ):
            return {}
        known = signals(blended, evidence.lexical, evidence.cosines, evidence.tokens, evidence.second)
        confidence = float(packaged_confidence(FIRST if evidence.second is None else SECOND)(known))
        if DOUBT[0] < confidence < DOUBT[1] and self._may_read(reranker, candidates, scores):
            first = int(blended[:CANDIDATES].argmax())
            read = read if first in read else self._read(candidates, [first])
            if first in read:
                confidence = float(packaged_confidence(READ)(np.append(known, read[first])))
        return {"confidence": confidence}

    def _may_read(self, reranker: RankerCompressor, candidates: CandidateDocuments, scores: Scores) -> bool:
        """Return whether the packaged encoder may read passages: beside packaged models, without a time limit."""
        return (
            isinstance(self.second, EncoderEmbeddings)
            and candidates.evidence is not None
            and candidates.evidence.second is not None
            and reranker._has_confidence
            and reranker.max_latency_ms is None
            and bool(scores.is_read.all())
        )

    def _read(self, candidates: CandidateDocuments, places: Sequence[int]) -> dict[int, float]:
        """Return the log odds that candidates answer, by their places; none if the second bi-encoder does not read."""
        assert isinstance(self.second, EncoderEmbeddings)
        documents = [candidates.documents[place] for place in places]
        texts = [searchable_text(one.page_content, one.metadata, self.title_key) for one in documents]
        odds = self.second.read(candidates.query, texts)
        return {} if odds is None else dict(zip(places, odds.tolist(), strict=True))

    def _first_stage_only(self, candidates: CandidateDocuments, options: Options) -> list[Document]:
        """Return the first stage's best, with its scores as the final ones."""
        kept = candidates.scores >= (options.score_threshold or 0)
        best = np.flatnonzero(kept)[: options.k].tolist()
        if not self.scores_in_metadata:
            return [rescored(candidates.documents[place]) for place in best]
        return [
            rescored(candidates.documents[place], relevance_score=float(candidates.scores[place])) for place in best
        ]

    def _with_first_stage_scores(self, candidates: CandidateDocuments) -> list[Document]:
        """Return the candidates as another library's reranker gets them."""
        return [
            rescored(document, first_stage_score=score)
            for document, score in zip(candidates.documents, candidates.scores.tolist(), strict=True)
        ]

    def _limited(self, documents: Iterable[Document], options: Options) -> list[Document]:
        """Keep the best k of what another library's reranker returned, and those above the threshold."""
        documents = [_with_plain_score(document) for document in documents]
        threshold = options.score_threshold
        if threshold is not None:
            scores: list[Any] = [document.metadata.get("relevance_score") for document in documents]
            if not all(isinstance(score, int | float | np.number) for score in scores):
                raise ValueError(
                    f"score_threshold={threshold!r} cannot be applied: the reranker {type(self.reranker).__name__} "
                    "leaves no relevance_score in the metadata. Leave the threshold out, or use a KlueReranker."
                )
            documents = [d for d, score in zip(documents, scores, strict=True) if score >= threshold]
        kept = documents[: options.k]
        return kept if self.scores_in_metadata else [rescored(document) for document in kept]


def _with_plain_score(document: Document) -> Document:
    """Return a document whose score is a Python number: JSON has none of NumPy's, which FlashRank leaves."""
    score = document.metadata.get("relevance_score")
    return with_metadata(document, relevance_score=score.item()) if isinstance(score, np.generic) else document


def _score_each(reranker: RankerCompressor, requests: Sequence[ScoreRequest]) -> list[Scores | Exception]:
    """Score requests together; if that fails, each by itself, with its own error."""
    try:
        return list(reranker._score(requests))
    except Exception as error:
        if len(requests) == 1:
            return [error]
    return [scores for request in requests for scores in _score_each(reranker, [request])]
