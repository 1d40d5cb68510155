"""`KlueBM25Retriever`: BM25 for Korean as a LangChain retriever."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.runnables.config import run_in_executor

from langchain_klue_rerank.adapters.documents import check_count, check_one_kind, check_query, rescored, to_document
from langchain_klue_rerank.adapters.embedding import WordsAndVectors
from langchain_klue_rerank.adapters.filters import Filter, to_keep
from langchain_klue_rerank.adapters.indexed import IndexedRetriever
from langchain_klue_rerank.adapters.rebuilding import rebuild_folder
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.threads import searching


class KlueBM25Retriever(IndexedRetriever):
    """Lexical search: BM25 over Kiwi content morphemes and over character bigrams, averaged.

    The combination is clearly better than either, and far better than splitting at spaces (see the README's table).
    Only documents that share a morpheme or a bigram with the query are found. ``metadata["relevance_score"]`` is the
    share of the query's idf weight that the document matches, 0..1.

    Examples:
        >>> retriever = KlueBM25Retriever.from_texts(["전입신고는 14일 안에 합니다.", "여권은 구청에서 만듭니다."], k=1)
        >>> retriever.invoke("여권을 만들려면?")[0].page_content
        '여권은 구청에서 만듭니다.'

    Args:
        k: How many documents to return. Default 4. Also an argument of ``invoke``.
        kiwi: Whether to search morphemes in addition to bigrams. Default True. If False, Kiwi is never loaded.
        title_key: The metadata key of a title that is searched with the text. Default ``"title"``; None for the text
            alone.
        scores_in_metadata: Whether documents come with their scores. Default True; they do not count when documents are
            compared. False for recipes that compare documents as strings, such as RAG-fusion's ``dumps(document)``.
    """

    def model_post_init(self, context: Any, /) -> None:
        """Start with an empty index."""
        super().model_post_init(context)
        self._start(IndexSettings(dense=False, kiwi=self.kiwi, title_key=self.title_key))

    def _read(self, passages: Sequence[Passage], texts: Sequence[str]) -> WordsAndVectors:
        check_one_kind(self._index.settings)
        return super()._read(passages, texts)

    @searching()
    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: Filter | None = None,
    ) -> list[Document]:
        k = self.k if k is None else check_count("k", k)
        tokens = self._tokenize([self._index.respelled(check_query(query))])
        [found] = self._index.search(k, tokens=tokens, keep=to_keep(filter))
        documents = [to_document(passage) for passage in found.passages]
        if not self.scores_in_metadata:
            return [rescored(document) for document in documents]
        return [
            rescored(document, relevance_score=score)
            for document, score in zip(documents, found.scores.tolist(), strict=True)
        ]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        # the base class's own passes no options on
        find = partial(self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **options)
        return await run_in_executor(None, find)

    @classmethod
    def rebuild(cls, folder: str | Path, **fields: Any) -> KlueBM25Retriever:
        """Rebuild a saved index from its documents, save it in its place, and open it.

        For an index that an earlier version tokenized differently. Until the new index is complete the old one
        stays.

        Args:
            folder: The folder given to `save`.
            **fields: The retriever's fields, such as ``k``.

        Raises:
            IndexFormatError: If the folder is not an index or is damaged.
            ValueError: If it also holds vectors: `KlueRetriever.rebuild` builds those, too.
            OSError: If writing fails; the old index is then untouched.
        """
        if PassageIndex.load(Path(folder), any_analysis=True).settings.dense:
            raise ValueError(f"The index at {str(folder)!r} holds vectors, too; use KlueRetriever.rebuild.")
        rebuild_folder(Path(folder), None)
        return cls.load(folder, **fields)

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
        retriever._use(index)
        return retriever
