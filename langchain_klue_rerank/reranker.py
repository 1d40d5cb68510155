"""`KlueReranker`: a cross-encoder as a LangChain document compressor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.adapters.convert import check_count, check_query, searchable_text, with_metadata
from langchain_klue_rerank.adapters.deadlines import wait_until
from langchain_klue_rerank.adapters.tracing import async_child_run, child_run
from langchain_klue_rerank.engine.models.lazy import Lazy
from langchain_klue_rerank.engine.models.names import PACKAGED, identity, is_late_interaction, resolve
from langchain_klue_rerank.engine.models.opening import load_cross_encoder
from langchain_klue_rerank.engine.models.options import Backend, CrossEncoderOptions
from langchain_klue_rerank.engine.rerank.cascade import Verdict, judge
from langchain_klue_rerank.engine.rerank.early_stop import score_until_sure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from langchain_klue_rerank.engine.arrays.quantized import TokenVectors
    from langchain_klue_rerank.engine.contracts import CrossEncoder, Ready


class RankedDocument(TypedDict):
    """One line of `KlueReranker.rerank`.

    Attributes:
        index: Place of the document in the input.
        relevance_score: Its score, 0..1; 0 if it was not read.
        reranked: Whether it was read. Only where an option lets documents stay unread.
    """

    index: int
    relevance_score: float
    reranked: NotRequired[bool]


class KlueReranker(BaseDocumentCompressor):
    """Reorder documents by how well they answer a query.

    Without arguments it uses the weights that come with the package: no torch, no download, no GPU. With a name it
    loads any sentence-transformers cross-encoder (needs the ``torch`` extra), among them those fine-tuned from
    klue/roberta. The model is loaded once, on first use. A late-interaction model (sentence-transformers'
    MultiVectorEncoder, ColBERT, PyLate) is recognised by its files; a `KlueRetriever` then keeps the passages' side of
    it in its index, and reranking costs about what a search costs.

    Documents come back as copies with ``metadata["relevance_score"]``, a float in 0..1; their ids and other metadata
    stay. A document that is longer than the model's window is read whole, in overlapping windows of which the best
    counts.

    Examples:
        >>> reranker = KlueReranker(top_n=1)
        >>> reranker.rerank(["고양이는 포유류입니다.", "전입신고는 14일 안에 합니다."], "전입신고 기한")[0]["index"]
        1

    Args:
        model: ``None`` (the packaged weights), the path of a folder, or a hub id.
        top_n: How many documents to keep, None for all. Default 3, as LangChain's other rerankers.
        score_threshold: Lowest score to keep, 0..1; None keeps all.
        max_latency_ms: Milliseconds after which a call returns with what has been decided by then: documents that were
            not read follow in the order in which they came, with ``metadata["reranked"]`` False, a score of 0 and
            whatever the threshold. Waiting for other callers counts, loading the model does not. None (default) waits
            for everything. A batch of n queries has n times as long.
        early_stop: Score at which a document is so surely the answer that the rest, which came after it, is not read;
            it follows as above, except that a threshold drops it. `engine.early_stop.calibrate` finds a value. None
            (default) reads everything.
        first: A cheaper reranker that reads the documents first: this one then reads them in the order found so, and
            a score is the mean of both, or the first one's half for a document that only the first has read. Of its
            options, those count that say how it reads. None (default) for none.
        read_n: Most documents to read, the most promising; the rest follows as above, except that a threshold sees its
            score. ``KlueReranker(model=..., first=KlueReranker(), read_n=5)`` costs little more than five pairs of
            the transformer. None (default) reads everything.
        title_key: The metadata key of a title that is read before the text; None reads the text alone. Default
            ``"title"``.
        backend: What computes a model from a folder or the hub: ``"torch"`` (default), ``"onnx"`` (the same scores,
            faster on a CPU), ``"onnx-int8"`` (faster still, scores rounded) or ``"auto"`` (half precision on a GPU, the
            fastest of these that is installed on a CPU). ONNX needs the ``onnx`` extra. Not for the packaged weights,
            nor are the following.
        max_windows: Most windows read of a long document, chosen by the words they share with the query (by a
            late-interaction model, which does not know the query yet, the first ones); None (default) reads all of it.
        window_length: Tokens of a document read at a time; None for all that fit beside the query. A pair's cost grows
            with its length, so ``max_windows=1, window_length=128`` is several times cheaper than all.
        max_vectors: Most vectors that a late-interaction model keeps of a document, the most alike merged; a vector
            takes the model's dimension in bytes, plus 2. Default 128.
        batch_size: Most pairs computed at a time. Default 32.
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` ...; None picks the best at hand.
        max_length: Longest pair in tokens; None for the model's own limit.
        revision: Branch, tag or commit of a hub model.
        trust_remote_code: Whether code from the model's repository may run. Default False.

    Raises:
        ModelLoadError: At once if the name is neither a folder nor a hub id; on first use if the model cannot be
            loaded.
        MissingExtraError: On first use, if the model needs the ``torch`` or the ``onnx`` extra and that is not
            installed.
        ValueError: If the packaged reranker is given a ``first``: nothing is cheaper.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, protected_namespaces=())

    model_name: str | None = Field(default=None, alias="model", frozen=True)
    top_n: int | None = Field(default=3, ge=0)
    score_threshold: float | None = Field(default=None, ge=0, le=1)
    max_latency_ms: float | None = Field(default=None, gt=0)
    early_stop: float | None = Field(default=None, ge=0)
    first: KlueReranker | None = Field(default=None, frozen=True)
    read_n: int | None = Field(default=None, ge=1)
    title_key: str | None = "title"
    backend: Backend = Field(default="torch", frozen=True)
    max_windows: int | None = Field(default=None, ge=1, frozen=True)
    window_length: int | None = Field(default=None, ge=8, frozen=True)
    max_vectors: int = Field(default=128, ge=1, frozen=True)
    device: str | None = Field(default=None, frozen=True)
    batch_size: int = Field(default=32, ge=1, frozen=True)
    max_length: int | None = Field(default=None, ge=8, frozen=True)
    revision: str | None = Field(default=None, frozen=True)
    trust_remote_code: bool = Field(default=False, frozen=True)

    _encoder: Lazy[CrossEncoder] = PrivateAttr()
    _vectors_of: Lazy[str] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the model's name; loading waits for the first use."""
        if resolve(self.model_name) == PACKAGED and self.first is not None:
            raise ValueError("first=... is for a model that costs more: name one, model=..., or leave first out.")
        options = CrossEncoderOptions(
            self.device,
            self.batch_size,
            self.max_length,
            self.revision,
            self.trust_remote_code,
            self.backend,
            self.max_windows,
            self.window_length,
            self.max_vectors,
        )
        self._encoder = Lazy(partial(load_cross_encoder, self.model_name, options))
        self._vectors_of = Lazy(partial(_vectors_of, self.model_name, self.revision, self.max_vectors))

    @property
    def packaged(self) -> bool:
        """Whether this is the packaged model, which needs no torch."""
        return resolve(self.model_name) == PACKAGED

    @property
    def reads_tokens(self) -> bool:
        """Whether this, or the reranker before it, is the packaged model, which reads an index's tokens."""
        return self.packaged or (self.first is not None and self.first.reads_tokens)

    @property
    def token_vectors(self) -> str | None:
        """What tells the token vectors that this model, or the one before it, reads; None if neither reads any.

        Of a hub model this asks the hub, once.
        """
        own = None if self.packaged else self._vectors_of() or None
        return self.first.token_vectors if own is None and self.first is not None else own

    @property
    def encoder(self) -> CrossEncoder:
        """The loaded cross-encoder; loads it if need be."""
        return self._encoder()

    @property
    def is_loaded(self) -> bool:
        """Whether the model, and the one before it, is in memory."""
        return self._encoder.made and (self.first is None or self.first.is_loaded)

    def load(self) -> None:
        """Load the model, and the one before it, where they are not loaded yet."""
        self._encoder()
        if self.first is not None:
            self.first.load()

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> list[Document]:
        """Reorder documents; LangChain's contract of `BaseDocumentCompressor`.

        Args:
            documents: The documents; they are not changed.
            query: The query. An empty one finds nothing, every score is 0 and the order stays.
            callbacks: Where to report the child run ``KlueReranker``.

        Returns:
            Copies of the best ``top_n`` documents with at least ``score_threshold``, best first; of equals the earlier
            comes first.

        Raises:
            TypeError: If the query is not a string.
            ModelOutputError: If the model returns NaN or infinity.
        """
        documents = list(documents)
        with child_run("KlueReranker", callbacks, self.trace_inputs(query, len(documents))) as outputs:
            start = time.perf_counter()
            [verdicts] = self.judge([query], [documents])
            return self._keep(documents, verdicts, start, outputs)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> list[Document]:
        """Reorder documents without blocking the event loop; see `compress_documents`."""
        documents = list(documents)
        async with async_child_run("KlueReranker", callbacks, self.trace_inputs(query, len(documents))) as outputs:
            start = time.perf_counter()
            [verdicts] = await self.ajudge([query], [documents])
            return self._keep(documents, verdicts, start, outputs)

    def rerank(
        self, documents: Sequence[str | Document], query: str, *, top_n: int | None = None
    ) -> list[RankedDocument]:
        """Reorder plain strings or documents.

        Args:
            documents: Strings or documents.
            query: The query.
            top_n: How many to keep; None for the field's value.

        Returns:
            ``{"index": place in the input, "relevance_score": float in 0..1}`` of the best, best first.

        Raises:
            TypeError: If the query is not a string, or a document is neither a string nor a Document.
            ValueError: If ``top_n`` is negative.
        """
        kept = self.top_n if top_n is None else check_count("top_n", top_n)
        [verdicts] = self.judge([query], [documents])
        return [
            {"index": number, "relevance_score": verdicts[number].score, **self.marks(verdicts[number])}  # type: ignore[typeddict-item]
            for number in self._best(verdicts, kept)
        ]

    def score(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[str | Document]],
        tokens: Sequence[Ready | None] | None = None,
    ) -> list[list[float]]:
        """Score the documents of several queries in one go.

        Args:
            queries: m queries.
            documents: For each query its strings or documents.
            tokens: For each query its documents as an index found them, or their token vectors, where it keeps them.

        Returns:
            For each query its documents' scores in 0..1, in the order of the input; 0 for one that no model read.

        Raises:
            TypeError: If a query is not a string, or a document is neither a string nor a Document.
            ModelOutputError: If the model returns NaN or infinity.
        """
        return [[one.score for one in own] for own in self.judge(queries, documents, tokens)]

    def judge(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[str | Document]],
        tokens: Sequence[Ready | None] | None = None,
        *,
        first_stage: Sequence[Sequence[float]] | None = None,
        weight: float = 1.0,
        deadline: float | None = None,
    ) -> list[list[Verdict]]:
        """Score the documents of several queries and tell which of them were read; see `score`.

        Args:
            queries: m queries.
            documents: For each query its strings or documents.
            tokens: For each query its documents as an index found them, or their token vectors, where it keeps them.
            first_stage: For each query the first stage's scores, if these are blended with them afterwards.
            weight: The weight of these scores then; 1 (default) where they alone decide. The packaged model then adds a
                little of the bi-encoder's cosine, as no first stage counts it.
            deadline: Value of `time.monotonic` at which to return; None for ``max_latency_ms`` from now.

        Returns:
            For each query its documents' verdicts, in the order of the input.
        """
        texts = [[self._text(document) for document in own] for own in documents]
        # a blank query asks for nothing: no document answers it
        result = [[Verdict(0.0, read=True)] * len(own) for own in texts]
        asked = [number for number, query in enumerate(queries) if check_query(query).strip() and texts[number]]
        if not asked:
            return result
        if deadline is None:
            self.load()  # does not count
            deadline = self._deadline(len(queries))
        chosen = [queries[number] for number in asked]
        read = [texts[number] for number in asked]
        ready = [tokens[number] for number in asked] if tokens is not None else None
        before = None
        if self.first is not None:
            verdicts = self.first.judge(chosen, read, ready, weight=weight, deadline=deadline)
            before = [[math.nan if one.late else one.score for one in own] for own in verdicts]
        found = judge(
            self._scorer(),
            chosen,
            read,
            ready,
            before=before,
            first_stage=[first_stage[number] for number in asked] if first_stage is not None else None,
            weight=weight,
            read_n=self.read_n,
            deadline=deadline,
        )
        for number, own in zip(asked, found, strict=True):
            result[number] = own
        return result

    def _scorer(self) -> Callable[..., list[NDArray[np.float32]]]:
        if self.early_stop is None:
            return self.encoder.score
        return partial(score_until_sure, self.encoder, sure=self.early_stop)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> TokenVectors:
        """Compute the token vectors of texts, at least one, by a late-interaction model.

        Args:
            texts: The texts, with their titles.
            show_progress: Whether to draw a progress bar.

        Raises:
            ValueError: If the model is another kind of model.
            ModelOutputError: If it returns NaN or infinity.
        """
        if self.token_vectors is None:
            raise ValueError(f"{self.model_name or PACKAGED!r} is no late-interaction model and has no token vectors.")
        if self.first is not None and not self._vectors_of():
            return self.first.encode_documents(texts, show_progress=show_progress)
        from langchain_klue_rerank.engine.models.transformer.late_interaction import LateInteraction

        encoder = self.encoder
        assert isinstance(encoder, LateInteraction)
        return encoder.encode_passages(texts, show_progress=show_progress)

    async def ajudge(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[str | Document]],
        tokens: Sequence[Ready | None] | None = None,
        *,
        first_stage: Sequence[Sequence[float]] | None = None,
        weight: float = 1.0,
    ) -> list[list[Verdict]]:
        """Score the documents of several queries without blocking the event loop; see `judge`."""
        if not self.is_loaded:
            await run_in_executor(None, self.load)
        deadline = self._deadline(len(queries))
        ask = partial(self.judge, queries, documents, tokens, first_stage=first_stage, weight=weight, deadline=deadline)
        return await wait_until(
            deadline, ask, lambda: [[Verdict(0.0, read=False, late=True)] * len(own) for own in documents]
        )

    def _deadline(self, queries: int) -> float | None:
        return None if self.max_latency_ms is None else time.monotonic() + queries * self.max_latency_ms / 1000

    def _text(self, document: Any) -> str:
        if isinstance(document, str):
            return document
        if isinstance(document, Document):
            return searchable_text(document.page_content, document.metadata, self.title_key)
        raise TypeError(f"{document!r} is a {type(document).__name__}; a reranker takes strings or Documents.")

    def marks(self, verdict: Verdict) -> dict[str, Any]:
        """Return what the metadata of a document says about its reading, beside the score."""
        reads_all = self.max_latency_ms is None and self.early_stop is None and self.read_n is None
        return {} if reads_all else {"reranked": verdict.read}

    def keeps(self, verdict: Verdict) -> bool:
        """Whether a document passes the threshold; one that was not read in time does."""
        return self.score_threshold is None or verdict.late or verdict.score >= self.score_threshold

    def _best(self, verdicts: Sequence[Verdict], top_n: int | None) -> list[int]:
        def badness(number: int) -> tuple[float, bool]:
            return -verdicts[number].score, not verdicts[number].read

        order = sorted(range(len(verdicts)), key=badness)  # stable: equals, and what is unread, keep their order
        return [number for number in order if self.keeps(verdicts[number])][:top_n]

    def _keep(
        self, documents: list[Document], verdicts: list[Verdict], start: float, outputs: dict[str, Any]
    ) -> list[Document]:
        best = [
            with_metadata(documents[number], relevance_score=verdicts[number].score, **self.marks(verdicts[number]))
            for number in self._best(verdicts, self.top_n)
        ]
        outputs.update(documents=best, milliseconds=round(1000 * (time.perf_counter() - start), 3))
        return best

    def trace_inputs(self, query: str, documents: int) -> dict[str, Any]:
        """Return what a run in a trace shows as the inputs of a reranking."""
        return {"query": query, "documents": documents, "model": self.model_name or PACKAGED, "top_n": self.top_n}


def _vectors_of(model: str | None, revision: str | None, most: int) -> str:
    """Return the identity of a late-interaction model's token vectors; empty for another kind of model."""
    return f"{identity(model, revision)}/{most}" if is_late_interaction(model, revision) else ""
