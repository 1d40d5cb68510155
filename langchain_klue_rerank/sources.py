"""Candidates from other vector stores and retrievers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from langchain_klue_rerank.checks import Filter, to_predicate
from langchain_klue_rerank.engine.documents import Passage
from langchain_klue_rerank.engine.fusion import reciprocal_rank_fusion

Source = VectorStore | BaseRetriever


def ask(
    sources: Sequence[Source], query: str, fetch_k: int, filter: Filter | None, callbacks: Callbacks
) -> list[tuple[Document, float]]:
    """Ask sources for candidates and fuse their rankings by reciprocal rank.

    Args:
        sources: Vector stores, asked for ``fetch_k`` documents, and retrievers, asked for what they return.
        query: The query.
        fetch_k: How many candidates to return at most.
        filter: Handed to vector stores; applied to what retrievers return, which cannot be asked to.
        callbacks: Where retrievers report their runs.

    Returns:
        Documents, as the sources gave them, with scores in 0..1, best first.
    """
    rankings = [
        source.similarity_search(query, k=fetch_k, **_stores_filter(filter))
        if isinstance(source, VectorStore)
        else _kept(source.invoke(query, {"callbacks": callbacks}), filter)
        for source in sources
    ]
    return _fuse(rankings)[:fetch_k]


async def aask(
    sources: Sequence[Source], query: str, fetch_k: int, filter: Filter | None, callbacks: Callbacks
) -> list[tuple[Document, float]]:
    """Ask sources at the same time; see `ask`."""

    async def one(source: Source) -> list[Document]:
        if isinstance(source, VectorStore):
            return await source.asimilarity_search(query, k=fetch_k, **_stores_filter(filter))
        return _kept(await source.ainvoke(query, {"callbacks": callbacks}), filter)

    return _fuse(await asyncio.gather(*map(one, sources)))[:fetch_k]


def _stores_filter(filter: Filter | None) -> dict[str, Any]:
    return {} if filter is None else {"filter": filter}


def _kept(documents: list[Document], filter: Filter | None) -> list[Document]:
    keep = to_predicate(filter)
    if keep is None:
        return documents
    return [one for one in documents if keep(Passage(one.id or "", one.page_content, one.metadata))]


def _fuse(rankings: Sequence[list[Document]]) -> list[tuple[Document, float]]:
    """Fuse rankings.

    The same text is the same document: two stores seldom agree on ids. Where one ranking has a text twice, the second
    stands for the second everywhere.
    """
    documents: dict[tuple[str, int], Document] = {}
    keyed = []
    for ranking in rankings:
        seen: Counter[str] = Counter()
        keys = []
        for document in ranking:
            seen[document.page_content] += 1
            keys.append((document.page_content, seen[document.page_content]))
            documents.setdefault(keys[-1], document)
        keyed.append(keys)
    return [(documents[key], score) for key, score in reciprocal_rank_fusion(keyed).items()]
