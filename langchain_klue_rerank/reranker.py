"""`KlueReranker`: a cross-encoder as a LangChain document compressor."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from pydantic import Field, PrivateAttr

from langchain_klue_rerank.adapters.options import ModelKwargs, RerankKwargs, refuse_for_packaged
from langchain_klue_rerank.adapters.reranking import RankedDocument, RankerCompressor
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.models.names import PACKAGED, identity, is_late_interaction, resolve
from langchain_klue_rerank.engine.models.opening import load_cross_encoder
from langchain_klue_rerank.engine.models.options import MAX_VECTORS, Backend, CrossEncoderOptions
from langchain_klue_rerank.engine.rerank.early_stop import calibrate
from langchain_klue_rerank.engine.rerank.ranker import Ranker, Stage
from langchain_klue_rerank.engine.threads import Lazy
from langchain_klue_rerank.errors import ModelLoadError

if TYPE_CHECKING:
    from langchain_klue_rerank.engine.contracts import CrossEncoder

logger = logging.getLogger(__name__)

__all__ = ["KlueReranker", "RankedDocument"]


class KlueReranker(RankerCompressor):
    """Reorder documents by how well they answer a query.

    Without arguments it uses the weights that come with the package: no torch, no download, no GPU. With a name it
    loads any sentence-transformers cross-encoder (needs the ``torch`` extra), among them those fine-tuned from
    klue/roberta. The model is loaded once, on first use. A late-interaction model (sentence-transformers'
    MultiVectorEncoder, ColBERT, PyLate) is recognised by its files; a `KlueRetriever` then keeps the passages'
    token vectors in its index, and reranking costs about as much as a search.

    Documents come back as copies with ``metadata["relevance_score"]``, a float in 0..1; their ids and other metadata
    stay. A document longer than the model's window is scored in overlapping windows, and the best window counts.

    Examples:
        >>> reranker = KlueReranker(top_n=1)
        >>> reranker.rerank(["고양이는 포유류입니다.", "전입신고는 14일 안에 합니다."], "전입신고 기한")[0]["index"]
        1

    Args:
        model: ``None`` (the packaged weights), the path of a folder, or a hub id.
        top_n: How many documents to keep, None for all. Default 3, as LangChain's other rerankers.
        score_threshold: Lowest score to keep, 0..1; None keeps all.
        max_latency_ms: Milliseconds after which a call returns with the scores computed so far: documents that were
            not scored follow in their given order, with ``metadata["reranked"]`` False and a score of 0, and no
            threshold drops them. The time includes waiting for other callers, not loading the model. None (default) for
            no limit. A batch of n queries has n times as long.
        early_stop: Score from which a document is accepted as the answer, so that the documents after it are not
            scored. They follow as above, except that a threshold drops them. `find_early_stop` finds a value. None
            (default) scores all.
        read_n: Maximum number of documents to score, the most promising first; the others follow as above, except that
            a threshold applies to them. In a `KlueCascade` the scores of the earlier rerankers decide. None (default)
            scores all.
        title_key: The metadata key of a title that is read before the text; None reads the text alone. Default
            ``"title"``.
        backend: What runs a model from a folder or the hub: ``"torch"`` (default), ``"onnx"`` (the same scores,
            faster on a CPU), ``"onnx-int8"`` (faster still, scores rounded) or ``"auto"`` (half precision on a GPU, the
            fastest of these that is installed on a CPU). ONNX needs the ``onnx`` extra. Not for the packaged weights,
            nor are the following.
        cache_folder: Where files from the hub are kept; None for the hub's own cache.
        model_kwargs: How the model is loaded; see `ModelKwargs`: device, revision, trust_remote_code.
        encode_kwargs: How it computes; see `RerankKwargs`: batch_size, max_length, max_windows, window_length,
            max_vectors.

    Raises:
        ModelLoadError: At once if the name is neither a folder nor a hub id; on first use if the model cannot be
            loaded.
        MissingExtraError: On first use, if the model needs the ``torch`` or the ``onnx`` extra and that is not
            installed.
        ValueError: If the packaged weights are given an option that they cannot use.
    """

    model_name: str | None = Field(default=None, alias="model", frozen=True)
    early_stop: float | None = Field(default=None, ge=0)
    read_n: int | None = Field(default=None, ge=1)
    backend: Backend = Field(default="torch", frozen=True)
    cache_folder: str | None = Field(default=None, frozen=True)
    model_kwargs: ModelKwargs = Field(default_factory=ModelKwargs, frozen=True)
    encode_kwargs: RerankKwargs = Field(default_factory=RerankKwargs, frozen=True)

    _encoder: Lazy[CrossEncoder] = PrivateAttr()
    _vectors_of: Lazy[str] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the model's name, once and for all; loading waits for the first use."""
        found = resolve(self.model_name)
        self._name = self.model_name or PACKAGED
        self._reads_tokens = self._has_confidence = found == PACKAGED
        if found == PACKAGED:
            refuse_for_packaged(
                "packaged reranker",
                backend=self.backend if self.backend != "torch" else None,
                cache_folder=self.cache_folder,
                model_kwargs=self.model_kwargs,
                encode_kwargs=self.encode_kwargs,
            )
        how: Any = {**self.model_kwargs, **self.encode_kwargs}
        options = CrossEncoderOptions(**how, backend=self.backend, cache_folder=self.cache_folder)
        self._encoder = Lazy(partial(load_cross_encoder, str(found), options))
        self._vectors_of = Lazy(partial(_vectors_of, str(found), options))

    @property
    def encoder(self) -> CrossEncoder:
        """The loaded cross-encoder; loads it if need be."""
        return self._encoder()

    def find_early_stop(
        self, queries: Sequence[str], documents: Sequence[Sequence[str | Document]], *, error: float = 0.01
    ) -> float:
        """Find the lowest value for ``early_stop`` that seldom leaves the best document unscored.

        Args:
            queries: Your own questions, which were not used for training.
            documents: For each its candidates, in the order of the first stage.
            error: Share of the questions for which the best may be missed. Default 0.01. Use hundreds of questions:
                with few, the value misses more on new ones.

        Returns:
            A value for ``early_stop``, just above 1 if none is good enough.
        """
        whole = self.model_copy(update={"early_stop": None, "read_n": None, "max_latency_ms": None})
        return calibrate([np.asarray(scores, np.float32) for scores in whole.score(queries, documents)], error)

    @property
    def _ranker(self) -> Ranker:
        return Ranker((Stage(self._encoder, self.read_n, self.early_stop),))

    @property
    def _reads_all(self) -> bool:
        return self.read_n is None and self.early_stop is None

    @property
    def _token_vectors(self) -> str | None:
        if self._reads_tokens:
            return None
        try:
            return self._vectors_of() or None
        except ModelLoadError as error:  # not remembered: the next call asks again
            logger.warning("Whether %r is a late-interaction model is not known yet: %s", self.model_name, error)
            return None

    def _encode_documents(self, texts: Sequence[str]) -> TokenVectors:
        from langchain_klue_rerank.engine.models.transformer.late_interaction import LateInteraction

        encoder = self.encoder
        assert isinstance(encoder, LateInteraction)
        return encoder.encode_passages(texts)


def _vectors_of(model: str, options: CrossEncoderOptions) -> str:
    """Return the identity of a late-interaction model's token vectors; empty for another kind of model."""
    if not is_late_interaction(model, options):
        return ""
    return f"{identity(model, options.revision)}/{options.max_vectors or MAX_VECTORS}"
