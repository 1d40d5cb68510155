"""Candidates from other vector stores and retrievers, and the fusion of several rankings."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.config import run_in_executor
from langchain_core.vectorstores import VectorStore

from langchain_klue_rerank.adapters.documents import check_documents
from langchain_klue_rerank.adapters.embedding import EncoderEmbeddings
from langchain_klue_rerank.adapters.filters import Filter, StoreFilter, store_filter, to_predicate
from langchain_klue_rerank.engine.index.fusion import reciprocal_rank_fusion
from langchain_klue_rerank.engine.index.passages import Passage

logger = logging.getLogger(__name__)

Source = VectorStore | BaseRetriever

#: How many times more documents a store is asked for that has found too few which a filter keeps.
_MORE = 4
#: How far from 1 the length of a unit vector in float16 may be.
_LENGTH_1 = 0.01
#: Stores whose vectors' length was looked at.
_LOOKED_AT: weakref.WeakSet[VectorStore] = weakref.WeakSet()


def ask(
    sources: Sequence[Source], query: str, fetch_k: int, filter: Filter | None, callbacks: Callbacks
) -> list[list[Document]]:
    """Ask sources for candidates.

    Args:
        sources: Vector stores, asked for ``fetch_k`` documents, and retrievers, asked for what they return.
        query: The query.
        fetch_k: How many documents to ask a vector store for.
        filter: Handed to vector stores, translated into each store's filter syntax where it is a dictionary; applied to
            what retrievers return, which cannot be asked to.
        callbacks: Where retrievers report their runs.

    Returns:
        What each source found, best first, as the source gave it.
    """
    return [
        _search(source, query, fetch_k, store_filter(source, filter))
        if isinstance(source, VectorStore)
        else _kept(_documents(source, source.invoke(query, {"callbacks": callbacks})), filter)
        for source in sources
    ]


async def aask(
    sources: Sequence[Source], query: str, fetch_k: int, filter: Filter | None, callbacks: Callbacks
) -> list[list[Document]]:
    """Ask sources at the same time; see `ask`."""

    async def one(source: Source) -> list[Document]:
        if isinstance(source, VectorStore):
            how = store_filter(source, filter)
            if getattr(source, "async_mode", True):
                return await _asearch(source, query, fetch_k, how)
            # a PGVector with a sync connection fails at its async methods
            return await run_in_executor(None, _search, source, query, fetch_k, how)
        return _kept(_documents(source, await source.ainvoke(query, {"callbacks": callbacks})), filter)

    return await asyncio.gather(*map(one, sources))


def _search(store: VectorStore, query: str, k: int, how: StoreFilter) -> list[Document]:
    """Ask a vector store for the k best documents that a filter keeps.

    If the store does not support the whole filter, it is asked for more documents until k pass the filter or it has no
    more.
    """
    _warn_of_lengths(store)
    count = 0 if how.nothing else k
    while count:
        found = _identified(store, _documents(store, store.similarity_search(query, k=count, **how.arguments)))
        if (kept := _enough(found, k, count, how)) is not None:
            return kept
        count *= _MORE
    return []


async def _asearch(store: VectorStore, query: str, k: int, how: StoreFilter) -> list[Document]:
    """Ask a vector store without blocking the event loop; see `_search`."""
    _warn_of_lengths(store)
    count = 0 if how.nothing else k
    while count:
        answer = await store.asimilarity_search(query, k=count, **how.arguments)
        found = _identified(store, _documents(store, answer))
        if (kept := _enough(found, k, count, how)) is not None:
            return kept
        count *= _MORE
    return []


def _warn_of_lengths(store: VectorStore) -> None:
    """Log a warning, once, if a FAISS store holds vectors of other lengths than those that its embeddings give.

    FAISS's default distance is L2, and vectors that were not normalised, `HuggingFaceEmbeddings`' default, are then
    ranked by their lengths once queries have length 1. Other stores do not show their vectors without a request.
    """
    if "FAISS" not in (kind.__name__ for kind in type(store).__mro__) or store in _LOOKED_AT:
        return
    _LOOKED_AT.add(store)
    index: Any = getattr(store, "index", None)
    if not isinstance(store.embeddings, EncoderEmbeddings) or not getattr(index, "ntotal", 0):
        return
    try:
        length = float(np.linalg.norm(index.reconstruct(0)))
    except (AttributeError, RuntimeError):  # an index that keeps no vectors
        return
    if abs(length - 1) > _LENGTH_1:
        logger.warning(
            "%s holds vectors that do not have length 1 (the first has %.3g), and its embeddings give queries that do: "
            "it ranks by length now. Build it again with these embeddings, or keep those that made it.",
            type(store).__name__,
            length,
        )


def _enough(found: list[Document], k: int, count: int, how: StoreFilter) -> list[Document] | None:
    """Return what is kept of so many documents asked for, if more of them would change nothing."""
    kept = found if how.keep is None else [one for one in found if how.keep(one)]
    return kept[:k] if how.keep is None or len(kept) >= k or len(found) < count else None


def fuse(rankings: Sequence[Sequence[Document]]) -> list[tuple[Document, float]]:
    """Fuse rankings by reciprocal rank.

    Args:
        rankings: Documents, best first.

    Returns:
        The different documents (see `match`) with scores in 0..1, best first.
    """
    documents, numbered = match(rankings)
    return [(documents[number], score) for number, score in reciprocal_rank_fusion(numbered).items()]


def match(rankings: Sequence[Sequence[Document]]) -> tuple[list[Document], list[list[int]]]:
    """Return the different documents of several rankings, and the rankings as numbers into them.

    The same text is the same document, whatever its ids: two stores seldom agree on those. Where a text is there more
    than once, documents with the same id go together first. Each document is as the first ranking that has it gave it.
    """
    documents: list[Document] = []
    with_text: dict[str, list[int]] = {}
    numbered = []
    for ranking in rankings:
        numbers: dict[int, None] = {}
        for document in ranking:
            equal = with_text.setdefault(document.page_content, [])
            free = [number for number in equal if number not in numbers]
            if not free:
                free = [len(documents)]
                equal.append(len(documents))
                documents.append(document)
            numbers[min(free, key=lambda number: documents[number].id != document.id)] = None
        numbered.append(list(numbers))
    return documents, numbered


def _identified(store: VectorStore, documents: list[Document]) -> list[Document]:
    """Give documents the id that Qdrant and Milvus leave in the metadata."""
    key = "_id" if hasattr(store, "metadata_payload_key") else getattr(store, "_primary_field", None)
    return [
        document
        if document.id or not isinstance(document.metadata.get(key), str)
        else document.model_copy(update={"id": document.metadata[key]})
        for document in documents
    ]


def _documents(source: Source, found: Any) -> list[Document]:
    return check_documents(found, f"The source {type(source).__name__} returned")


def _kept(documents: list[Document], filter: Filter | None) -> list[Document]:
    keep = to_predicate(filter)
    if keep is None:
        return documents
    return [
        document for document in documents if keep(Passage(document.id or "", document.page_content, document.metadata))
    ]
