"""`KlueVectorStore`: an index in memory as a LangChain `VectorStore`, saved without pickle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import ArrayLike

from langchain_klue_rerank.adapters.community_folder import check_community_vectors
from langchain_klue_rerank.adapters.documents import (
    check_count,
    check_one_kind,
    check_query,
    to_document,
    to_documents,
    to_passages,
)
from langchain_klue_rerank.adapters.embedding import (
    WindowWords,
    check_model,
    decide_window_words,
    embed_for_index,
    embed_queries,
    index_vectors,
    model_identity,
)
from langchain_klue_rerank.adapters.filters import Filter, to_keep
from langchain_klue_rerank.adapters.indexed import Indexed
from langchain_klue_rerank.adapters.rebuilding import rebuild_folder
from langchain_klue_rerank.embeddings import KlueEmbeddings
from langchain_klue_rerank.engine.index.faiss_folder import read_community_folder
from langchain_klue_rerank.engine.index.fusion import maximal_marginal_relevance
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.threads import searching


class KlueVectorStore(Indexed, VectorStore):
    """Search documents by the cosine similarity of their vectors.

    A score is ``(1 + cosine) / 2``: 0..1, higher is more similar, the same from every method. Search is exact: it
    compares every document. With ``window_words`` a long document has several vectors: the documents with the highest
    cosines as wholes (500, or 5% of all) are compared by their windows, and the best window counts. Saving writes NumPy
    arrays and JSON with checksums, completely or not at all; loading runs no code from the folder.

    Examples:
        >>> store = KlueVectorStore.from_texts(["전입신고는 14일 안에 합니다.", "여권은 구청에서 만듭니다."])
        >>> store.similarity_search("이사 신고 기한", k=1)[0].page_content
        '전입신고는 14일 안에 합니다.'

    Args:
        embedding: The embedding model. Default: the packaged bi-encoder.
        title_key: The metadata key of a title embedded with the text. Default ``"title"``; None for the text alone.
        window_words: A longer document gets one vector for each window of this many words; None for one vector a
            document. Default ``"auto"``: 50 with the packaged bi-encoder and those adapted from it, None with others.
    """

    def __init__(
        self,
        embedding: Embeddings | None = None,
        *,
        title_key: str | None = "title",
        window_words: WindowWords = "auto",
    ) -> None:
        self._embedding = embedding if embedding is not None else KlueEmbeddings()
        self._index = PassageIndex(
            IndexSettings(
                lexical=False,
                kiwi=False,
                title_key=title_key,
                model=model_identity(self._embedding),
                window_words=decide_window_words(self._embedding, window_words),
            )
        )

    @property
    def embeddings(self) -> Embeddings:
        """The embedding model."""
        return self._embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts.

        Args:
            texts: The texts.
            metadatas: A dictionary for each.
            ids: An identifier for each; a known one replaces its document. New UUIDs where missing.
            **kwargs: None are known.

        Returns:
            The identifiers.

        Raises:
            TypeError: If a text is not a string, or an argument is unknown.
            ValueError: If there are more or fewer metadatas or ids than texts.
            ModelOutputError: If the model returns NaN, infinity or vectors of another dimension.
        """
        return self.add_documents(to_documents(texts, metadatas), ids=ids, **kwargs)

    def add_documents(
        self, documents: list[Document], *, ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add documents; see `add_texts`. Without ``ids`` a document's own id counts."""
        kwargs.pop("batch_size", None)  # LangChain's indexing API gives it; the model decides the size of its batches
        _refuse(kwargs)
        passages = to_passages(documents, ids)
        if passages:
            check_one_kind(self._index.settings)
            self._index.add(passages, vectors=embed_for_index(self._embedding, self._index.settings, passages))
        return [passage.id for passage in passages]

    def delete(self, ids: list[str] | None = None, *, filter: Filter | None = None, **kwargs: Any) -> bool:
        """Remove documents.

        Args:
            ids: Their identifiers; unknown ones are skipped.
            filter: Also remove the documents that it keeps; see `similarity_search_with_score`.
            **kwargs: None are known.

        Returns:
            True.

        Raises:
            TypeError: If ids are not a list of strings.
            ValueError: If neither is given.
        """
        _refuse(kwargs)
        self._delete(ids, filter)
        return True

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """Return the k documents most similar to a query; arguments as in `similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents most similar to a query with their scores.

        Args:
            query: The query; one without a letter or digit finds nothing.
            k: How many; fewer if there are fewer. Default 4.
            filter: Metadata that a document must have (a list means one of its values), or a function of a Document.
            **kwargs: None are known.

        Returns:
            Documents and scores in 0..1, best first.

        Raises:
            ValueError: If k is negative.
            TypeError: If the query is not a string, or an argument is unknown.
        """
        _refuse(kwargs)
        query = check_query(query)
        return self._search(embed_queries(self._embedding, [query]), k, filter) if query else []

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents most similar to a vector; see `similarity_search_with_score`."""
        _refuse(kwargs)
        return [document for document, _ in self._search([embedding], k, filter)]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents most similar to a vector with scores; see `similarity_search_with_score`."""
        _refuse(kwargs)
        return self._search([embedding], k, filter)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return k documents that are relevant to a query and different from each other (maximal marginal relevance).

        Relevance uses the cosine of the best window, the similarity of two documents the vectors of the whole texts.

        Args:
            query: The query; one without a letter or digit finds nothing.
            k: How many. Default 4.
            fetch_k: How many of the best to choose from. Default 20.
            lambda_mult: Weight of relevance against diversity, 0..1. Default 0.5; 1 ignores diversity.
            filter: See `similarity_search_with_score`.
            **kwargs: None are known.
        """
        if not check_query(query):
            return []
        [vector] = embed_queries(self._embedding, [check_query(query)]).tolist()
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, filter, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return k documents that are relevant to a vector and different; see `max_marginal_relevance_search`."""
        _refuse(kwargs)
        found = self._search([embedding], max(check_count("k", k), check_count("fetch_k", fetch_k)), filter)
        relevance = np.asarray([2 * score - 1 for _, score in found], np.float32)
        vectors = self._index.vectors([document.id or "" for document, _ in found])
        return [found[row][0] for row in maximal_marginal_relevance(relevance, vectors, lambda_mult, k)]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: score

    @searching()
    def _search(self, vector: ArrayLike, k: int, filter: Filter | None) -> list[tuple[Document, float]]:
        vectors = index_vectors(self._embedding, vector)
        [found] = self._index.search(check_count("k", k), vectors=vectors, keep=to_keep(filter))
        return [
            (to_document(passage), score) for passage, score in zip(found.passages, found.scores.tolist(), strict=True)
        ]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        title_key: str | None = "title",
        window_words: WindowWords = "auto",
        **kwargs: Any,
    ) -> KlueVectorStore:
        """Build a store from texts; no texts make an empty one. Arguments as in the constructor and in `add_texts`."""
        store = cls(embedding, title_key=title_key, window_words=window_words)
        store.add_texts(texts, metadatas, ids=ids, **kwargs)
        return store

    @classmethod
    def from_documents(
        cls, documents: list[Document], embedding: Embeddings | None = None, **kwargs: Any
    ) -> KlueVectorStore:
        """Build a store from documents; their own ids count unless ``ids`` are given. See `from_texts`."""
        options = {name: kwargs.pop(name) for name in ("title_key", "window_words") if name in kwargs}
        store = cls(embedding, **options)
        store.add_documents(documents, **kwargs)
        return store

    @classmethod
    def rebuild(
        cls, folder: str | Path, embedding: Embeddings | None = None, *, window_words: WindowWords = "auto"
    ) -> KlueVectorStore:
        """Recompute the vectors of a saved store from its documents, save it in its place, and open it.

        For a store whose vectors were made by another model, such as the packaged weights of an earlier version. Until
        the new store is complete the old one stays.

        Args:
            folder: The folder given to `save`.
            embedding: The embedding model. Default: the packaged bi-encoder.
            window_words: As in the constructor.

        Raises:
            IndexFormatError: If the folder is not an index or is damaged.
            OSError: If writing fails; the old store is then untouched.
        """
        made = embedding if embedding is not None else KlueEmbeddings()
        rebuild_folder(Path(folder), made, window_words)
        return cls.load(folder, made)

    @classmethod
    def load(cls, folder: str | Path, embedding: Embeddings | None = None) -> KlueVectorStore:
        """Open a saved store.

        Args:
            folder: The folder given to `save`.
            embedding: The model of its vectors. Default: the packaged bi-encoder.

        Raises:
            IndexFormatError: If the folder is not an index, is damaged, or was written by a newer version.
            ModelMismatchError: If its vectors were made by another model.
        """
        index = PassageIndex.load(Path(folder))
        index.require_vectors()
        store = cls(embedding, title_key=index.settings.title_key)
        check_model(index, store._embedding, Path(folder))
        store._index = index
        return store

    @classmethod
    def from_community_folder(
        cls,
        folder: str | Path,
        embedding: Embeddings | None = None,
        *,
        re_embed: bool = False,
        index_name: str = "index",
    ) -> KlueVectorStore:
        """Open what langchain-community's ``FAISS.save_local`` wrote: documents, ids, metadata and vectors.

        No code in the folder is run, and langchain-community need not be installed: the pickle may name the two classes
        of a normal file only, and the vectors of a flat index, that class's default, are read without FAISS.

        Search uses the cosine. With vectors of length 1 this is the order of the folder's L2 or inner product;
        otherwise a warning says so.

        Args:
            folder: The folder.
            embedding: The model of its vectors. Default: the packaged bi-encoder, which usually needs ``re_embed``.
            re_embed: Whether to embed the documents again with ``embedding`` instead of reading vectors.
            index_name: As given to ``save_local``. Default ``"index"``.

        Raises:
            IndexFormatError: If a file is missing or damaged, the pickle names anything but the two classes of a normal
                file, the FAISS index is not flat, or documents and vectors do not fit together.
            ModelMismatchError: If the vectors have another dimension than the model's.
        """
        content = read_community_folder(Path(folder), index_name, with_vectors=not re_embed)
        if (vectors := content.vectors) is None:
            store = cls(embedding)
            store.add_documents([to_document(passage) for passage in content.passages])
            return store
        # these vectors were made of the texts alone
        store = cls(embedding, window_words=None, title_key=None)
        vectors = index_vectors(store._embedding, vectors)
        check_community_vectors(content, vectors, store._embedding, str(folder))
        if content.passages:
            store._index.add(content.passages, vectors=vectors)
        return store


def _refuse(unknown: dict[str, Any]) -> None:
    if unknown:
        raise TypeError(f"Unknown arguments: {', '.join(sorted(unknown))}.")
