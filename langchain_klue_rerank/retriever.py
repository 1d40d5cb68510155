"""`KlueRetriever`: candidates, fusion and reranking in one LangChain retriever."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from pydantic import Field, PrivateAttr, field_validator

from langchain_klue_rerank.adapters.batches import HANDED_OVER, answer_together
from langchain_klue_rerank.adapters.embedding import (
    WindowWords,
    WordsAndVectors,
    check_model,
    check_second,
    embed_fields,
    model_identity,
    read_in_parts,
    reads_tokens,
    settings_for,
)
from langchain_klue_rerank.adapters.filters import Filter
from langchain_klue_rerank.adapters.first_stage import FirstStage, Options, SearchType
from langchain_klue_rerank.adapters.rebuilding import check_token_vectors, open_index, rebuild_folder, warn_words_only
from langchain_klue_rerank.adapters.reranking import RankerCompressor
from langchain_klue_rerank.adapters.second_stage import Answer, SecondStage
from langchain_klue_rerank.adapters.sources import Source
from langchain_klue_rerank.embeddings import KlueEmbeddings
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.rerank.confidence import packaged_confidence
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import PART, TokenizedTexts, tokenize
from langchain_klue_rerank.errors import ModelMismatchError
from langchain_klue_rerank.explanation import ExplainingRetriever
from langchain_klue_rerank.reranker import KlueReranker

#: What ``invoke`` takes beside the query.
_ARGUMENTS = frozenset({"k", "fetch_k", "score_threshold", "search_type", "filter"})


class KlueRetriever(ExplainingRetriever):
    """Two-stage retrieval for Korean: lexical and dense candidates, fused, then reranked.

    With its own index (`from_documents`, `load`) a document is tokenized once, when it is added, and all stages read
    those tokens. With ``sources`` the candidates come from other LangChain vector stores or retrievers. Documents added
    to a retriever with sources go into a local lexical index, never into the sources: hybrid search then fuses the
    lexical candidates with those of the sources, for example of vectors in PostgreSQL:

        KlueRetriever.from_documents(documents, sources=[PGVector(...)])

    Results have ``metadata["relevance_score"]``, a float in 0..1. After a `KlueReranker` it is the weighted mean of the
    reranker's and the first stage's score, which are there too as ``rerank_score`` and ``first_stage_score``: a
    confident reranker decides, and where it finds nothing the first stage's order stays. Input documents are never
    changed.

    The first result of a hybrid search with the packaged models also has ``metadata["confidence"]``, 0..1: the
    probability that it answers the question. Below `confidence_threshold` the answer is more likely not among the
    documents.

    Examples:
        >>> from langchain_core.documents import Document
        >>> documents = [Document("전입신고는 이사한 날부터 14일 안에 합니다."), Document("여권은 구청에서 만듭니다.")]
        >>> retriever = KlueRetriever.from_documents(documents, k=1)
        >>> retriever.invoke("이사하면 언제까지 신고해야 하나요?")[0].page_content
        '전입신고는 이사한 날부터 14일 안에 합니다.'

    Args:
        k: How many documents to return; fewer if fewer match. Default 4. ``invoke`` takes it too, and the next three,
            and ``filter``: metadata that a document must have, or a function of a Document.
        fetch_k: How many candidates the first stage hands to the reranker; at least k are. Default 30.
        score_threshold: Lowest ``relevance_score`` to return, 0..1; None returns all.
        search_type: ``"hybrid"`` (default), ``"dense"`` or ``"lexical"``; decides what an index is built with. A
            hybrid index supports all three. With sources, dense search asks the sources and lexical search the local
            index.
        dense_weight: Weight of the dense score in hybrid search, relative to the lexical score. Default 0.25. The
            scores of sources are not comparable; beside documents added here the packaged bi-encoder's cosine stands
            for them, and their ranks count with a fifth of this weight, as far as they agree with it.
        rerank_weight: Weight of a `KlueReranker`'s score in the ``relevance_score``, 0..1; the first stage's score has
            the remaining weight. Default 0.8; 1 uses the reranker alone.
        embeddings: The embedding model. Default: the packaged bi-encoder.
        reranker: Any document compressor; None for the first stage's order. Default: the packaged reranker. A
            `KlueReranker` scores all candidates, and ``k`` decides how many are returned. An index whose first
            documents are added with a late-interaction model keeps its token vectors.
        sources: Vector stores (asked for ``fetch_k``) or retrievers (asked for what they return) that find
            candidates. Several rankings are fused by reciprocal rank, or with the lexical scores if documents were
            added here. The same text from several sources is one document; one that the local index holds comes back as
            it was added.
        second_embeddings: A second bi-encoder for hybrid search: ``"packaged-encoder"``, which also reads close first
            results, another model's name, or any embeddings. Finds more of what is asked in other words; adding
            documents is far slower. Default None.
        second_weight: Weight of its score in hybrid search, relative to the lexical score. Default 0.2.
        title_key: The metadata key of a title that is searched with the text. Default ``"title"``; None for the text
            alone.
        kiwi: Whether lexical search reads Kiwi morphemes beside character bigrams. Default True.
        window_words: A longer document gets one vector for each window of this many words, and dense search uses the
            best window; None for one vector a document. Default ``"auto"``: 50 with the packaged bi-encoder and models
            adapted from it, None with other models, which would have to embed every window.
        scores_in_metadata: Whether results have scores in their metadata. Default True; scores are ignored when
            documents are compared. Use False for recipes that compare documents as strings, such as RAG-fusion's
            ``dumps(document)``.
    """

    fetch_k: int = Field(default=30, ge=1)
    score_threshold: float | None = Field(default=None, ge=0, le=1)
    search_type: SearchType = "hybrid"
    dense_weight: float = Field(default=0.25, ge=0)
    rerank_weight: float = Field(default=0.8, ge=0, le=1)
    embeddings: Embeddings = Field(default_factory=KlueEmbeddings, frozen=True)
    reranker: BaseDocumentCompressor | None = Field(default_factory=KlueReranker)
    sources: Sequence[Source] | None = Field(default=None, frozen=True)
    window_words: WindowWords = Field(default="auto", frozen=True)
    second_embeddings: Embeddings | str | None = Field(default=None, frozen=True)
    second_weight: float = Field(default=0.2, ge=0)

    _words_only: bool = PrivateAttr(default=False)

    @field_validator("second_embeddings", mode="before")
    @classmethod
    def _named(cls, model: Any) -> Any:
        """Open the embeddings that a name means."""
        return KlueEmbeddings(model=model) if isinstance(model, str) else model

    def model_post_init(self, context: Any, /) -> None:
        """Start with an empty index."""
        super().model_post_init(context)
        if self.sources is not None and not self.sources:
            raise ValueError(
                "sources=[] names no source of candidates; give at least one, or None to search the index alone."
            )
        dense = self.sources is None and self.search_type != "lexical"  # else the sources find the dense candidates
        lexical = self.sources is not None or self.search_type != "dense"
        if self._second is not None and not (dense and lexical):
            raise ValueError("second_embeddings is for hybrid search in the retriever's own index; leave it out.")
        settings = IndexSettings(lexical=lexical, dense=dense, kiwi=self.kiwi, title_key=self.title_key)
        self._start(settings_for(settings, self.embeddings, self.window_words, self._second) if dense else settings)

    @classmethod
    def load(cls, folder: str | Path, **fields: Any) -> KlueRetriever:
        """Open what `save` wrote.

        Args:
            folder: The folder.
            **fields: The retriever's other fields: ``embeddings`` if the packaged ones did not make the index,
                ``second_embeddings`` if not the packaged encoder made second vectors, ``reranker``, ``k`` and so on.
                With ``search_type="lexical"`` the model may be another one: the words are searched, and a warning says
                how to recompute the vectors (`rebuild`).

        Raises:
            IndexFormatError: If the folder is not an index, is damaged, or was written by a newer version.
            ModelMismatchError: If its vectors, or its token vectors, were made by another model.
            ValueError: If ``kiwi``, ``title_key`` or ``window_words`` is given: the index decides them.
        """
        index, fields = open_index(Path(folder), fields)
        settings, retriever = index.settings, cls(**fields)
        check_second(settings, retriever._second, Path(folder))
        if settings.dense and retriever.search_type != "lexical":
            check_model(index, retriever.embeddings, Path(folder))
        check_token_vectors(settings, retriever._vectors_of, Path(folder))
        retriever._use(index)
        model = model_identity(retriever.embeddings)
        retriever._words_only = settings.dense and settings.model not in (None, model)
        if retriever._words_only:
            warn_words_only(Path(folder), settings.model, model)
        return retriever

    @classmethod
    def rebuild(cls, folder: str | Path, **fields: Any) -> KlueRetriever:
        """Rebuild a saved index from its documents, save it in its place, and open it.

        For an index whose vectors were made by another model, such as the packaged weights of an earlier version, or
        that an earlier version tokenized differently. Until the new index is complete the old one stays.

        Args:
            folder: The folder given to `save`.
            **fields: The retriever's fields: ``embeddings``, ``second_embeddings``, ``window_words``, ``reranker``,
                ``k`` and so on. ``kiwi`` and ``title_key`` stay as they were. A second bi-encoder that is named makes
                its vectors; an interrupted call is continued by the next one.

        Raises:
            IndexFormatError: If the folder is not an index or is damaged.
            OSError: If writing fails; the old index is then untouched.
        """
        window_words = fields.pop("window_words", "auto")
        embeddings = fields.setdefault("embeddings", KlueEmbeddings())
        rebuild_folder(Path(folder), embeddings, window_words, cls._named(fields.get("second_embeddings")))
        return cls.load(folder, **fields)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **arguments: Any
    ) -> list[Document]:
        callbacks = run_manager.get_child()
        if (answer := arguments.pop(HANDED_OVER, None)) is not None:
            return self._second_stage.report(query, answer, callbacks)
        first_stage, options = self._prepare(arguments)
        candidates = first_stage.find(query, options, callbacks)
        return self._second_stage.order(candidates, options, callbacks) if candidates is not None else []

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **arguments: Any
    ) -> list[Document]:
        callbacks = run_manager.get_child()
        if (answer := arguments.pop(HANDED_OVER, None)) is not None:
            return await self._second_stage.areport(query, answer, callbacks)
        # in a thread: the first call with a reranker from the hub asks the hub
        first_stage, options = await run_in_executor(None, self._prepare, arguments)
        candidates = await first_stage.afind(query, options, callbacks)
        return await self._second_stage.aorder(candidates, options, callbacks) if candidates is not None else []

    def _prepare(self, arguments: dict[str, Any]) -> tuple[FirstStage, Options]:
        """Return the first stage and the options of a call; see the class for the arguments.

        Raises:
            TypeError: If an argument is unknown.
            ValueError: If a number is out of range.
            ModelMismatchError: If the vectors are not of the given model.
        """
        if unknown := arguments.keys() - _ARGUMENTS:
            raise TypeError(f"Unknown arguments: {', '.join(sorted(unknown))}.")
        given = {name: value for name, value in arguments.items() if value is not None}
        options = Options(self.k, self.fetch_k, self.score_threshold, self.search_type)
        if given:
            options = options.changed(given)
        if options.search_type != "lexical":
            self._check_vectors()
        return self._first_stage, options

    def _answer_together(self, queries: Sequence[str], arguments: dict[str, Any]) -> list[Answer] | None:
        """Answer queries together; None where that is not possible and each has to be asked by itself."""
        if self.sources is not None or not isinstance(self.reranker, RankerCompressor | None):
            return None
        try:
            first_stage, options = self._prepare(arguments)
        except Exception as error:
            return [Answer(error=error)] * len(queries)
        return answer_together(first_stage, self._second_stage, queries, options)

    def _check_vectors(self) -> None:
        """Raise a ModelMismatchError if the index has another model's vectors and was opened for lexical search."""
        if self._words_only:
            check_model(self._index, self.embeddings)

    @property
    def _first_stage(self) -> FirstStage:
        """What finds the candidates, as the fields are now."""
        kept = self._index.settings.token_vectors
        return FirstStage(
            index=self._index,
            sources=self.sources,
            embeddings=self.embeddings,
            dense_weight=self.dense_weight,
            morphemes=self._needs_morphemes,
            with_tokens=self.kiwi and isinstance(self.reranker, RankerCompressor) and self.reranker._reads_tokens,
            with_token_vectors=kept is not None and kept == self._vectors_of,
            second=self._second if self.second_weight else None,
            second_weight=self.second_weight,
        )

    @property
    def _second_stage(self) -> SecondStage:
        """What orders the candidates, as the fields are now."""
        return SecondStage(self.reranker, self.rerank_weight, self.title_key, self.scores_in_metadata, self._second)

    @property
    def confidence_threshold(self) -> float:
        """The ``confidence`` from which an answer is recommended; below it, say that nothing was found."""
        return packaged_confidence().threshold

    def confidence(self, query: str, *, filter: Filter | None = None) -> float | None:
        """Return how likely the first result for a query answers it.

        Args:
            query: The query.
            filter: Which documents may be found; None for all.

        Returns:
            The ``confidence`` of the first result, 0..1; 0 if nothing is found; None if it is not known: with other
            models than the packaged ones, with sources alone, without hybrid search, or with a ``fetch_k`` below 10.

        Examples:
            >>> from langchain_core.documents import Document
            >>> retriever = KlueRetriever.from_documents([Document("전입신고는 이사한 날부터 14일 안에 합니다.")])
            >>> retriever.confidence("전입신고는 언제까지 하나요?") > retriever.confidence("여권 사진 크기는?")
            True
        """
        scoring = self.model_copy(update={"scores_in_metadata": True, "score_threshold": None})
        documents = scoring.invoke(query, k=1, filter=filter)
        return documents[0].metadata.get("confidence") if documents else 0.0

    def _adopt(self, index: PassageIndex) -> None:
        if index.settings.dense:
            check_model(index, self.embeddings)
        check_second(index.settings, self._second)
        super()._adopt(index)

    def _tokenize(self, texts: Sequence[str]) -> TokenizedTexts:
        return tokenize(texts, shared_analyzer() if self._needs_morphemes else None)

    @property
    def _needs_morphemes(self) -> bool:
        """Whether texts are tokenized with morphemes."""
        settings = self._index.settings
        return (settings.lexical and self.kiwi) or (settings.dense and reads_tokens(self.embeddings))

    def _read(self, passages: Sequence[Passage], texts: Sequence[str]) -> WordsAndVectors:
        self._check_vectors()
        if not (settings := self._index.settings).dense:
            return self._tokenize(texts), None

        def embed(part: slice, tokens: TokenizedTexts) -> dict[str, PassageVectors]:
            return embed_fields(self.embeddings, self._second, settings, passages[part], tokens)

        # other models make batches of their own, the larger the better
        if sum(map(len, texts)) > PART and reads_tokens(self.embeddings) and self._second is None:
            return read_in_parts(texts, self._tokenize, embed)
        return (tokens := self._tokenize(texts)), embed(slice(None), tokens)

    @property
    def _second(self) -> Embeddings | None:
        return self.second_embeddings if isinstance(self.second_embeddings, Embeddings) else None

    def _token_vectors(self, texts: Sequence[str]) -> TokenVectors | None:
        model = self._vectors_of
        self._index.keep_token_vectors(model)
        kept = self._index.settings.token_vectors
        if kept is None:
            return None
        if kept != model or not isinstance(self.reranker, RankerCompressor):
            raise ModelMismatchError(
                f"This index keeps the token vectors of the model {kept!r}; to add documents, rerank with that model."
            )
        return self.reranker._encode_documents(texts)

    @property
    def _vectors_of(self) -> str | None:
        """Identity of the late-interaction model that reranks; None for another reranker."""
        return self.reranker._token_vectors if isinstance(self.reranker, RankerCompressor) else None

    @property
    def token_vector_bytes(self) -> float:
        """Bytes that the index keeps of a document for a late-interaction reranker, on average; 0 without one."""
        return self._index.token_vector_bytes
