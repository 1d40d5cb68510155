"""Haystack: a ranker and a retriever over a `KlueRetriever` (extra ``haystack``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from langchain_core.documents import Document as LangChainDocument

from langchain_klue_rerank.reranker import KlueReranker
from langchain_klue_rerank.retriever import KlueRetriever

#: Haystack's comparisons as ours; negations are those of others.
_COMPARISONS = {
    "==": "$eq",
    "!=": "$not",
    ">": "$gt",
    ">=": "$gte",
    "<": "$lt",
    "<=": "$lte",
    "in": "$in",
    "not in": "$not",
}
#: A document's own fields, which a filter may name beside those of ``meta``.
_FIELDS = frozenset(field.name for field in fields(Document)) | {"meta"}


@component
class KlueRanker:
    """Orders documents by how well they answer a query.

    Args:
        model: Folder or hub id; None for the packaged reranker.
        top_k: How many documents to return. Default 10.
        score_threshold: Lowest score to return, 0..1; None returns all.
        title_key: The key in ``meta`` of a title that is read before the text; None for the text alone.
    """

    def __init__(
        self,
        model: str | None = None,
        top_k: int = 10,
        score_threshold: float | None = None,
        title_key: str | None = "title",
    ) -> None:
        if top_k < 1:
            raise ValueError(f"top_k={top_k!r} is not a whole number from 1 up.")
        self.model = model
        self.top_k = top_k
        self.score_threshold = score_threshold
        self.title_key = title_key
        self._reranker = KlueReranker(model=model)

    def warm_up(self) -> None:
        """Load the model, so that the first run does not wait for it."""
        self._reranker.score(["준비"], [["준비"]])

    def to_dict(self) -> dict[str, Any]:
        """Return what Haystack saves of it."""
        names = ("model", "top_k", "score_threshold", "title_key")
        return dict(default_to_dict(self, **{name: getattr(self, name) for name in names}))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KlueRanker:
        """Make it of what `to_dict` returned."""
        ranker: KlueRanker = default_from_dict(cls, data)
        return ranker

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None, score_threshold: float | None = None
    ) -> dict[str, list[Document]]:
        """Order documents.

        Args:
            query: The query.
            documents: The documents; they stay as they are.
            top_k: In place of the ranker's own.
            score_threshold: In place of the ranker's own.

        Returns:
            ``documents``: copies of the best ones, with scores in 0..1.
        """
        limit = self.top_k if top_k is None else top_k
        least = self.score_threshold if score_threshold is None else score_threshold
        if not documents or limit < 1:
            return {"documents": []}
        texts = [_with_title(document, self.title_key) for document in documents]
        ranked = self._reranker.rerank(texts, query, top_n=limit)
        kept = [
            replace(documents[one["index"]], score=float(one["relevance_score"]))
            for one in ranked
            if one["relevance_score"] >= (least or 0)
        ]
        return {"documents": kept}


def _with_title(document: Document, title_key: str | None) -> str:
    title = document.meta.get(title_key) if title_key else None
    text = document.content or ""
    return f"{title}\n{text}" if isinstance(title, str) and title else text


@component
class KlueIndexRetriever:
    """Searches a saved index.

    Args:
        folder: The folder that ``klue-rerank index`` or ``KlueRetriever.save`` wrote; opened at the first run.
        top_k: How many documents to return. Default 10.
        filters: Haystack's filters, on ``meta``; None for all documents.
    """

    def __init__(self, folder: str, top_k: int = 10, filters: dict[str, Any] | None = None) -> None:
        self.folder = str(folder)
        self.top_k = top_k
        self.filters = filters
        self._retriever: KlueRetriever | None = None

    def warm_up(self) -> None:
        """Open the index.

        Raises:
            IndexFormatError: If the folder is not an index, or is damaged.
        """
        if self._retriever is None:
            self._retriever = KlueRetriever.load(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """Return what Haystack saves of it."""
        return dict(default_to_dict(self, folder=self.folder, top_k=self.top_k, filters=self.filters))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KlueIndexRetriever:
        """Make it of what `to_dict` returned."""
        retriever: KlueIndexRetriever = default_from_dict(cls, data)
        return retriever

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Search.

        Args:
            query: The query.
            filters: In place of the retriever's own.
            top_k: In place of the retriever's own.

        Returns:
            ``documents``: the best ones, with scores in 0..1.

        Raises:
            ValueError: If a filter is none that Haystack defines.
        """
        self.warm_up()
        assert self._retriever is not None
        chosen = self.filters if filters is None else filters
        found = self._retriever.invoke(
            query, k=self.top_k if top_k is None else top_k, filter=to_filter(chosen) if chosen else None
        )
        return {"documents": [_to_haystack(document) for document in found]}


def to_filter(filters: dict[str, Any]) -> dict[str, Any]:
    """Turn Haystack's filters into ours.

    Raises:
        ValueError: If it is none that Haystack defines.
    """
    operator = filters.get("operator")
    if "conditions" in filters and operator in ("AND", "OR", "NOT"):
        parts = [to_filter(part) for part in filters["conditions"]]
        return {"$not": {"$and": parts}} if operator == "NOT" else {"$and" if operator == "AND" else "$or": parts}
    if operator in _COMPARISONS and "field" in filters and "value" in filters:
        return _comparison(str(filters["field"]), operator, filters["value"])
    raise ValueError(f"{filters!r} is none of Haystack's filters: a comparison of a field, or AND, OR, NOT.")


def _comparison(field: str, operator: str, value: Any) -> dict[str, Any]:
    """Turn a comparison into ours. To Haystack a dot leads into a dictionary, and a missing field is None."""
    if field in _FIELDS:
        raise ValueError(f"The filter asks for {field!r}, and an index filters by meta only, such as 'meta.{field}'.")
    path = field.removeprefix("meta.").split(".")
    if operator in ("!=", "not in"):
        return {"$not": _comparison(field, "==" if operator == "!=" else "in", value)}
    if operator == "in" and isinstance(value, list | tuple | set) and None in value:
        given = [one for one in value if one is not None]
        return {"$or": [_at(path, {"$in": given}), _comparison(field, "==", None)]}
    if value is None:  # nothing is less or greater
        return {"$or": [_at(path, {"$eq": None}), {"$not": _at(path, {"$exists": True})}] if operator == "==" else []}
    return _at(path, {_COMPARISONS[operator]: value})


def _at(path: list[str], condition: dict[str, Any]) -> dict[str, Any]:
    return {path[0]: _at(path[1:], condition) if path[1:] else condition}


def to_langchain(documents: Iterable[Document]) -> list[LangChainDocument]:
    """Turn Haystack's documents into LangChain's, with their ids, to index them with a `KlueRetriever`."""
    return [LangChainDocument(one.content or "", id=one.id, metadata=dict(one.meta)) for one in documents]


def _to_haystack(document: LangChainDocument) -> Document:
    meta = dict(document.metadata)
    score = meta.pop("relevance_score", None)
    return Document(id=document.id or "", content=document.page_content, meta=meta, score=score)
