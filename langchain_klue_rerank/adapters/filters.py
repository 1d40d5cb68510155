"""A filter of documents, metadata or a function; and the same filter translated into the syntax of each vector store.

A store need not support all of a filter: it gets the part that it supports, which must keep every document that
the filter keeps, and what comes back is filtered again (`StoreFilter.keep`). So the documents are the same in every
store.
"""

from __future__ import annotations

import inspect
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from langchain_klue_rerank.adapters.documents import to_document
from langchain_klue_rerank.engine.index.filters import (
    ALWAYS,
    NEVER,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Exists,
    Not,
    OneOf,
    UnknownOperatorError,
    matches,
    parse,
)
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.search import Keep

if TYPE_CHECKING:
    from qdrant_client import models

#: What may be given as a filter: a function of a document, or metadata values that a document must have.
Filter = Callable[[Document], bool] | dict[str, Any]
#: Whole numbers up to here are exact as floating-point numbers.
_EXACT = 1 << 53

#: Translates a single condition, or its negation, into a store's filter syntax; None if it has no equivalent.
Leaf = Callable[[Condition], Any]


def to_keep(condition: Filter | None) -> Keep | None:
    """Turn a filter into what the index understands: a condition on metadata, or a function of a passage.

    Args:
        condition: A function of a Document; or a dictionary of metadata, see `engine.index.filters.parse`.

    Raises:
        TypeError: If it is neither, an async function, or the dictionary has an unknown operator.
        ValueError: If a value in it cannot be compared.
    """
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        return parse(condition)
    if callable(condition):
        check_sync(condition)
        return lambda passage: bool(condition(to_document(passage)))
    raise TypeError(f"filter={condition!r} is neither a dictionary of metadata nor a function of a Document.")


def check_sync(condition: Callable[..., Any]) -> None:
    """Check that a function that filters is no async one: what that returns is true for every document.

    Raises:
        TypeError: If it is.
    """
    if inspect.iscoroutinefunction(condition) or inspect.iscoroutinefunction(type(condition).__call__):
        raise TypeError(f"filter={condition!r} is an async function; give one that returns True or False.")


def to_predicate(condition: Filter | None) -> Callable[[Passage], bool] | None:
    """Turn a filter into a function of a passage; see `to_keep`."""
    keep = to_keep(condition)
    if keep is None or callable(keep):
        return keep
    return lambda passage: matches(keep, passage.metadata)


