"""The first stage of a `KlueRetriever`: candidates from its own index, from other stores, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from numpy.typing import NDArray

from langchain_klue_rerank.adapters.documents import (
    check_count,
    check_query,
    check_share,
    searchable_texts,
    title_of,
    to_document,
)
from langchain_klue_rerank.adapters.embedding import embed_by_all, reads_tokens
from langchain_klue_rerank.adapters.filters import Filter, to_keep
from langchain_klue_rerank.adapters.sources import Source, aask, ask, fuse, match
from langchain_klue_rerank.engine.contracts import Evidence
from langchain_klue_rerank.engine.index.fusion import (
    LEXICAL_SHARE,
    agreeing_places,
    fuse_scores,
    top,
    with_leading,
)
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.models.names import packaged_identity
from langchain_klue_rerank.engine.models.opening import packaged_bi_encoder
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import count_words, tokenize
from langchain_klue_rerank.engine.text.words import exact_share
from langchain_klue_rerank.engine.threads import searching

#: Weight of places in the sources' rankings relative to that of cosines. On questions written for training 0.2 gains as
#: much as 0.4 where a store's vectors know what ours do not, and loses less where they do not.
_PLACES_SHARE = 0.2

SearchType = Literal["hybrid", "dense", "lexical"]


@dataclass(frozen=True, slots=True)
class Options:
    """What one call asks for.

    Args:
        k: How many documents to return.
        fetch_k: How many candidates to find, if not more documents are to be returned.
        score_threshold: Lowest score to return, 0..1; None returns all.
        search_type: By which scores candidates are found.
        filter: Which documents may be found; None for all.
    """

    k: int
    fetch_k: int
    score_threshold: float | None
    search_type: SearchType
    filter: Filter | None = None

    def changed(self, arguments: Mapping[str, Any]) -> Options:
        """Return these options with the arguments of a call in their place.

        Raises:
            ValueError: If a number is out of range, or there is no such search type.
        """
        options = replace(self, **arguments)
        check_count("k", options.k)
        check_count("fetch_k", options.fetch_k)
        if options.score_threshold is not None:
            check_share("score_threshold", options.score_threshold)
        if options.search_type not in get_args(SearchType):
            raise ValueError(f"search_type={options.search_type!r} is none of {', '.join(get_args(SearchType))}.")
        return options

    @property
    def candidates(self) -> int:
        """How many candidates to find."""
        return max(self.k, self.fetch_k) if self.k else 0


@dataclass(frozen=True, slots=True)
class CandidateDocuments:
    """The first stage's candidates for one query, best first.

    Attributes:
        query: The query as it was searched.
        documents: n documents as they were added, or as a source returned them.
        scores: (n,) float32, the first stage's scores in 0..1.
        evidence: What the index knows of them, for the reranker; None for candidates of other sources.
        without_places: (n,) float32, the scores without what places in the sources' rankings add, for the confidence;
            None where there are none.
    """

    query: str
    documents: list[Document]
    scores: NDArray[np.float32]
    evidence: Evidence | None = None
    without_places: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Finds the candidates that a reranker orders.

    Args:
        index: The retriever's own index.
        sources: Vector stores and retrievers to ask; None to search the index alone.
        embeddings: Turns queries into vectors.
        dense_weight: Weight of dense scores in hybrid search, the lexical ones having 1.
        morphemes: Whether queries are tokenized with morphemes.
        with_tokens: Whether the candidates' tokens are wanted, for a reranker that reads them.
        with_token_vectors: Whether the candidates' token vectors are wanted, for a reranker that compares them.
        second: Turns queries into vectors of the index's second bi-encoder; None for none.
        second_weight: Weight of its scores in hybrid search.
    """

    index: PassageIndex
    sources: Sequence[Source] | None
    embeddings: Embeddings
    dense_weight: float
    morphemes: bool
    with_tokens: bool
    with_token_vectors: bool
    second: Embeddings | None = None
    second_weight: float = 0.0

    def find(self, query: str, options: Options, callbacks: Callbacks) -> CandidateDocuments | None:
        """Find the candidates of one query in the index, in the sources, or in both.

        Args:
            query: The query.
            options: What is asked for.
            callbacks: Where sources report their runs.

        Returns:
            The candidates; None for a query without a word, or where no document is wanted.

        Raises:
            TypeError: If the query is no text.
            ValueError: If the index was built for another search type.
        """
        if not self._asks_sources(options):
            return self._search(query, options)
        query = self._read(query, options)
        if not query or not options.k:
            return None
        return self._fuse(query, ask(self.sources or (), query, options.candidates, options.filter, callbacks), options)

    async def afind(self, query: str, options: Options, callbacks: Callbacks) -> CandidateDocuments | None:
        """Find the candidates of one query, asking the sources at the same time; see `find`."""
        if not self._asks_sources(options):
            return await run_in_executor(None, self._search, query, options)
        query = await run_in_executor(None, self._read, query, options)
        if not query or not options.k:
            return None
        rankings = await aask(self.sources or (), query, options.candidates, options.filter, callbacks)
        return await run_in_executor(None, self._fuse, query, rankings, options)

    @searching()
    def find_each(self, queries: Sequence[str], options: Options) -> list[CandidateDocuments | Exception | None]:
        """Find the candidates of several queries in the index; see `find`.

        A query that is no text or cannot be embedded gets its error. One that concerns all of them, such as a filter
        that raises, is the result of each.
        """
        found: list[CandidateDocuments | Exception | None] = [None] * len(queries)
        read: dict[int, str] = {}
        for row, query in enumerate(queries):
            try:
                if words := self._read(query, options):
                    read[row] = words
            except (TypeError, ValueError) as error:
                found[row] = error
        if read and options.k:
            try:
                candidates = self._search_each([*read.values()], options)
            except Exception as error:
                candidates = [error] * len(read)
            for row, one in zip(read, candidates, strict=True):
                found[row] = one
        return found

    def _read(self, query: str, options: Options) -> str:
        """Return a query as it is searched: words that no passage has in another spelling; "" for a blank one."""
        settings = self.index.settings
        dense = settings.dense or self.sources is not None
        if (options.search_type != "lexical" and not dense) or (
            options.search_type != "dense" and not settings.lexical
        ):
            built = "vectors" if settings.dense else "words"
            raise ValueError(
                f"search_type={options.search_type!r} is not possible: the index was built with {built} only."
            )
        return self.index.respelled(check_query(query))

    @searching()
    def _search(self, query: str, options: Options) -> CandidateDocuments | None:
        """Find the candidates of one query in the index."""
        query = self._read(query, options)
        if not query or not options.k:
            return None
        [candidates] = self._search_each([query], options)
        if isinstance(candidates, Exception):
            raise candidates
        return candidates

    def _search_each(self, queries: Sequence[str], options: Options) -> list[CandidateDocuments | Exception]:
        """Find the candidates of queries, none of them blank, in the index."""
        settings = self.index.settings
        lexical, dense = options.search_type != "dense", options.search_type != "lexical"
        tokens = None
        if lexical or reads_tokens(self.embeddings):
            tokens = tokenize(queries, shared_analyzer() if self.morphemes else None)
        rows = np.arange(len(queries))
        vectors = second_vectors = None
        failed: dict[int, Exception] = {}
        if dense:
            models = [(self.embeddings, self.index.dimension)]
            if self.second is not None and lexical and len(self.index):
                models.append((self.second, self.index.second_dimension))
            failed, arrays = embed_by_all(models, queries, tokens)
            vectors, second_vectors = (*arrays, None)[:2]
        if failed:
            rows = np.delete(rows, list(failed))
            if not len(rows):
                return list(failed.values())
            queries, tokens = [queries[row] for row in rows.tolist()], tokens and tokens.take(rows)
        shares = None
        if lexical and dense and tokens is not None:
            shares = [exact_share(query, tokens.words_of(number)) for number, query in enumerate(queries)]
        ranked = self.index.search(
            options.candidates,
            tokens=tokens if lexical else None,
            vectors=vectors,
            dense_weight=self.dense_weight,
            keep=to_keep(options.filter) if options.filter is not None else None,
            with_tokens=self.with_tokens,
            with_token_vectors=self.with_token_vectors,
            keep_lexical=int(LEXICAL_SHARE * options.candidates) if self.with_tokens else 0,
            exact=shares,
            second=second_vectors,
            second_weight=self.second_weight,
        )
        packaged, reads = settings.model == packaged_identity(), self.with_tokens and self.morphemes
        candidates: dict[int, CandidateDocuments | Exception] = {**failed}
        for number, (row, one) in enumerate(zip(rows.tolist(), ranked, strict=True)):
            evidence = replace(
                one.evidence,
                cosines=one.evidence.cosines if packaged else None,
                query=tokens.take(np.asarray([number])) if tokens is not None and reads else None,
            )
            documents = [to_document(passage) for passage in one.passages]
            candidates[row] = CandidateDocuments(queries[number], documents, one.scores, evidence)
        return [candidates[row] for row in range(len(candidates))]

    def _asks_sources(self, options: Options) -> bool:
        """Return whether to ask the sources; a lexical search asks them only while the local index is empty."""
        return self.sources is not None and (options.search_type != "lexical" or not len(self.index))

    @searching()
    def _fuse(self, query: str, rankings: list[list[Document]], options: Options) -> CandidateDocuments:
        """Fuse the sources' rankings with the lexical candidates of the index, if documents were added to it."""
        if len(self.index) and options.search_type == "hybrid":
            return self._fuse_beside_words(query, rankings, options)
        fused = fuse(rankings)[: options.candidates]
        documents = [document for document, _ in fused]
        tokens = self.index.tokens(_passages(documents)) if self.with_tokens else None
        scores = np.asarray([score for _, score in fused], np.float32)
        return CandidateDocuments(query, documents, scores, Evidence(tokens) if tokens is not None else None)

    def _fuse_beside_words(self, query: str, rankings: list[list[Document]], options: Options) -> CandidateDocuments:
        """Fuse the index's lexical candidates and the sources' as the index fuses its own.

        Every candidate gets a lexical score, by the statistics of the index, and a cosine of the packaged bi-encoder,
        whoever found it. The sources' places count beside them.
        """
        [lexical] = self._search_each([query], replace(options, search_type="lexical"))
        if isinstance(lexical, Exception):
            raise lexical
        documents, (_, *places) = match([lexical.documents, *map(self._as_added, rankings)])
        passages, title_key = _passages(documents), self.index.settings.title_key
        asked = tokenize([query], shared_analyzer())
        tokens, words = self.index.rescore(
            asked, passages, lambda some: tokenize(searchable_texts(some, title_key), shared_analyzer())
        )
        titles = count_words([title_of(passage.metadata, title_key) for passage in passages], shared_analyzer())
        cosines = packaged_bi_encoder().best_cosines(asked, tokens, titles)
        exact, near = exact_share(query, asked.words_of(0)), agreeing_places(places, cosines)
        alone = fuse_scores(words, cosines, self.dense_weight, exact)
        scores = fuse_scores(words, cosines, self.dense_weight, exact, near, _PLACES_SHARE * self.dense_weight)
        leading = top(words, int(LEXICAL_SHARE * options.candidates) if self.with_tokens else 0)
        best = with_leading(top(scores, options.candidates, above=-1), leading, scores, options.candidates)
        evidence = Evidence(tokens, cosines, words, len(self.index), query=asked).take(best)
        found = [documents[row] for row in best.tolist()]
        return CandidateDocuments(query, found, scores[best], evidence, alone[best])

    def _as_added(self, documents: list[Document]) -> list[Document]:
        """Replace what a source returned by the documents as they were added to the index."""
        added = {
            passage.id: passage for passage in self.index.get([document.id for document in documents if document.id])
        }
        return [
            to_document(added[document.id])
            if document.id in added and added[document.id].text == document.page_content
            else document
            for document in documents
        ]


def _passages(documents: Sequence[Document]) -> list[Passage]:
    return [Passage(document.id or "", document.page_content, document.metadata) for document in documents]
