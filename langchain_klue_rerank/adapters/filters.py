"""One way to filter by metadata, said in the language of every vector store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from langchain_klue_rerank.adapters.convert import to_document
from langchain_klue_rerank.engine.index.filters import matches, parse
from langchain_klue_rerank.engine.index.passages import Passage

#: What may be given as a filter: a function of a document, or metadata values that a document must have.
Filter = Callable[[Document], bool] | dict[str, Any]


def stores_filter(store: VectorStore, condition: Filter | None) -> dict[str, Any]:
    """Return the arguments that make a vector store's search keep to a filter.

    Args:
        store: The store. Spoken are the languages of Chroma, FAISS (langchain-community), InMemoryVectorStore,
            KlueVectorStore, Milvus, PGVector, PGVectorStore and Qdrant; another store gets the filter as it is.
        condition: Metadata that a document must have (a list means one of its values); or whatever the store itself
            understands, which is handed on unchanged: an expression, a function, a dictionary with operators.

    Raises:
        TypeError: If it is a function and the store runs none.
    """
    if condition is None:
        return {}
    kinds = [kind.__name__ for kind in type(store).__mro__]
    translate = next((_TRANSLATIONS[kind] for kind in kinds if kind in _TRANSLATIONS), None)
    return translate(store, condition) if translate is not None else {"filter": condition}


def _is_plain(condition: Any) -> bool:
    """Say whether a filter is metadata with values, not a store's own language."""
    return isinstance(condition, dict) and not any(
        key.startswith("$") or isinstance(value, dict) for key, value in condition.items()
    )


def _refuse_function(store: VectorStore, condition: Any) -> None:
    if callable(condition):
        raise TypeError(
            f"filter={condition!r} is a function, which {type(store).__name__} cannot run; "
            "give a dictionary of metadata, or a filter in the store's own language."
        )


def _operators(store: VectorStore, condition: Any) -> dict[str, Any]:
    _refuse_function(store, condition)
    if not _is_plain(condition):
        return {"filter": condition}
    parts = [{key: {"$in": value} if isinstance(value, list) else {"$eq": value}} for key, value in condition.items()]
    return {"filter": parts[0] if len(parts) == 1 else {"$and": parts}} if parts else {}


def _in_memory(store: VectorStore, condition: Any) -> dict[str, Any]:
    keep = to_predicate(condition)

    def keeps(document: Document) -> bool:
        return keep is None or keep(Passage(document.id or "", document.page_content, document.metadata))

    return {"filter": keeps}


def _faiss(store: Any, condition: Any) -> dict[str, Any]:
    # its functions see metadata only; and it filters the first fetch_k only, by default 20
    if callable(condition):
        arguments: dict[str, Any] = {"filter": lambda metadata: condition(Document("", metadata=metadata))}
    else:
        arguments = _operators(store, condition)
    return {**arguments, "fetch_k": max(1, len(store.index_to_docstore_id))}


def _qdrant(store: Any, condition: Any) -> dict[str, Any]:
    _refuse_function(store, condition)
    if not _is_plain(condition):
        return {"filter": condition}
    from qdrant_client import models

    conditions: list[models.Condition] = [
        models.FieldCondition(
            key=f"{store.metadata_payload_key}.{key}",
            match=models.MatchAny(any=value) if isinstance(value, list) else models.MatchValue(value=value),
        )
        for key, value in condition.items()
    ]
    return {"filter": models.Filter(must=conditions)}


def _milvus(store: VectorStore, condition: Any) -> dict[str, Any]:
    _refuse_function(store, condition)
    if isinstance(condition, str):
        return {"expr": condition}
    if not _is_plain(condition):
        raise TypeError(f"filter={condition!r}: give Milvus metadata with values, or an expression as a string.")
    parts = []
    for key, value in condition.items():
        if not key.isidentifier():
            raise ValueError(f"The metadata key {key!r} cannot stand in a filter of Milvus; write an expression.")
        values = ", ".join(
            json.dumps(one, ensure_ascii=False) for one in (value if isinstance(value, list) else [value])
        )
        parts.append(f"{key} in [{values}]")
    return {"expr": " and ".join(parts)}


_TRANSLATIONS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "Chroma": _operators,
    "FAISS": _faiss,
    "InMemoryVectorStore": _in_memory,
    "Milvus": _milvus,
    "PGVector": _operators,
    "PGVectorStore": _operators,
    "QdrantVectorStore": _qdrant,
}


def to_predicate(condition: Filter | None) -> Callable[[Passage], bool] | None:
    """Turn a filter into a function of a passage.

    Args:
        condition: A function of a Document; or a dictionary of metadata, see `engine.index.filters.parse`.

    Raises:
        TypeError: If it is neither, or the dictionary has an operator that is none of ours.
        ValueError: If a value in it cannot be compared.
    """
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        wanted = parse(condition)
        return lambda passage: matches(wanted, passage.metadata)
    if callable(condition):
        return lambda passage: bool(condition(to_document(passage)))
    raise TypeError(f"filter={condition!r} is neither a dictionary of metadata nor a function of a Document.")
