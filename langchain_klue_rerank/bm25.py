"""`KlueBM25Retriever`: BM25 for Korean as a LangChain retriever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.checks import (
    Filter,
    check_count,
    check_ids,
    check_query,
    searchable_text,
    to_document,
    to_documents,
    to_passages,
    to_predicate,
)
from langchain_klue_rerank.engine.index import IndexSettings, PassageIndex
from langchain_klue_rerank.engine.text import shared_analyzer, tokenize


class KlueBM25Retriever(BaseRetriever):
    """Find documents by their words: BM25 over Kiwi content morphemes and over character bigrams, added.

    The two together are clearly stronger than either, and far stronger than words between spaces (see the README's
    table). Only documents that share a morpheme or a bigram with the query are found. ``metadata["relevance_score"]``
    is the share of the query's weight that a document holds, 0..1.

    Example:
        >>> retriever = KlueBM25Retriever.from_texts(["전입신고는 14일 안에 합니다.", "여권은 구청에서 만듭니다."], k=1)
        >>> retriever.invoke("여권을 만들려면?")[0].page_content
        '여권은 구청에서 만듭니다.'

    Args:
        k: How many documents to return. Default 4. Also an argument of ``invoke``.
        kiwi: Whether to search morphemes beside the bigrams. Default True. Without, Kiwi is never loaded.
        title_key: The metadata key of a title that is searched with the text. Default ``"title"``; None for the text
            alone.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    k: int = Field(default=4, ge=0)
    kiwi: bool = Field(default=True, frozen=True)
    title_key: str | None = Field(default="title", frozen=True)

    _index: PassageIndex = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Start with an empty index."""
        super().model_post_init(context)
        self._index = PassageIndex(IndexSettings(dense=False, kiwi=self.kiwi, title_key=self.title_key))

    @classmethod
    def from_documents(
        cls, documents: Sequence[Document], *, ids: Sequence[str | None] | None = None, **fields: Any
    ) -> KlueBM25Retriever:
        """Build a retriever from documents; no documents make an empty one.

        Args:
            documents: The documents.
            ids: An identifier for each; without, the documents' own ids, or new UUIDs.
            **fields: The retriever's fields.
        """
        retriever = cls(**fields)
        retriever.add_documents(documents, ids=ids)
        return retriever

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **fields: Any,
    ) -> KlueBM25Retriever:
        """Build a retriever from texts; see `from_documents`."""
        return cls.from_documents(to_documents(texts, metadatas), ids=ids, **fields)

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._index)

    def __bool__(self) -> bool:
        """Return True: an empty retriever is a retriever."""
        return True

    def add_documents(self, documents: Sequence[Document], *, ids: Sequence[str | None] | None = None) -> list[str]:
        """Add documents; one with a known identifier replaces it.

        Returns:
            Their identifiers.
        """
        passages = to_passages(documents, ids)
        texts = [searchable_text(passage.text, passage.metadata, self.title_key) for passage in passages]
        self._index.add(passages, tokens=tokenize(texts, shared_analyzer() if self.kiwi else None))
        return [passage.id for passage in passages]

    def delete(self, ids: Sequence[str] | None = None, *, filter: Filter | None = None) -> int:
        """Remove documents.

        Args:
            ids: Identifiers of documents to remove; unknown ones are passed over.
            filter: Also remove the documents that it keeps: metadata that they have, or a function of a Document.

        Returns:
            How many were removed.

        Raises:
            TypeError: If ids are not a list of strings.
            ValueError: If neither is given.
        """
        keep = to_predicate(filter)
        if ids is None and keep is None:
            raise ValueError("delete() needs ids or a filter.")
        return self._index.delete([*check_ids(ids or ()), *(self._index.find(keep) if keep is not None else ())])

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: Filter | None = None,
    ) -> list[Document]:
        k = self.k if k is None else check_count("k", k)
        tokens = tokenize([check_query(query)], shared_analyzer() if self.kiwi else None)
        [found] = self._index.search(k, tokens=tokens, keep=to_predicate(filter))
        return [
            to_document(passage, relevance_score=score)
            for passage, score in zip(found.passages, found.scores.tolist(), strict=True)
        ]

    def save(self, folder: str | Path) -> None:
        """Save the documents and their postings, completely or not at all; see `KlueVectorStore.save`."""
        self._index.save(Path(folder))

    @classmethod
    def load(cls, folder: str | Path, **fields: Any) -> KlueBM25Retriever:
        """Open what `save` wrote, or the lexical part of what `KlueRetriever.save` wrote.

        Args:
            folder: The folder.
            **fields: The retriever's other fields, such as ``k``.

        Raises:
            IndexFormatError: If the folder is not such an index, is damaged, or was written by a newer version.
        """
        index = PassageIndex.load(Path(folder))
        index.require_lexical()
        retriever = cls(kiwi=index.settings.kiwi, title_key=index.settings.title_key, **fields)
        retriever._index = index
        return retriever
