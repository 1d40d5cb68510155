"""The first stage of a `KlueRetriever`: candidates from its own index, from other stores, or from both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from numpy.typing import NDArray

from langchain_klue_rerank.adapters.convert import check_count, to_document
from langchain_klue_rerank.adapters.embedding import embed_each, reads_tokens
from langchain_klue_rerank.adapters.filters import Filter, to_keep
from langchain_klue_rerank.adapters.sources import Source, aask, ask, fuse, fuse_beside
from langchain_klue_rerank.engine.contracts import Evidence
from langchain_klue_rerank.engine.index.fusion import LEXICAL_SHARE
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.models.names import packaged_identity
from langchain_klue_rerank.engine.text.exact import exact_share
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

#: What places in a store's ranking weigh beside cosines, of which those of 30 candidates differ by about that much.
_PLACES = 0.4

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

    Raises:
        ValueError: If a number is out of range, or there is no such search type.
    """

    k: int
    fetch_k: int
    score_threshold: float | None
    search_type: SearchType
    filter: Filter | None

    def __post_init__(self) -> None:
        """Check what a caller gave."""
        check_count("k", self.k)
        check_count("fetch_k", self.fetch_k)
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold={self.score_threshold!r} is not in 0..1.")
        if self.search_type not in get_args(SearchType):
            raise ValueError(f"search_type={self.search_type!r} is none of {', '.join(get_args(SearchType))}.")

    @property
    def candidates(self) -> int:
        """How many candidates to find."""
        return max(self.k, self.fetch_k) if self.k else 0


@dataclass(frozen=True, slots=True)
class Found:
    """The first stage's candidates for one query, best first.

    Attributes:
        documents: n documents as they were added, or as a source gave them.
        scores: (n,) float32, the first stage's scores in 0..1.
        evidence: What an index knows of them, for the reranker; None where no index does.
    """

    documents: list[Document]
    scores: NDArray[np.float32]
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Finds the candidates that a reranker orders.

    Args:
        index: The retriever's own index.
        sources: Vector stores and retrievers to ask; None where the own index is all there is.
        tokenize: Turns queries into tokens.
        embeddings: Turns queries into vectors.
        dense_weight: Weight of dense scores in hybrid search, the lexical ones having 1.
        with_tokens: Whether the documents' tokens are wanted, for a reranker that reads them.
        token_vectors_of: Identity of the reranker whose token vectors are wanted; None for none.
    """

    index: PassageIndex
    sources: Sequence[Source] | None
    tokenize: Callable[[Sequence[str]], TokenizedTexts]
    embeddings: Embeddings
    dense_weight: float
    with_tokens: bool
    token_vectors_of: str | None

    def check(self, options: Options) -> None:
        """Make sure that there is something to be searched in the way asked for.

        Raises:
            ValueError: If the index was built for another way.
        """
        settings = self.index.settings
        dense = settings.dense or self.sources is not None
        if (options.search_type != "lexical" and not dense) or (
            options.search_type != "dense" and not settings.lexical
        ):
            built = "vectors" if settings.dense else "words"
            raise ValueError(
                f"search_type={options.search_type!r} is not possible: the index was built with {built} only."
            )

    def find(self, query: str, options: Options, callbacks: Callbacks) -> Found:
        """Find the candidates of one query, wherever they are.

        Args:
            query: The query, not blank.
            options: What is asked for.
            callbacks: Where sources report their runs.
        """
        if not self._asks_sources(options):
            return self.search([query], options)[0]
        return self._fuse(query, ask(self.sources or (), query, options.candidates, options.filter, callbacks), options)

    async def afind(self, query: str, options: Options, callbacks: Callbacks) -> Found:
        """Find the candidates of one query, asking the sources at the same time; see `find`."""
        if not self._asks_sources(options):
            return (await run_in_executor(None, self.search, [query], options))[0]
        rankings = await aask(self.sources or (), query, options.candidates, options.filter, callbacks)
        return await run_in_executor(None, self._fuse, query, rankings, options)

    def search(self, queries: Sequence[str], options: Options) -> list[Found]:
        """Find the candidates of several queries, none of them blank, in the own index."""
        found = self.search_each(queries, options)
        for one in found:
            if isinstance(one, Exception):
                raise one
        return [one for one in found if isinstance(one, Found)]

    def search_each(self, queries: Sequence[str], options: Options) -> list[Found | Exception]:
        """Find the candidates of several queries; one for which the embeddings fail has their error.

        What fails for all of them, such as a filter that raises, is the error of each.
        """
        try:
            return self._search_each(queries, options)
        except Exception as error:
            return [error] * len(queries)

    def _search_each(self, queries: Sequence[str], options: Options) -> list[Found | Exception]:
        words = options.search_type != "dense"
        tokens = self.tokenize(queries) if words or reads_tokens(self.embeddings) else None
        vectors = None
        result: dict[int, Found | Exception] = {}
        good = list(range(len(queries)))
        if options.search_type != "lexical":
            each = embed_each(self.embeddings, queries, tokens, self.index.dimension)
            result = {number: one for number, one in enumerate(each) if isinstance(one, Exception)}
            good = [number for number in good if number not in result]
            vectors = [one for one in each if not isinstance(one, Exception)]
        if not good:
            return [result[number] for number in range(len(queries))]
        kept = self.index.settings.token_vectors
        packaged = self.index.settings.model == packaged_identity()
        found = self.index.search(
            options.candidates,
            tokens=tokens.take(np.asarray(good)) if words and tokens is not None else None,
            vectors=np.stack(vectors) if vectors is not None else None,
            dense_weight=self.dense_weight,
            keep=to_keep(options.filter),
            with_tokens=self.with_tokens,
            with_token_vectors=kept is not None and kept == self.token_vectors_of,
            keep_lexical=int(LEXICAL_SHARE * options.candidates) if self.with_tokens else 0,
            exact=[exact_share(query) for query in queries] if options.search_type == "hybrid" else None,
        )
        for number, one in zip(good, found, strict=True):
            result[number] = Found(
                [to_document(passage) for passage in one.passages],
                one.scores,
                one.evidence if packaged else replace(one.evidence, cosines=None),
            )
        return [result[number] for number in range(len(queries))]

    def _asks_sources(self, options: Options) -> bool:
        """Say whether a query goes to the sources: all do while nothing was added to the index beside them."""
        return self.sources is not None and (options.search_type != "lexical" or not len(self.index))

    def _fuse(self, query: str, rankings: list[list[Document]], options: Options) -> Found:
        """Fuse what sources found with the lexical candidates of the own index, where something was added to it."""
        if len(self.index) and options.search_type == "hybrid":
            [lexical] = self.search([query], replace(options, search_type="lexical"))
            rankings = [self._as_added(ranking) for ranking in rankings]
            candidates = fuse_beside(lexical.documents, lexical.scores, rankings, _PLACES * self.dense_weight)
        else:
            candidates = fuse(rankings)
        candidates = candidates[: options.candidates]
        documents = [document for document, _ in candidates]
        passages = [Passage(one.id or "", one.page_content, one.metadata) for one in documents]
        tokens = self.index.tokens(passages) if self.with_tokens else None
        scores = np.asarray([score for _, score in candidates], np.float32)
        return Found(documents, scores, Evidence(tokens) if tokens is not None else None)

    def _as_added(self, documents: list[Document]) -> list[Document]:
        """Put the documents as they were added in place of what a source made of them."""
        added = {passage.id: passage for passage in self.index.get([one.id for one in documents if one.id])}
        return [
            to_document(added[one.id]) if one.id in added and added[one.id].text == one.page_content else one
            for one in documents
        ]
