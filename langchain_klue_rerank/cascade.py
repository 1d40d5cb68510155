"""`KlueCascade`: a cascade of rerankers as one LangChain document compressor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from pydantic import Field

from langchain_klue_rerank.adapters.reranking import RankerCompressor
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.rerank.ranker import Ranker
from langchain_klue_rerank.reranker import KlueReranker


class KlueCascade(RankerCompressor):
    """Rerank with an inexpensive model, then rescore the best few with an expensive one.

    Each stage scores at most its ``read_n`` documents, in the order of the earlier stages' scores. A score is the
    mean of a stage's and the earlier ones', or half of the earlier one's for a document that the stage did not read.
    With a transformer that scores four documents of thirty, this costs little more than four pairs of the transformer.

    Examples:
        >>> cascade = KlueCascade(
        ...     stages=[KlueReranker(), KlueReranker(model="my-cross-encoder", read_n=4, backend="auto")], top_n=3
        ... )  # doctest: +SKIP

    Args:
        stages: At least two rerankers, the least expensive first. Only their scoring options apply; ``top_n``,
            ``score_threshold``, ``max_latency_ms`` and ``title_key`` are taken from the cascade.
        top_n: How many documents to keep, None for all. Default 3.
        score_threshold: Lowest score to keep, 0..1; None keeps all.
        max_latency_ms: Milliseconds after which a call returns with the scores computed so far; see `KlueReranker`.
        title_key: The metadata key of a title that is read before the text; None reads the text alone. Default
            ``"title"``.
    """

    stages: list[KlueReranker] = Field(min_length=2, frozen=True)

    def model_post_init(self, context: Any, /) -> None:
        """Take the stages' properties over."""
        self._name = " > ".join(stage._name for stage in self.stages)
        self._reads_tokens = any(stage._reads_tokens for stage in self.stages)

    @property
    def _ranker(self) -> Ranker:
        return Ranker(tuple(chain.from_iterable(stage._ranker.stages for stage in self.stages)))

    @property
    def _reads_all(self) -> bool:
        return all(stage._reads_all for stage in self.stages)

    @property
    def _token_vectors(self) -> str | None:
        return next((known for stage in self.stages if (known := stage._token_vectors)), None)

    def _encode_documents(self, texts: Sequence[str]) -> TokenVectors:
        return next(stage for stage in self.stages if stage._token_vectors)._encode_documents(texts)
