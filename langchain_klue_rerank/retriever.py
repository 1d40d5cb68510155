"""`KlueRetriever`: candidates, fusion and reranking in one LangChain retriever."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list, run_in_executor
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from langchain_klue_rerank.adapters.convert import check_query, searchable_text
from langchain_klue_rerank.adapters.embedding import (
    WindowWords,
    check_model,
    decide_window_words,
    embed_for_index,
    model_identity,
    reads_tokens,
)
from langchain_klue_rerank.adapters.filters import Filter
from langchain_klue_rerank.adapters.first_stage import FirstStage, Found, Options, SearchType
from langchain_klue_rerank.adapters.indexed import IndexedRetriever
from langchain_klue_rerank.adapters.rebuilding import rebuild, warn_words_only
from langchain_klue_rerank.adapters.reranking import RankerCompressor
from langchain_klue_rerank.adapters.scored import with_metadata, without_scores
from langchain_klue_rerank.adapters.sources import Source
from langchain_klue_rerank.adapters.tracing import async_child_run, child_run
from langchain_klue_rerank.embeddings import KlueEmbeddings
from langchain_klue_rerank.engine.arrays.quantized import TokenVectors
from langchain_klue_rerank.engine.contracts import ScoreRequest, Scores
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.rerank.blend import blend_scores
from langchain_klue_rerank.engine.rerank.confidence import LEAST_CANDIDATES, packaged_confidence, signals
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.errors import ModelMismatchError
from langchain_klue_rerank.reranker import KlueReranker


class KlueRetriever(IndexedRetriever):
    """Two-stage retrieval for Korean: lexical and dense candidates, fused, then reranked.

    With its own index (`from_documents`, `load`) a document is tokenized once in its life, and all stages read those
    tokens. With ``sources`` the candidates come from any other LangChain vector stores or retrievers. Documents added
    to a retriever with sources go into an index of their words only, never into the sources: hybrid search then fuses
    our lexical candidates with those of the sources, as where the vectors live in PostgreSQL::

        KlueRetriever.from_documents(documents, sources=[PGVector(...)])

    Results carry ``metadata["relevance_score"]``, a float in 0..1. After a `KlueReranker` it is the weighted mean of
    the reranker's and the first stage's score, which also stand there as ``rerank_score`` and ``first_stage_score``:
    where the reranker is sure it decides, where it finds nothing the first stage's order stays. Documents given in are
    never changed.

    The first result of a hybrid search with the packaged models also carries ``metadata["confidence"]``, 0..1: how
    likely it answers the question, rather than being the nearest of what is there. Below `confidence_threshold` the
    answer is more likely not among the documents.

    Examples:
        >>> from langchain_core.documents import Document
        >>> documents = [Document("전입신고는 이사한 날부터 14일 안에 합니다."), Document("여권은 구청에서 만듭니다.")]
        >>> retriever = KlueRetriever.from_documents(documents, k=1)
        >>> retriever.invoke("이사하면 언제까지 신고해야 하나요?")[0].page_content
        '전입신고는 이사한 날부터 14일 안에 합니다.'

    Args:
        k: How many documents to return; fewer if fewer have anything in common with the query. Default 4. Also an
            argument of ``invoke``, as are the next three.
        fetch_k: How many candidates the first stage hands to the reranker; at least k are. Default 30.
        score_threshold: Lowest ``relevance_score`` to return, 0..1; None returns all.
        search_type: ``"hybrid"`` (default), ``"dense"`` or ``"lexical"``; decides what an index is built with. A
            hybrid index can be searched in all three ways. With sources, dense asks them and lexical our own index.
        dense_weight: Weight of the dense score in hybrid search, the lexical one having 1. Default 0.25. Of sources,
            whose scores cannot be compared, the places count instead, two fifths as much.
        rerank_weight: Weight of a `KlueReranker`'s score in the ``relevance_score``, 0..1, the first stage's having the
            rest. Default 0.8; 1 trusts the reranker alone.
        embeddings: What makes the vectors. Default: the packaged bi-encoder.
        reranker: What reorders the candidates, any document compressor; None for the first stage's order. Default: the
            packaged reranker. Of a `KlueReranker` all candidates are scored and ``k`` decides how many are kept. An
            index that is begun with a late-interaction model keeps its token vectors.
        sources: Vector stores (asked for ``fetch_k``) or retrievers (asked for what they return) that find
            candidates. Rankings of several are fused by reciprocal rank; beside the lexical scores of documents added
            here the places in them count. A text that several find is one document, and one that our index has comes
            back as it was added.
        title_key: The metadata key of a title that is searched with the text. Default ``"title"``; None for the text
            alone.
        kiwi: Whether lexical search reads Kiwi morphemes beside character bigrams. Default True.
        window_words: A document longer than this gets a vector for each window of so many words, and the best window
            counts in dense search; None for one vector a document. Default ``"auto"``: 50 with the packaged bi-encoder
            and those adapted from it, None with other models, for which every window is a text more to embed.
        scores_in_metadata: Whether documents come with their scores. Default True; they do not count when documents are
            compared. False for recipes that compare documents as strings, such as RAG-fusion's ``dumps(document)``.
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

    _words_only: bool = PrivateAttr(default=False)

    def model_post_init(self, context: Any, /) -> None:
        """Start with an empty index."""
        super().model_post_init(context)
        if self.sources is not None and not self.sources:
            raise ValueError("sources=[] names no source of candidates; give at least one, or None for an own index.")
        own = self.sources is None  # what has sources gets its vectors' candidates from them
        dense = own and self.search_type != "lexical"
        self._start(
            IndexSettings(
                lexical=not own or self.search_type != "dense",
                dense=dense,
                kiwi=self.kiwi,
                title_key=self.title_key,
                model=model_identity(self.embeddings) if dense else None,
                window_words=decide_window_words(self.embeddings, self.window_words) if dense else None,
            )
        )
        if self._index.settings.dense and self.search_type != "lexical":
            check_model(self._index, self.embeddings)
        self._words_only = self._has_foreign_vectors()

    @classmethod
    def load(cls, folder: str | Path, **fields: Any) -> KlueRetriever:
        """Open what `save` wrote.

        Args:
            folder: The folder.
            **fields: The retriever's other fields: ``embeddings`` if the packaged ones did not make the index,
                ``reranker``, ``k`` and so on. With ``search_type="lexical"`` the model may be another one: the words
                are searched, and a warning says how to make the vectors anew (`rebuild`).

        Raises:
            IndexFormatError: If the folder is not an index, is damaged, or was written by a newer version.
            ModelMismatchError: If its vectors, or its token vectors, were made by another model.
            ValueError: If ``kiwi``, ``title_key`` or ``window_words`` is given: the index decides them.
        """
        for name in ("kiwi", "title_key", "window_words"):
            if name in fields:
                raise ValueError(f"{name}={fields[name]!r}: this was decided when the index was built; leave it out.")
        index = PassageIndex.load(Path(folder))
        settings = index.settings
        dense = settings.dense or fields.get("sources") is not None
        built = "hybrid" if settings.lexical and dense else "dense" if dense else "lexical"
        decided = {name: getattr(settings, name) for name in ("kiwi", "title_key", "window_words")}
        fields = {"search_type": built, **fields, **decided}
        retriever = cls(**fields)
        if settings.dense and retriever.search_type != "lexical":
            check_model(index, retriever.embeddings, Path(folder))
        if settings.token_vectors is not None and retriever._vectors_of not in (None, settings.token_vectors):
            raise ModelMismatchError(
                f"The index at {str(folder)!r} keeps the token vectors of the model {settings.token_vectors!r}, not of "
                f"{retriever._vectors_of!r}. Load it with that model as its reranker, or build it again."
            )
        retriever._use(index)
        retriever._words_only = retriever._has_foreign_vectors()
        if retriever._words_only:
            warn_words_only(Path(folder), settings.model, model_identity(retriever.embeddings))
        return retriever

    @classmethod
    def rebuild(cls, folder: str | Path, **fields: Any) -> KlueRetriever:
        """Build a saved index anew from the documents that it holds, save it in its place, and open it.

        For an index whose vectors were made by another model, such as the packaged weights of an earlier version, or
        whose words an earlier version split in another way. Until the new index is complete the old one stays.

        Args:
            folder: The folder given to `save`.
            **fields: The retriever's fields: ``embeddings``, ``window_words``, ``reranker``, ``k`` and so on. ``kiwi``
                and ``title_key`` stay as they were.

        Raises:
            IndexFormatError: If the folder is not an index or is damaged.
            OSError: If writing fails; the old index is then untouched.
        """
        window_words = fields.pop("window_words", "auto")
        embeddings = fields.setdefault("embeddings", KlueEmbeddings())
        rebuild(Path(folder), embeddings, window_words).save(Path(folder))
        return cls.load(folder, **fields)

    def _has_foreign_vectors(self) -> bool:
        settings = self._index.settings
        return settings.dense and settings.model not in (None, model_identity(self.embeddings))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        score_threshold: float | None = None,
        search_type: SearchType | None = None,
        filter: Filter | None = None,
    ) -> list[Document]:
        if (answer := self._answer) is not None and answer.error is not None:
            raise answer.error
        options = self._options(k, fetch_k, score_threshold, search_type, filter)
        query = check_query(query)
        if not query or not options.k:
            return []
        callbacks = run_manager.get_child()
        reranker = self.reranker
        if answer is not None:  # a batch has found it already
            if isinstance(reranker, RankerCompressor):
                inputs = reranker._trace_inputs(query, answer.candidates)
                with child_run(type(reranker).__name__, callbacks, inputs) as outputs:
                    outputs.update(documents=answer.documents, milliseconds=answer.milliseconds)
            return answer.documents
        found = self._first_stage.find(query, options, callbacks)
        if isinstance(reranker, RankerCompressor):
            inputs = reranker._trace_inputs(query, len(found.documents))
            with child_run(type(reranker).__name__, callbacks, inputs) as outputs:
                start = time.perf_counter()
                [scores] = reranker._score([self._request(query, found)])
                return _traced(self._blend(reranker, found, scores, options), start, outputs)
        if reranker is None:
            return self._first_only(found, options)
        documents = reranker.compress_documents(self._with_scores(found), query, callbacks)
        return self._foreign(documents, options)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        score_threshold: float | None = None,
        search_type: SearchType | None = None,
        filter: Filter | None = None,
    ) -> list[Document]:
        if (answer := self._answer) is not None and answer.error is not None:
            raise answer.error
        # in a thread: of a reranker from the hub the first call asks the hub
        options = await run_in_executor(None, self._options, k, fetch_k, score_threshold, search_type, filter)
        query = check_query(query)
        if not query or not options.k:
            return []
        callbacks = run_manager.get_child()
        reranker = self.reranker
        if answer is not None:  # a batch has found it already
            if isinstance(reranker, RankerCompressor):
                inputs = reranker._trace_inputs(query, answer.candidates)
                async with async_child_run(type(reranker).__name__, callbacks, inputs) as outputs:
                    outputs.update(documents=answer.documents, milliseconds=answer.milliseconds)
            return answer.documents
        found = await self._first_stage.afind(query, options, callbacks)
        if isinstance(reranker, RankerCompressor):
            inputs = reranker._trace_inputs(query, len(found.documents))
            async with async_child_run(type(reranker).__name__, callbacks, inputs) as outputs:
                start = time.perf_counter()
                [scores] = await reranker._ascore([self._request(query, found)])
                return _traced(self._blend(reranker, found, scores, options), start, outputs)
        if reranker is None:
            return self._first_only(found, options)
        documents = await reranker.acompress_documents(self._with_scores(found), query, callbacks)
        return self._foreign(documents, options)

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Answer several queries, tokenizing, embedding, searching and reranking them together.

        Args:
            inputs: The queries.
            config: One configuration for all, or one for each.
            return_exceptions: Whether a failing query gives its exception in place of its documents.
            **kwargs: As for ``invoke``: k, fetch_k, score_threshold, search_type, filter.

        Returns:
            For each query its documents.
        """
        answers = self._answer_together(inputs, kwargs)
        if answers is None:
            return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        result: list[Any] = []
        for query, own, answer in zip(inputs, get_config_list(config, len(inputs)), answers, strict=True):
            with _hand_over(answer, result if return_exceptions else None):
                result.append(self.invoke(query, own, **kwargs))
        return result

    async def abatch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Answer several queries together without blocking the event loop; see `batch`."""
        answers = await run_in_executor(None, self._answer_together, inputs, kwargs)
        if answers is None:
            return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        result: list[Any] = []
        for query, own, answer in zip(inputs, get_config_list(config, len(inputs)), answers, strict=True):
            with _hand_over(answer, result if return_exceptions else None):
                result.append(await self.ainvoke(query, own, **kwargs))
        return result

    def _answer_together(self, queries: Sequence[str], arguments: dict[str, Any]) -> list[_Answer] | None:
        """Answer queries in one go; None where that is not possible and each has to be asked by itself.

        A query that fails gets its own error, and only the stage at which it failed is done again for the others.
        """
        reranker = self.reranker
        if self.sources is not None or not (reranker is None or isinstance(reranker, RankerCompressor)):
            return None
        try:
            options = self._options(**arguments)
        except Exception as error:
            return [_Answer(self, error=error)] * len(queries)
        asked: dict[int, str] = {}
        answers: dict[int, _Answer] = {}
        for number, query in enumerate(queries):
            try:
                if checked := check_query(query):
                    asked[number] = checked
                    continue
                answers[number] = _Answer(self)
            except TypeError as error:
                answers[number] = _Answer(self, error=error)
        found: dict[int, Found] = {}
        for number, one in zip(asked, self._first_stage.search_each(list(asked.values()), options), strict=True):
            if isinstance(one, Found):
                found[number] = one
            else:
                answers[number] = _Answer(self, error=one)
        start = time.perf_counter()
        documents: dict[int, list[Document] | Exception]
        if reranker is None:
            documents = {number: self._first_only(one, options) for number, one in found.items()}
        else:
            scores = _score_each(reranker, [self._request(asked[number], one) for number, one in found.items()])
            documents = {
                number: own if isinstance(own, Exception) else self._blend(reranker, one, own, options)
                for (number, one), own in zip(found.items(), scores, strict=True)
            }
        milliseconds = round(1000 * (time.perf_counter() - start) / max(1, len(found)), 3)
        for number, result in documents.items():
            if isinstance(result, Exception):
                answers[number] = _Answer(self, error=result)
            else:
                answers[number] = _Answer(self, result, len(found[number].documents), milliseconds)
        return [answers[number] for number in range(len(queries))]

    @property
    def _answer(self) -> _Answer | None:
        """What a batch of this retriever has found for the query that it asks now."""
        answer = _ANSWER.get()
        return answer if answer is not None and answer.retriever is self else None

    def _options(
        self,
        k: int | None = None,
        fetch_k: int | None = None,
        score_threshold: float | None = None,
        search_type: SearchType | None = None,
        filter: Filter | None = None,
    ) -> Options:
        """Take the fields where a call says nothing else.

        Raises:
            ValueError: If a number is out of range, or the index cannot be searched that way.
        """
        options = Options(
            k=self.k if k is None else k,
            fetch_k=self.fetch_k if fetch_k is None else fetch_k,
            score_threshold=self.score_threshold if score_threshold is None else score_threshold,
            search_type=search_type or self.search_type,
            filter=filter,
        )
        self._first_stage.check(options)
        if options.search_type != "lexical":
            self._check_vectors()
        return options

    def _check_vectors(self) -> None:
        """Make sure that the index's vectors are of the model at hand.

        Raises:
            ModelMismatchError: If they are not, and the index was opened for its words alone.
        """
        if self._words_only:
            check_model(self._index, self.embeddings)

    @property
    def _first_stage(self) -> FirstStage:
        """What finds the candidates, as the fields are now."""
        return FirstStage(
            index=self._index,
            sources=self.sources,
            tokenize=self._tokenize,
            embeddings=self.embeddings,
            dense_weight=self.dense_weight,
            with_tokens=self.kiwi and isinstance(self.reranker, RankerCompressor) and self.reranker._reads_tokens,
            token_vectors_of=self._vectors_of,
        )

    def _request(self, query: str, found: Found) -> ScoreRequest:
        """Return what the reranker is asked: the candidates' titles and texts, and all that is known of them."""
        texts = [searchable_text(one.page_content, one.metadata, self.title_key) for one in found.documents]
        return ScoreRequest(query, texts, found.evidence, found.scores, self.rerank_weight)

    def _blend(self, reranker: RankerCompressor, found: Found, scores: Scores, options: Options) -> list[Document]:
        """Order one query's candidates by both stages' scores; what the reranker did not read has the first's only."""
        blended = blend_scores(scores.values, found.scores, self.rerank_weight)
        # where the deadline came first no threshold can tell
        kept = reranker._passes(scores) & (scores.is_late | (blended >= (options.score_threshold or 0)))
        order = np.argsort(-blended, kind="stable")  # equals keep their order
        confidence = self._confidence(found, scores, blended, options) if len(order) else {}
        return [
            self._scored(
                found.documents[place],
                first_stage_score=float(found.scores[place]),
                rerank_score=float(scores.values[place]),
                relevance_score=float(blended[place]),
                **reranker._marks(scores, place),
                **(confidence if place == order[0] else {}),
            )
            for place in order[kept[order]][: options.k].tolist()
        ]

    def _confidence(
        self, found: Found, scores: Scores, blended: NDArray[np.float64], options: Options
    ) -> dict[str, float]:
        """Return what the first result's metadata say of its confidence: nothing where it is not known.

        It is fitted on the packaged models' scores of what hybrid search finds.
        """
        evidence = found.evidence
        if (
            not isinstance(self.reranker, KlueReranker)
            or not self.reranker._reads_tokens
            or evidence is None
            or evidence.lexical is None
            or evidence.cosines is None
            or evidence.tokens is None
            or options.candidates < LEAST_CANDIDATES
            or not scores.is_read.all()
        ):
            return {}
        known = signals(blended, evidence.lexical, evidence.cosines, evidence.tokens)
        return {"confidence": float(packaged_confidence()(known))}

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
            The ``confidence`` of the first result, 0..1; 0 if nothing is found; None where it is not known: with other
            models than the packaged ones, with sources, without hybrid search, or with a ``fetch_k`` below 10.

        Examples:
            >>> from langchain_core.documents import Document
            >>> retriever = KlueRetriever.from_documents([Document("전입신고는 이사한 날부터 14일 안에 합니다.")])
            >>> retriever.confidence("전입신고는 언제까지 하나요?") > retriever.confidence("여권 사진 크기는?")
            True
        """
        told = self.model_copy(update={"scores_in_metadata": True, "score_threshold": None})
        found = told.invoke(query, k=1, filter=filter)
        return found[0].metadata.get("confidence") if found else 0.0

    def _first_only(self, found: Found, options: Options) -> list[Document]:
        """Return the first stage's best: without a reranker its score is the last word."""
        kept = found.scores >= (options.score_threshold or 0)
        return [
            self._scored(found.documents[place], relevance_score=float(found.scores[place]))
            for place in np.flatnonzero(kept)[: options.k].tolist()
        ]

    def _with_scores(self, found: Found) -> list[Document]:
        """Return the candidates as another library's reranker gets them."""
        return [
            with_metadata(without_scores(document), first_stage_score=score)
            for document, score in zip(found.documents, found.scores.tolist(), strict=True)
        ]

    def _foreign(self, documents: Sequence[Document], options: Options) -> list[Document]:
        """Keep the best k of what another library's reranker returned, and those above the threshold.

        Raises:
            ValueError: If there is a threshold, and the reranker gives no scores to compare with it.
        """
        threshold = options.score_threshold
        if threshold is not None:
            scores: list[Any] = [document.metadata.get("relevance_score") for document in documents]
            if not all(isinstance(score, int | float | np.number) for score in scores):
                raise ValueError(
                    f"score_threshold={threshold!r} cannot be applied: the reranker "
                    f"{type(self.reranker).__name__} leaves no relevance_score in the metadata. Leave the threshold "
                    "out, or use a KlueReranker."
                )
            documents = [d for d, score in zip(documents, scores, strict=True) if score >= threshold]
        found = list(documents)[: options.k]
        return found if self.scores_in_metadata else [without_scores(document) for document in found]

    def _adopt(self, index: PassageIndex) -> None:
        if index.settings.dense:
            check_model(index, self.embeddings)
        super()._adopt(index)

    def _tokenize(self, texts: Sequence[str]) -> TokenizedTexts:
        settings = self._index.settings
        needed = (settings.lexical and self.kiwi) or (settings.dense and reads_tokens(self.embeddings))
        return tokenize(texts, shared_analyzer() if needed else None)

    def _embed(
        self, passages: Sequence[Passage], tokens: TokenizedTexts
    ) -> NDArray[np.float32] | PassageVectors | None:
        settings = self._index.settings
        self._check_vectors()
        return embed_for_index(self.embeddings, settings, passages, tokens) if settings.dense else None

    def _token_vectors(self, texts: Sequence[str]) -> TokenVectors | None:
        own = self._vectors_of
        self._index.keep_token_vectors(own)
        kept = self._index.settings.token_vectors
        if kept is None:
            return None
        if kept != own or not isinstance(self.reranker, RankerCompressor):
            raise ModelMismatchError(
                f"This index keeps the token vectors of the model {kept!r}; to add documents, set a reranker with that "
                "model."
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


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a batch has found for one of its queries, on its way to the query's own run in the trace."""

    retriever: KlueRetriever
    documents: list[Document] = field(default_factory=list)
    candidates: int = 0
    milliseconds: float = 0.0
    error: Exception | None = None


_ANSWER: ContextVar[_Answer | None] = ContextVar("answer", default=None)


@contextmanager
def _hand_over(answer: _Answer, errors: list[Any] | None) -> Iterator[None]:
    """Give a query's run its answer; an error goes into the list, if there is one."""
    token = _ANSWER.set(answer)
    try:
        yield
    except Exception as error:
        if errors is None:
            raise
        errors.append(error)
    finally:
        _ANSWER.reset(token)


def _score_each(reranker: RankerCompressor, requests: Sequence[ScoreRequest]) -> list[Scores | Exception]:
    """Score requests together; where that fails each by itself, with its own error."""
    try:
        return list(reranker._score(requests))
    except Exception as error:
        if len(requests) == 1:
            return [error]
    return [one for request in requests for one in _score_each(reranker, [request])]


def _traced(documents: list[Document], start: float, outputs: dict[str, Any]) -> list[Document]:
    """Tell a trace what came back, and after how long."""
    outputs.update(documents=documents, milliseconds=round(1000 * (time.perf_counter() - start), 3))
    return documents
