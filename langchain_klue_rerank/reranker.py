"""`KlueReranker`: a cross-encoder as a LangChain document compressor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.checks import check_count, check_query, searchable_text, with_metadata
from langchain_klue_rerank.engine.models import PACKAGED, Lazy, ModelOptions, load_cross_encoder, resolve
from langchain_klue_rerank.tracing import async_child_run, child_run

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.cross_encoder import CrossEncoder
    from langchain_klue_rerank.engine.text import TokenizedTexts


class RankedDocument(TypedDict):
    """One line of `KlueReranker.rerank`.

    Attributes:
        index: Place of the document in the input.
        relevance_score: Its score, 0..1.
    """

    index: int
    relevance_score: float


class KlueReranker(BaseDocumentCompressor):
    """Reorder documents by how well they answer a query.

    Without arguments it uses the weights that come with the package: no torch, no download, no GPU. With a name it
    loads any sentence-transformers cross-encoder (needs the ``torch`` extra), among them those fine-tuned from
    klue/roberta. The model is loaded once, on first use.

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
        batch_size: Pairs computed at a time. Default 32. Not for the packaged weights, nor are those below
            ``title_key``.
        title_key: The metadata key of a title that is read before the text; None reads the text alone. Default
            ``"title"``.
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` ...; None picks the best at hand.
        max_length: Longest pair in tokens; None for the model's own limit.
        revision: Branch, tag or commit of a hub model.
        trust_remote_code: Whether code from the model's repository may run. Default False.

    Raises:
        ModelLoadError: At once if the name is neither a folder nor a hub id; on first use if the model cannot be
            loaded.
        MissingExtraError: On first use, if the model needs the ``torch`` extra and that is not installed.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, protected_namespaces=())

    model_name: str | None = Field(default=None, alias="model", frozen=True)
    top_n: int | None = Field(default=3, ge=0)
    score_threshold: float | None = Field(default=None, ge=0, le=1)
    title_key: str | None = "title"
    device: str | None = Field(default=None, frozen=True)
    batch_size: int = Field(default=32, ge=1, frozen=True)
    max_length: int | None = Field(default=None, ge=8, frozen=True)
    revision: str | None = Field(default=None, frozen=True)
    trust_remote_code: bool = Field(default=False, frozen=True)

    _encoder: Lazy[CrossEncoder] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the model's name; loading waits for the first use."""
        resolve(self.model_name)
        options = ModelOptions(self.device, self.batch_size, self.max_length, self.revision, self.trust_remote_code)
        self._encoder = Lazy(partial(load_cross_encoder, self.model_name, options))

    @property
    def packaged(self) -> bool:
        """Whether this is the packaged model, which reads tokens and needs no torch."""
        return resolve(self.model_name) == PACKAGED

    @property
    def encoder(self) -> CrossEncoder:
        """The loaded cross-encoder; loads it if need be."""
        return self._encoder()

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
            return self._compress(documents, query, outputs)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> list[Document]:
        """Reorder documents without blocking the event loop; see `compress_documents`."""
        documents = list(documents)
        async with async_child_run("KlueReranker", callbacks, self.trace_inputs(query, len(documents))) as outputs:
            return await run_in_executor(None, self._compress, documents, query, outputs)

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
        [scores] = self.score([query], [documents])
        return [{"index": number, "relevance_score": scores[number]} for number in self._best(scores, kept)]

    def score(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[str | Document]],
        tokens: Sequence[TokenizedTexts | None] | None = None,
        *,
        alone: bool = True,
    ) -> list[list[float]]:
        """Score the documents of several queries in one go.

        Args:
            queries: m queries.
            documents: For each query its strings or documents.
            tokens: For each query its documents' tokens, where an index keeps them.
            alone: Whether these scores alone decide; False where a first stage's scores are added to them, which have
                counted the bi-encoder's opinion already. Default True. Matters to the packaged model only.

        Returns:
            For each query its documents' scores in 0..1, in the order of the input.

        Raises:
            TypeError: If a query is not a string, or a document is neither a string nor a Document.
            ModelOutputError: If the model returns NaN or infinity.
        """
        texts = [[self._text(document) for document in own] for own in documents]
        result = [[0.0] * len(own) for own in texts]
        # a blank query asks for nothing: no document answers it
        asked = [number for number, query in enumerate(queries) if check_query(query).strip() and texts[number]]
        if asked:
            found = self.encoder.score(
                [queries[number] for number in asked],
                [texts[number] for number in asked],
                [tokens[number] for number in asked] if tokens is not None else None,
                alone=alone,
            )
            for number, scores in zip(asked, found, strict=True):
                result[number] = scores.tolist()
        return result

    def _text(self, document: Any) -> str:
        if isinstance(document, str):
            return document
        if isinstance(document, Document):
            return searchable_text(document.page_content, document.metadata, self.title_key)
        raise TypeError(f"{document!r} is a {type(document).__name__}; a reranker takes strings or Documents.")

    def _best(self, scores: Sequence[float], top_n: int | None) -> list[int]:
        order = sorted(range(len(scores)), key=lambda number: -scores[number])  # stable: equals keep their order
        threshold = self.score_threshold
        return [number for number in order if threshold is None or scores[number] >= threshold][:top_n]

    def _compress(self, documents: list[Document], query: str, outputs: dict[str, Any]) -> list[Document]:
        start = time.perf_counter()
        [scores] = self.score([query], [documents])
        best = [
            with_metadata(documents[number], relevance_score=scores[number])
            for number in self._best(scores, self.top_n)
        ]
        outputs.update(documents=best, milliseconds=round(1000 * (time.perf_counter() - start), 3))
        return best

    def trace_inputs(self, query: str, documents: int) -> dict[str, Any]:
        """Return what a run in a trace shows as the inputs of a reranking."""
        return {"query": query, "documents": documents, "model": self.model_name or PACKAGED, "top_n": self.top_n}
