"""What the server computes: scores, vectors and searches, each for many clients at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.documents import Document

from langchain_klue_rerank.embeddings import KlueEmbeddings
from langchain_klue_rerank.engine.text.words import encodable
from langchain_klue_rerank.reranker import KlueReranker
from langchain_klue_rerank.retriever import KlueRetriever
from langchain_klue_rerank.server.batching import Batcher

_WORD = re.compile(r"[^\W_]+")


class Services:
    """The models and indexes of a server.

    Args:
        indexes: Retrievers by name; the first is the default.
        reranker: What scores. Default: the packaged reranker.
        embeddings: The embedding model. Default: the packaged bi-encoder.
        max_waiting: Most requests of a kind that wait; one more is refused.
    """

    def __init__(
        self,
        indexes: Mapping[str, KlueRetriever] | None = None,
        *,
        reranker: KlueReranker | None = None,
        embeddings: KlueEmbeddings | None = None,
        max_waiting: int = 256,
    ) -> None:
        self.indexes = dict(indexes or {})
        self.reranker = reranker or KlueReranker()
        self.embeddings = embeddings or KlueEmbeddings()
        self.max_waiting = max_waiting
        self.rerank = Batcher(self._scores, max_waiting=max_waiting)
        self.embed = Batcher(self._vectors, max_waiting=max_waiting)
        self.search = Batcher(self._documents, max_waiting=max_waiting, max_size=64)
        self.batchers = {"rerank": self.rerank, "embed": self.embed, "search": self.search}

    def warm_up(self) -> None:
        """Load the models, so that the first request does not wait for them."""
        self.reranker.score(["전입신고는 언제까지 하나요?"], [["전입신고는 14일 안에 합니다."]])
        self.embeddings.embed_query("전입신고는 언제까지 하나요?")
        for retriever in self.indexes.values():
            retriever.invoke("전입신고는 언제까지 하나요?")

    def _scores(self, key: None, items: list[tuple[str, list[str]]]) -> list[list[float]]:
        return self.reranker.score([query for query, _ in items], [texts for _, texts in items])

    def _vectors(self, kind: str, items: list[list[str]]) -> list[list[list[float]]]:
        texts = [text for item in items for text in item]
        if kind == "query":
            vectors = [self.embeddings.embed_query(text) for text in texts]
        else:
            vectors = self.embeddings.embed_documents(texts) if texts else []
        every = iter(vectors)
        return [[next(every) for _ in item] for item in items]

    def _documents(
        self, key: tuple[str, int, str, float | None, bool], items: list[str]
    ) -> list[list[tuple[Document, dict[str, Any] | None]]]:
        name, k, condition, threshold, explain = key
        retriever = self.indexes[name]
        answers = retriever.batch(items, k=k, filter=json.loads(condition), score_threshold=threshold)
        return [
            [(document, _explanation(retriever, query, document) if explain else None) for document in found]
            for query, found in zip(items, answers, strict=True)
        ]


def _explanation(retriever: KlueRetriever, query: str, document: Document) -> dict[str, Any]:
    explanation = retriever.explain(query, document)
    told = {"description": explanation.describe(), "description_ko": explanation.describe("ko")}
    return {**explanation.to_dict(), **told}


def count_words(texts: Iterable[str]) -> int:
    """Count words as the packaged models read them: runs of letters and digits."""
    return sum(len(_WORD.findall(text)) for text in texts)


def plain(value: Any) -> Any:
    """Return metadata as JSON can say it: what is no number as None, other objects as strings."""
    if isinstance(value, dict):
        return {encodable(str(key)): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return encodable(str(value))
