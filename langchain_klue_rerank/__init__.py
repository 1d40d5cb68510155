"""Two-stage Korean retrieval for LangChain: hybrid search and reranking on an ordinary CPU."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_klue_rerank.bm25 import KlueBM25Retriever
    from langchain_klue_rerank.cascade import KlueCascade
    from langchain_klue_rerank.embeddings import KlueEmbeddings
    from langchain_klue_rerank.reranker import KlueReranker
    from langchain_klue_rerank.retriever import KlueRetriever
    from langchain_klue_rerank.sparse import KlueSparseEmbeddings, klue_tokens
    from langchain_klue_rerank.vectorstore import KlueVectorStore

__version__ = "0.1.0"

__all__ = [
    "KlueBM25Retriever",
    "KlueCascade",
    "KlueEmbeddings",
    "KlueReranker",
    "KlueRetriever",
    "KlueSparseEmbeddings",
    "KlueVectorStore",
    "klue_tokens",
]

_HOMES = {
    "KlueBM25Retriever": "bm25",
    "KlueCascade": "cascade",
    "KlueEmbeddings": "embeddings",
    "KlueReranker": "reranker",
    "KlueRetriever": "retriever",
    "KlueSparseEmbeddings": "sparse",
    "KlueVectorStore": "vectorstore",
    "klue_tokens": "sparse",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
