"""`KlueVectorStore`: an index in memory as a LangChain `VectorStore`, saved without pickle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.adapters.convert import (
    check_count,
    check_ids,
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
    embed_passages,
    embed_queries,
    index_vectors,
    model_identity,
)
from langchain_klue_rerank.adapters.filters import Filter, to_keep
from langchain_klue_rerank.adapters.rebuilding import rebuild
from langchain_klue_rerank.embeddings import KlueEmbeddings
from langchain_klue_rerank.engine.arrays.checked import as_unit_vectors
from langchain_klue_rerank.engine.index.faiss_folder import read_community_folder
from langchain_klue_rerank.engine.index.fusion import near_and_unlike
from langchain_klue_rerank.engine.index.passage_index import Candidates, PassageIndex
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.text.words import has_words
from langchain_klue_rerank.errors import ModelMismatchError

logger = logging.getLogger(__name__)

#: Cosine of the same text's vectors below which they are not of the same model; half precision leaves 0.999.
_SAME_MODEL = 0.9


class KlueVectorStore(VectorStore):
    """Search documents by the cosine similarity of their vectors.

    A score is ``(1 + cosine) / 2``: 0..1, higher is nearer, the same from every method. Search compares every document.
    With ``window_words`` a long document has several vectors: those that are nearest as wholes (500, or a twentieth of
    all) are compared by their windows, and the best window counts. Saving writes NumPy arrays and JSON with checksums,
    completely or not at all; loading runs no code from the folder.

    Examples:
        >>> store = KlueVectorStore.from_texts(["전입신고는 14일 안에 합니다.", "여권은 구청에서 만듭니다."])
        >>> store.similarity_search("이사 신고 기한", k=1)[0].page_content
        '전입신고는 14일 안에 합니다.'

    Args:
        embedding: What makes the vectors. Default: the packaged bi-encoder.
        title_key: The metadata key of a title that is embedded with the text. Default
            ``"title"``; None for the text alone.
        window_words: A document longer than this gets a vector for each window of so many words; None for one vector a
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
        """What makes the vectors."""
        return self._embedding

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._index)

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
        """Add documents; see `add_texts`. Without ``ids`` a document's own id counts.

        LangChain's indexing API says a ``batch_size``; the size of the model's batches is the model's own.
        """
        kwargs.pop("batch_size", None)
        _refuse(kwargs)
        passages = to_passages(documents, ids)
        if passages:
            check_one_kind(self._index.settings)
            self._index.add(passages, vectors=embed_for_index(self._embedding, self._index.settings, passages))
        return [passage.id for passage in passages]

    def delete(self, ids: list[str] | None = None, *, filter: Filter | None = None, **kwargs: Any) -> bool:
        """Remove documents.

        Args:
            ids: Their identifiers; unknown ones are passed over.
            filter: Also remove the documents that it keeps; see `similarity_search_with_score`.
            **kwargs: None are known.

        Returns:
            True.

        Raises:
            TypeError: If ids are not a list of strings.
            ValueError: If neither is given: a forgotten argument empties no store.
        """
        _refuse(kwargs)
        keep = to_keep(filter)
        if ids is None and keep is None:
            raise ValueError("delete() needs ids or a filter.")
        self._index.delete([*check_ids(ids or ()), *(self._index.find(keep) if keep is not None else ())])
        return True

    def __bool__(self) -> bool:
        """Return True: an empty store is a store."""
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these identifiers; unknown ones are passed over."""
        return [to_document(passage) for passage in self._index.get(ids)]

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a query; arguments as in `similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a query with their scores.

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
        """Return the k documents nearest to a vector; see `similarity_search_with_score`."""
        _refuse(kwargs)
        return [document for document, _ in self._search([embedding], k, filter)]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a vector with scores; see `similarity_search_with_score`."""
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
        """Return k documents that are near to the query and unlike each other.

        How near one is its best window says, how unlike two are their vectors as wholes.

        Args:
            query: The query; one without a letter or digit finds nothing.
            k: How many. Default 4.
            fetch_k: How many of the nearest to choose from. Default 20.
            lambda_mult: From 0, as different as possible, to 1, as near as possible. Default 0.5.
            filter: See `similarity_search_with_score`.
            **kwargs: None are known.
        """
        _refuse(kwargs)
        query = check_query(query)
        vector = embed_queries(self._embedding, [query]) if query else None
        return self._unlike_each_other(vector, k, fetch_k, lambda_mult, filter) if vector is not None else []

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return k documents that are near to a vector and unlike each other; see `max_marginal_relevance_search`."""
        _refuse(kwargs)
        return self._unlike_each_other([embedding], k, fetch_k, lambda_mult, filter)

    def _unlike_each_other(
        self, vector: ArrayLike, k: int, fetch_k: int, lambda_mult: float, filter: Filter | None
    ) -> list[Document]:
        check_count("k", k)
        found = self._search(vector, max(k, fetch_k), filter)
        nearness = np.asarray([2 * score - 1 for _, score in found], np.float32)
        vectors = self._index.vectors([document.id or "" for document, _ in found])
        return [found[number][0] for number in near_and_unlike(nearness, vectors, lambda_mult, k)]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: score

    def _search(self, vector: ArrayLike, k: int, filter: Filter | None) -> list[tuple[Document, float]]:
        vectors = index_vectors(self._embedding, vector)
        [found] = self._index.search(check_count("k", k), vectors=vectors, keep=to_keep(filter))
        return with_scores(found)

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
        own = {name: kwargs.pop(name) for name in ("title_key", "window_words") if name in kwargs}
        store = cls(embedding, **own)
        store.add_documents(documents, **kwargs)
        return store

    def save(self, folder: str | Path) -> None:
        """Save the store, completely or not at all.

        Args:
            folder: A new or empty folder, or an earlier save, which is replaced.

        Raises:
            IndexFormatError: If the folder holds something else.
            IndexLockedError: If another process or thread is writing there and does not finish.
            OSError: If writing fails; an earlier save is then untouched.
        """
        self._index.save(Path(folder))

    @classmethod
    def rebuild(
        cls, folder: str | Path, embedding: Embeddings | None = None, *, window_words: WindowWords = "auto"
    ) -> KlueVectorStore:
        """Make the vectors of a saved store anew from its documents, save it in its place, and open it.

        For a store whose vectors were made by another model, such as the packaged weights of an earlier version. Until
        the new store is complete the old one stays.

        Args:
            folder: The folder given to `save`.
            embedding: What makes the vectors. Default: the packaged bi-encoder.
            window_words: As in the constructor.

        Raises:
            IndexFormatError: If the folder is not an index or is damaged.
            OSError: If writing fails; the old store is then untouched.
        """
        made = embedding if embedding is not None else KlueEmbeddings()
        rebuild(Path(folder), made, window_words).save(Path(folder))
        return cls.load(folder, made)

    @classmethod
    def load(cls, folder: str | Path, embedding: Embeddings | None = None) -> KlueVectorStore:
        """Open a saved store.

        Args:
            folder: The folder given to `save`.
            embedding: What made its vectors. Default: the packaged bi-encoder.

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

        Nothing in the folder is run, and langchain-community need not be installed: the pickle may name the two
        classes of a normal file and nothing else, and the vectors of a flat index, which is what that class makes by
        itself, are read without FAISS's reader, which is not safe with a stranger's file either.

        The vectors are searched by their cosine. That is the order of the folder's L2 or inner product where the
        vectors have length 1; where they do not, a warning says so.

        Args:
            folder: The folder.
            embedding: What made its vectors. Default: the packaged bi-encoder, which then most likely did not, so that
                ``re_embed`` is needed.
            re_embed: Whether to embed the documents anew with ``embedding`` instead of reading vectors.
            index_name: As given to ``save_local``. Default ``"index"``.

        Raises:
            IndexFormatError: If a file is missing or damaged, the pickle names anything but the two classes of a normal
                file, the FAISS index is not flat, or documents and vectors do not fit together.
            ModelMismatchError: If the vectors have another dimension than the model's.
        """
        content = read_community_folder(Path(folder), index_name, with_vectors=not re_embed)
        # vectors that are there were made of the texts alone
        new = content.vectors is None
        store = cls(embedding, window_words="auto" if new else None, title_key="title" if new else None)
        texts = [passage.text for passage in content.passages]
        vectors: NDArray[np.float32] | PassageVectors | None = content.vectors
        if content.vectors is None:
            vectors = embed_for_index(store._embedding, store._index.settings, content.passages) if texts else None
        else:
            vectors = index_vectors(store._embedding, content.vectors)
            store._check_vectors(vectors, texts, str(folder))
            if not content.cosine_order:
                logger.warning(
                    "The vectors in %r have other lengths than 1; their cosine may rank otherwise.", str(folder)
                )
        if texts:
            store._index.add(content.passages, vectors=vectors)
        return store

    def _check_vectors(self, vectors: NDArray[np.float32], texts: list[str], folder: str) -> None:
        """Compare the first vector that was read with what the model makes of its text.

        Raises:
            ModelMismatchError: If their dimensions differ.
        """
        number = next((number for number, text in enumerate(texts) if has_words(text) and vectors[number].any()), None)
        if number is None:
            return
        own = embed_passages(self._embedding, [texts[number]])[0]
        model = model_identity(self._embedding)
        if len(own) != vectors.shape[1]:
            raise ModelMismatchError(
                f"The vectors in {folder!r} have {vectors.shape[1]} numbers, those of {model!r} have {len(own)}. Give "
                "the embeddings that made them, or embed the documents anew with re_embed=True."
            )
        [one, other] = as_unit_vectors(np.stack([own, vectors[number]]))
        cosine = float(one @ other)
        if cosine < _SAME_MODEL:
            logger.warning(
                "The vectors in %r are not those of %r: of the first text they have the cosine %.2f. Give the "
                "embeddings that made them, or use re_embed=True.",
                folder,
                model,
                cosine,
            )

    def documents(self) -> list[Document]:
        """Return all documents, in the order in which they were added; as for ``KlueRetriever.from_documents``."""
        return [to_document(passage) for passage in self._index.get(self._index.find())]


def _refuse(unknown: dict[str, Any]) -> None:
    if unknown:
        raise TypeError(f"Unknown arguments: {', '.join(sorted(unknown))}.")


def with_scores(found: Candidates) -> list[tuple[Document, float]]:
    """Turn the engine's candidates into documents with scores."""
    return [(to_document(passage), score) for passage, score in zip(found.passages, found.scores.tolist(), strict=True)]
