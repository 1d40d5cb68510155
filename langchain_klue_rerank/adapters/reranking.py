"""The base class of the rerankers: LangChain's contract of document compressors over the engine's `Ranker`."""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache, partial
from typing import Any, NotRequired, TypedDict

import numpy as np
from langchain_core.callbacks import AsyncCallbackManager, CallbackManager, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables.config import ensure_config, run_in_executor
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.adapters.documents import (
    check_count,
    check_documents,
    check_list,
    check_query,
    searchable_text,
    with_metadata,
)
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.contracts import ScoreRequest, Scores, State
from langchain_klue_rerank.engine.rerank.ranker import Ranker
from langchain_klue_rerank.engine.threads import seconds_until

#: Seconds for which a result is awaited after its deadline.
_GRACE = 0.005


class RankedDocument(TypedDict):
    """One line of `rerank`.

    Attributes:
        index: Place of the document in the input.
        relevance_score: Its score, 0..1; 0 if it was not read.
        reranked: Whether it was read. Only where an option lets documents stay unread.
    """

    index: int
    relevance_score: float
    reranked: NotRequired[bool]


class RankerCompressor(BaseDocumentCompressor, ABC):
    """A document compressor over a `Ranker`. A subclass makes the ranker."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, protected_namespaces=(), validate_assignment=True)

    top_n: int | None = Field(default=3, ge=0)
    score_threshold: float | None = Field(default=None, ge=0, le=1)
    max_latency_ms: float | None = Field(default=None, gt=0)
    title_key: str | None = "title"

    #: What a trace calls the model.
    _name: str = PrivateAttr()
    #: Whether a model of it reads an index's tokens.
    _reads_tokens: bool = PrivateAttr()
    #: Whether the packaged confidence model is fitted on its scores.
    _has_confidence: bool = PrivateAttr(default=False)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        changed = vars(cls)
        if "compress_documents" in changed and "acompress_documents" not in changed:
            # LangChain's, which calls what the subclass has changed
            cls.acompress_documents = BaseDocumentCompressor.acompress_documents  # type: ignore[method-assign, assignment]

    @property
    @abstractmethod
    def _ranker(self) -> Ranker:
        """The models, as the fields are now."""

    @property
    @abstractmethod
    def _reads_all(self) -> bool:
        """Whether no model of it skips a candidate."""

    @property
    @abstractmethod
    def _token_vectors(self) -> str | None:
        """Identity of the token vectors that a model of it reads; None if none does. May ask the hub."""

    @abstractmethod
    def _encode_documents(self, texts: Sequence[str]) -> TokenVectors:
        """Compute the token vectors of texts, at least one."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> list[Document]:
        """Reorder documents; LangChain's contract of `BaseDocumentCompressor`.

        Args:
            documents: The documents; they are not changed.
            query: The query. An empty one finds nothing, every score is 0 and the order stays.
            callbacks: Where to report the child run.

        Returns:
            Copies of the best ``top_n`` documents with at least ``score_threshold``, best first; of equals the earlier
            comes first.

        Raises:
            TypeError: If the query is not a string, or one of the documents is no Document.
            ModelOutputError: If the model returns NaN or infinity.
        """
        documents = check_documents(documents, "compress_documents was given")
        with self._run(query, len(documents), callbacks) as outputs:
            start = time.perf_counter()
            [scores] = self._score([ScoreRequest(check_query(query), self._texts(documents))])
            return self._keep(documents, scores, start, outputs)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> list[Document]:
        """Reorder documents without blocking the event loop; see `compress_documents`."""
        documents = check_documents(documents, "compress_documents was given")
        async with self._arun(query, len(documents), callbacks) as outputs:
            start = time.perf_counter()
            [scores] = await self._ascore([ScoreRequest(check_query(query), self._texts(documents))])
            return self._keep(documents, scores, start, outputs)

    def rerank(
        self, documents: Sequence[str | Document], query: str, *, top_n: int | None = -1
    ) -> list[RankedDocument]:
        """Reorder plain strings or documents; the shape of ``CohereRerank.rerank``.

        Args:
            documents: Strings or documents.
            query: The query.
            top_n: How many to keep; None for all, -1 (default) for the field's value.

        Returns:
            ``{"index": place in the input, "relevance_score": float in 0..1}`` of the best, best first.

        Raises:
            TypeError: If the query is not a string, or a document is neither a string nor a Document.
            ValueError: If ``top_n`` is another negative number.
        """
        kept = self.top_n if top_n == -1 else None if top_n is None else check_count("top_n", top_n)
        [scores] = self._score([ScoreRequest(check_query(query), self._texts(documents))])
        marks = self._marks(scores)
        return [
            {"index": place, "relevance_score": float(scores.values[place]), **marks[place]}  # type: ignore[typeddict-item]
            for place in self._best(scores, kept)
        ]

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str | Document]]) -> list[list[float]]:
        """Score the documents of several queries together.

        Args:
            queries: m queries.
            documents: For each query its strings or documents.

        Returns:
            For each query its documents' scores in 0..1, in the order of the input; 0 for one that was not read.

        Raises:
            TypeError: If a query is not a string, or a document is neither a string nor a Document.
            ValueError: If there are more or fewer lists of documents than queries.
            ModelOutputError: If the model returns NaN or infinity.
        """
        queries = check_list(queries, "queries", "strings")
        if len(queries) != len(documents):
            raise ValueError(f"{len(documents)} lists of documents for {len(queries)} queries; give one for each.")
        requests = [
            ScoreRequest(check_query(query), self._texts(texts))
            for query, texts in zip(queries, documents, strict=True)
        ]
        return [scores.values.tolist() for scores in self._score(requests)]

    def _score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries.

        Args:
            requests: The queries and their candidates. To "", as `check_query` returns it for a query without a word,
                every candidate has the score 0.
            deadline: Value of `time.monotonic` at which to return; None for ``max_latency_ms`` from now.
        """
        asked = [request for request in requests if request.query and request.passages]
        if not asked:
            return [Scores.read(np.zeros(len(request.passages), np.float32)) for request in requests]
        ranker = self._ranker
        if deadline is None and self.max_latency_ms is not None:
            ranker.load()  # does not count
            deadline = self._deadline(len(requests))
        scores = ranker.score(asked, deadline)
        if len(asked) == len(requests):
            return scores
        rest = iter(scores)
        return [
            next(rest)
            if request.query and request.passages
            else Scores.read(np.zeros(len(request.passages), np.float32))
            for request in requests
        ]

    async def _ascore(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Score the candidates of several queries without blocking the event loop; see `_score`."""
        ranker = self._ranker
        if not ranker.is_loaded:
            await run_in_executor(None, ranker.load)
        deadline = self._deadline(len(requests))
        task = asyncio.ensure_future(run_in_executor(_threads(), partial(self._score, requests, deadline)))
        if deadline is None:
            return await task
        done, _ = await asyncio.wait({task}, timeout=seconds_until(deadline + _GRACE))
        if not done:  # more callers than threads
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            return [Scores.unread(len(request.passages), State.LATE) for request in requests]
        return task.result()

    def _deadline(self, queries: int) -> float | None:
        return None if self.max_latency_ms is None else time.monotonic() + queries * self.max_latency_ms / 1000

    def _texts(self, documents: Sequence[str | Document]) -> list[str]:
        given = check_list(documents, "documents", "strings or Documents")
        return [_text(document, self.title_key) for document in given]

    def _marks(self, scores: Scores) -> list[dict[str, Any]]:
        """Return the metadata entries, beside the score, that say whether each document was read."""
        if self.max_latency_ms is None and self._reads_all:
            return [{}] * len(scores.values)
        return [{"reranked": read} for read in scores.is_read.tolist()]

    def _passes(self, scores: Scores) -> NDArray[np.bool_]:
        """Which candidates pass the threshold; one that was not read in time does."""
        if self.score_threshold is None:
            return np.ones(len(scores.values), np.bool_)
        return np.asarray(scores.is_late | (scores.values >= np.float32(self.score_threshold)))

    def _best(self, scores: Scores, top_n: int | None) -> list[int]:
        # stable: equals, and what is unread, keep their order
        order = np.lexsort((~scores.is_read, -scores.values))
        return [int(place) for place in order[self._passes(scores)[order]]][:top_n]

    def _keep(self, documents: list[Document], scores: Scores, start: float, outputs: dict[str, Any]) -> list[Document]:
        marks = self._marks(scores)
        best = [
            with_metadata(documents[place], relevance_score=float(scores.values[place]), **marks[place])
            for place in self._best(scores, self.top_n)
        ]
        outputs.update(documents=best, milliseconds=round(1000 * (time.perf_counter() - start), 3))
        return best

    @contextmanager
    def _run(self, query: str, documents: int, callbacks: Callbacks) -> Iterator[dict[str, Any]]:
        """Open a child run for a reranking.

        Args:
            query: The query.
            documents: How many documents are reranked.
            callbacks: What the caller was given; None takes those of the surrounding run, if there is one.

        Yields:
            A dictionary to be filled with the run's outputs.
        """
        manager = CallbackManager.configure(inheritable_callbacks=callbacks or ensure_config().get("callbacks"))
        inputs = {"query": query, "documents": documents, "model": self._name, "top_n": self.top_n}
        name = type(self).__name__
        run = manager.on_chain_start({"name": name}, inputs, name=name)
        outputs: dict[str, Any] = {}
        try:
            yield outputs
        except BaseException as error:
            run.on_chain_error(error)
            raise
        run.on_chain_end(outputs)

    @asynccontextmanager
    async def _arun(self, query: str, documents: int, callbacks: Callbacks) -> AsyncIterator[dict[str, Any]]:
        """Open a child run from async code; see `_run`."""
        manager = AsyncCallbackManager.configure(inheritable_callbacks=callbacks or ensure_config().get("callbacks"))
        inputs = {"query": query, "documents": documents, "model": self._name, "top_n": self.top_n}
        name = type(self).__name__
        run = await manager.on_chain_start({"name": name}, inputs, name=name)
        outputs: dict[str, Any] = {}
        try:
            yield outputs
        except BaseException as error:
            await run.on_chain_error(error)
            raise
        await run.on_chain_end(outputs)


def _text(document: Any, title_key: str | None) -> str:
    if isinstance(document, str):
        return document
    if isinstance(document, Document):
        return searchable_text(document.page_content, document.metadata, title_key)
    raise TypeError(f"{document!r} is a {type(document).__name__}; a reranker takes strings or Documents.")


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Threads in which async callers wait; asyncio's own are too few for callers to meet in a batch."""
    return ThreadPoolExecutor(max_workers=128, thread_name_prefix="klue-reranker-caller")


if hasattr(os, "register_at_fork"):  # a forked process has a copy of the pool, but none of its threads
    os.register_at_fork(after_in_child=_threads.cache_clear)