@dataclass(frozen=True, slots=True)
class StoreFilter:
    """How a store is asked to keep to a filter.

    Attributes:
        arguments: What its search is given.
        keep: What is left of what it finds; None for all.
        nothing: Whether no document at all can be found.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    keep: Callable[[Document], bool] | None = None
    nothing: bool = False


def store_filter(store: VectorStore, condition: Any) -> StoreFilter:
    """Return how a vector store is asked to keep to a filter.

    Args:
        store: The store. Translated is for Chroma, FAISS (langchain-community), InMemoryVectorStore, Milvus, PGVector,
            PGVectorStore and Qdrant; another store gets the filter as it is.
        condition: A dictionary of metadata, see `engine.index.filters.parse`; or whatever the store itself understands,
            which is handed on unchanged: an expression, a function, a dictionary with operators of its own.

    Raises:
        TypeError: If it is a function and the store runs none.
        ValueError: If a value in it cannot be compared, or an operator lacks its ``$``.
    """
    if condition is None:
        return StoreFilter()
    kinds = [kind.__name__ for kind in type(store).__mro__]
    name = next((kind for kind in kinds if kind in _TRANSLATIONS or kind in _RUN_FUNCTIONS), None)
    if name is None:
        return StoreFilter({"filter": condition})
    if name in _RUN_FUNCTIONS:
        return _RUN_FUNCTIONS[name](store, condition)
    if callable(condition) and not isinstance(condition, Mapping):
        raise TypeError(
            f"filter={condition!r} is a function, which {type(store).__name__} cannot run; "
            "give a dictionary of metadata, or a filter in the store's own syntax."
        )
    if not isinstance(condition, Mapping):
        return StoreFilter({"expr" if name == "Milvus" else "filter": condition})
    try:
        wanted = parse(condition)
    except UnknownOperatorError:
        return StoreFilter({"filter": condition})  # the store's own
    if wanted in (ALWAYS, NEVER):
        return StoreFilter(nothing=wanted == NEVER)
    arguments = _TRANSLATIONS[name](store, wanted)
    return StoreFilter(arguments, lambda document: matches(wanted, document.metadata))


def _translated(condition: Condition, leaf: Leaf, join: Callable[[str, list[Any]], Any]) -> Any:
    """Translate the part of a condition that a store supports; None for nothing.

    A part that is left out keeps more documents, never fewer.
    """
    match condition:
        case AllOf(conditions):
            parts = [part for condition in conditions if (part := _translated(condition, leaf, join)) is not None]
            return (parts[0] if len(parts) == 1 else join("and", parts)) if parts else None
        case AnyOf(conditions):
            parts = [_translated(condition, leaf, join) for condition in conditions]
            return None if any(part is None for part in parts) else join("or", parts)
        case _:
            return leaf(condition)


def _in_memory(store: Any, condition: Any) -> StoreFilter:
    if not isinstance(condition, Mapping):
        check_sync(condition)
        return StoreFilter({"filter": condition})
    wanted = parse(condition)
    return StoreFilter({"filter": lambda document: matches(wanted, document.metadata)})


def _faiss(store: Any, condition: Any) -> StoreFilter:
    # its functions see metadata only; and it filters the first fetch_k only, by default 20
    fetch = {"fetch_k": max(1, len(store.index_to_docstore_id))}
    if isinstance(condition, Mapping):
        try:
            wanted = parse(condition)
        except UnknownOperatorError:
            return StoreFilter({"filter": condition, **fetch})
        return StoreFilter({"filter": lambda metadata: matches(wanted, metadata), **fetch})
    check_sync(condition)
    return StoreFilter({"filter": lambda metadata: condition(Document("", metadata=metadata)), **fetch})


def _join_operators(name: str, parts: list[Any]) -> Any:
    return {f"${name}": parts}


def _chroma(store: Any, condition: Condition) -> dict[str, Any]:
    found = _translated(condition, _chroma_leaf, _join_operators)
    return {} if found is None else {"filter": found}


def _chroma_leaf(condition: Condition) -> Any:
    match condition:
        case OneOf((key,), values) if all(isinstance(value, str) for value in values):
            return {key: {"$eq": values[0]} if len(values) == 1 else {"$in": list(values)}}
        case OneOf((key,), (bool() as value,)):
            return {key: {"$eq": value}}
        case OneOf((key,), values) if all(type(value) in (int, float) for value in values):  # it tells 1 from 1.0
            parts = [{key: {"$eq": one}} for value in values for one in _both_kinds(value)]
            return parts[0] if len(parts) == 1 else {"$or": parts}
        case Compare((key,), order, int() | float() as bound):
            return {key: {order: bound}}
    return None


def _both_kinds(value: Any) -> list[Any]:
    return [int(value), float(value)] if abs(value) < _EXACT and value == int(value) else [value]


def _pgvector(store: Any, condition: Condition) -> dict[str, Any]:
    if not getattr(store, "use_jsonb", True):
        return {}
    found = _translated(condition, _pgvector_leaf, _join_operators)
    return {} if found is None else {"filter": found}


def _pgvector_leaf(condition: Condition) -> Any:
    """Compare by JSON path, which looks into lists. A negation is unknown, not true, where kinds differ: left out."""
    inner = condition.condition if isinstance(condition, Not) else condition
    if not isinstance(inner, OneOf | Compare | Exists) or len(inner.path) != 1 or not inner.path[0].isidentifier():
        return None
    [key] = inner.path
    match condition:
        case OneOf(_, values):
            parts = [{key: {"$eq": value}} for value in values]
            return parts[0] if len(parts) == 1 else {"$or": parts}
        case Compare(_, order, bound):
            return {key: {order: bound}}
        case Exists():
            return {key: {"$exists": True}}
        case Not(Exists()):
            return {"$and": [{"$not": {key: {"$ne": None}}}, {"$not": {key: {"$eq": None}}}]}
    return None


def _pgvector_store(store: Any, condition: Condition) -> dict[str, Any]:
    columns = getattr(getattr(store, "_PGVectorStore__vs", None), "metadata_columns", ())

    def leaf(condition: Condition) -> Any:
        inner = condition.condition if isinstance(condition, Not) else condition
        if not isinstance(inner, OneOf | Compare | Exists) or len(inner.path) != 1 or inner.path[0] not in columns:
            return None  # in the column of JSON it compares texts, and does not look into lists
        [key] = inner.path
        there = not isinstance(condition, Not)
        found: dict[str, Any]
        match inner:
            case Exists():
                return {key: {"$exists": there}}
            case OneOf(_, values) if None not in values and len({type(value) for value in values}) == 1:
                found = {key: {"$in" if there else "$nin": list(values)}}
            case Compare(_, order, bound):
                found = {key: {order if there else _OPPOSITE[order]: bound}}
            case _:
                return None
        return found if there else {"$or": [found, {key: {"$exists": False}}]}

    found = _translated(condition, leaf, _join_operators)
    return {} if found is None else {"filter": found}


_OPPOSITE = {"$gt": "$lte", "$gte": "$lt", "$lt": "$gte", "$lte": "$gt"}


def _milvus(store: Any, condition: Condition) -> dict[str, Any]:
    def leaf(condition: Condition) -> str | None:
        match condition:
            case OneOf((key,), values) if key.isidentifier() and None not in values:
                return f"{key} in [{', '.join(json.dumps(value, ensure_ascii=False) for value in values)}]"
            case Compare((key,), order, bound) if key.isidentifier():
                sign = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}[order]
                return f"{key} {sign} {json.dumps(bound, ensure_ascii=False)}"
        return None

    found = _translated(condition, leaf, lambda name, parts: f" {name} ".join(f"({part})" for part in parts))
    return {} if found is None else {"expr": found}


def _qdrant(store: Any, condition: Condition) -> dict[str, Any]:
    from qdrant_client import models

    def join(name: str, parts: list[Any]) -> models.Filter:
        return models.Filter(must=parts) if name == "and" else models.Filter(should=parts)

    def leaf(condition: Condition) -> Any:
        if isinstance(condition, Not):
            inner = leaf(condition.condition)
            return None if inner is None else models.Filter(must_not=[inner])
        if not isinstance(condition, OneOf | Compare | Exists):
            return None
        parts: list[Any] = []
        for key in _qdrant_keys(store.metadata_payload_key, condition.path):
            some = _qdrant_at(key, condition)
            if not some:
                return None
            parts += some
        return models.Filter(should=parts) if parts else None

    found = _translated(condition, leaf, join)
    return (
        {} if found is None else {"filter": found if isinstance(found, models.Filter) else models.Filter(must=[found])}
    )


def _qdrant_keys(payload: str, path: tuple[str, ...]) -> list[str]:
    """Return the paths under which a value may stand: lists of dictionaries on the way are entered, or are none."""
    if any('"' in key for key in path):
        return []
    names = [key if re.fullmatch(r"[A-Za-z0-9_]+", key) else f'"{key}"' for key in path]
    ways = itertools.product(*((name, f"{name}[]") for name in names[:-1]))
    return [".".join((payload, *way, names[-1])) for way in ways]


def _qdrant_at(key: str, condition: OneOf | Compare | Exists) -> list[Any]:
    """Say a condition on one key as alternatives; none where Qdrant cannot."""
    from qdrant_client import models

    def at(**how: Any) -> models.FieldCondition:
        return models.FieldCondition(key=key, **how)

    is_null = models.IsNullCondition(is_null=models.PayloadField(key=key))
    match condition:
        case Exists():
            is_empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
            return [models.Filter(must_not=[is_empty]), is_null]
        case Compare(_, order, bound):
            return [] if isinstance(bound, str) else [at(range=models.Range(**{order[1:]: bound}))]
        case OneOf(_, values):
            texts = [value for value in values if isinstance(value, str)]
            parts: list[Any] = [at(match=models.MatchAny(any=texts))] if texts else []
            for value in values:
                if value is None:
                    parts.append(is_null)
                elif isinstance(value, bool):
                    parts.append(at(match=models.MatchValue(value=value)))
                elif isinstance(value, int | float):  # a whole number matches no fraction there, not even 1 and 1.0
                    if abs(value) >= _EXACT:
                        return []
                    parts.append(at(range=models.Range(gte=value, lte=value)))
            return parts


_RUN_FUNCTIONS: dict[str, Callable[[Any, Any], StoreFilter]] = {"FAISS": _faiss, "InMemoryVectorStore": _in_memory}
_TRANSLATIONS: dict[str, Callable[[Any, Condition], dict[str, Any]]] = {
    "Chroma": _chroma,
    "Milvus": _milvus,
    "PGVector": _pgvector,
    "PGVectorStore": _pgvector_store,
    "QdrantVectorStore": _qdrant,
}
