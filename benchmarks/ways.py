"""The ways to search that the results page compares, and what came back from each, kept on disk.

A run is kept under a name made of everything that decides it (weights, settings, data), so that the page is rebuilt in
seconds and an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.adapters.documents import searchable_text
from langchain_klue_rerank.adapters.first_stage import SearchType
from langchain_klue_rerank.engine.index import fusion
from langchain_klue_rerank.engine.index.fusion import top
from langchain_klue_rerank.engine.models.names import WEIGHTS, identity
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.engine.text.windows import WINDOW_WORDS
from langchain_klue_rerank.evaluation import ask
from langchain_klue_rerank.evaluation.metrics import Judged
from langchain_klue_rerank.evaluation.sets import EvaluationSet
from training.files import write_text

#: How many results are looked at.
DEPTH = 10
#: What is kept of every candidate of the default way, in this order.
SCORES = ("first_stage_score", "rerank_score", "relevance_score")


@dataclass(frozen=True)
class Way:
    """One way to search.

    Attributes:
        name: What tables call it.
        base: Name of the way that finds its candidates, for one that reranks; None for one that does not.
        search_type: How candidates are found.
        built: Fields of the retriever that decide its index.
        asked: Fields of the retriever that do not.
        accident: What `fusion.ACCIDENT` is while the way is asked.
    """

    name: str
    base: str | None = None
    search_type: SearchType = "hybrid"
    built: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    accident: float = fusion.ACCIDENT


_BIGRAMS = {"kiwi": False, "search_type": "lexical"}
MORPHEMES = Way("lexical, morphemes", None, "lexical")
LEXICAL = Way("lexical", None, "lexical")
DENSE = Way("dense", None, "dense")
ONE_VECTOR = Way("dense, one vector a passage", None, "dense", {"window_words": None})
HYBRID = Way("hybrid")
DEFAULT = Way("hybrid, reranked", "hybrid")

#: Every stage and combination.
WAYS: Sequence[Way] = (
    MORPHEMES,
    Way("lexical, bigrams", None, "lexical", _BIGRAMS),
    LEXICAL,
    ONE_VECTOR,
    DENSE,
    HYBRID,
    Way("lexical, reranked", "lexical", "lexical"),
    Way("dense, then the reranker alone", "dense", "dense", {}, {"rerank_weight": 1.0}),
    DEFAULT,
)

#: The default with one thing changed.
ABLATIONS: Sequence[Way] = (
    Way("no titles", "hybrid", built={"title_key": None}),
    Way("no morphemes in lexical search", "hybrid", built={"kiwi": False}),
    Way("one vector a passage", "hybrid", built={"window_words": None}),
    *(Way(f"`dense_weight={weight}`", "hybrid", asked={"dense_weight": weight}) for weight in (0.0, 0.5)),
    Way("small lexical scores count fully", "hybrid", accident=1e-3),
    Way("small lexical scores count fully, not reranked", accident=1e-3),
    *(Way(f"`fetch_k={count}`", "hybrid", asked={"fetch_k": count}) for count in (10, 100)),
)
#: Shares of the reranker in the score whose effect is computed from what the default way found.
WEIGHTS_TRIED: Sequence[float] = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Run:
    """What came back.

    Attributes:
        ranks: For each question the rank of the passage that answers it, from 1; 0 if not among the first `DEPTH`.
        pairs: For the default way, for each question its candidates in the order of the first stage:
            ``first_stage_score``, ``rerank_score``, ``relevance_score``, 1 if right or 0.
    """

    ranks: list[int]
    pairs: list[list[tuple[float, float, float, int]]] = field(default_factory=list)

    def judged(self, rows: Sequence[int]) -> Judged:
        """Return the ranks of some questions in the form that metrics read; each has one right passage."""
        ranks = np.asarray(self.ranks)[list(rows)]
        table = ranks[:, None] == np.arange(1, DEPTH + 1)
        return Judged(table, np.ones(len(ranks), np.int64))

    def scores(self, rows: Sequence[int], column: int, first: bool = False) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return scores (`SCORES[column]`) and whether each is right; `first`: of each question's highest only."""
        chosen = [self.pairs[row] for row in rows]
        if first:
            chosen = [[max(own, key=lambda pair: pair[column])] for own in chosen if own]
        table = np.asarray([pair for own in chosen for pair in own], np.float64).reshape(-1, len(SCORES) + 1)
        return table[:, column], table[:, -1] > 0


class TermRetriever(BaseRetriever):
    """BM25 (bm25s) over terms of one kind, for which the package has no option."""

    documents: list[Document]
    terms: Any
    index: Any

    @classmethod
    def over(cls, documents: list[Document], terms: Callable[[str], list[str]]) -> TermRetriever:
        """Index documents with their titles.

        Args:
            documents: The documents.
            terms: Turns a text into terms, such as `morphemes` or ``str.split``.
        """
        import bm25s

        texts = [searchable_text(one.page_content, one.metadata, "title") for one in documents]
        index = bm25s.BM25(k1=1.5, b=0.75)
        index.index([terms(text) for text in texts], show_progress=False)
        return cls(documents=documents, terms=terms, index=index)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int = DEPTH
    ) -> list[Document]:
        known = [term for term in self.terms(query) if term in self.index.vocab_dict]
        return [self.documents[row] for row in top(self.index.get_scores(known), k).tolist()] if known else []


def morphemes(text: str) -> list[str]:
    """Return the content morphemes of a text, as the package reads them."""
    tokens = tokenize([text], shared_analyzer())
    return [name for word in tokens.word_ids.tolist() for name in tokens.morphemes[word]]


class Runner:
    """Asks one set in many ways and keeps what came back.

    Args:
        data: The set; each question has one right passage.
        folder: Where runs are kept.
        show_progress: Whether to draw progress bars.
    """

    def __init__(self, data: EvaluationSet, folder: Path, *, show_progress: bool = True) -> None:
        self.data = data
        self._folder = folder
        self._show_progress = show_progress
        self._retrievers: dict[str, KlueRetriever] = {}
        self._runs: dict[str, Run] = {}

    def run(self, way: Way) -> Run:
        """Return the run of a way, from disk or new."""
        if way.name not in self._runs:
            self._runs[way.name] = self._stored_or_new(way)
        return self._runs[way.name]

    def _stored_or_new(self, way: Way) -> Run:
        path = self._folder / f"{self._key(way)}.json"
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            return Run(**stored["run"])
        run = self._ask(way)
        write_text(path, json.dumps({"set": self.data.name, "way": way.name, "run": asdict(run)}))
        return run

    def _key(self, way: Way) -> str:
        """Name what decides a run: only that, so that new weights of one model leave the other's runs as they are."""
        decided: dict[str, Any] = {
            "way": asdict(way),
            "set": self.data.name,
            "texts": [one.page_content for one in self.data.documents] + self.data.questions,
        }
        defaults = {name: one.default for name, one in KlueRetriever.model_fields.items()}
        if way.search_type != "lexical":
            decided |= {"bi_encoder": identity(None), "dense_weight": defaults["dense_weight"]}
            decided |= {"window_words": WINDOW_WORDS}
        if way.base is not None:
            decided |= {"reranker": identity(str(WEIGHTS / "reranker"))}
            decided |= {name: defaults[name] for name in ("rerank_weight", "fetch_k")}
        return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:20]

    def _ask(self, way: Way) -> Run:
        label = f"{self.data.name}: {way.name}"
        if way is MORPHEMES:
            answers = ask(TermRetriever.over(self.data.documents, morphemes), self.data, label, k=DEPTH)
        else:
            changes = dict(way.asked) if way.base is not None else {"reranker": None, **way.asked}
            retriever = self._retriever(way.built).model_copy(update=changes)
            depth = retriever.fetch_k if way is DEFAULT else DEPTH
            with patch.object(fusion, "ACCIDENT", way.accident):
                answers = ask(
                    retriever,
                    self.data,
                    label,
                    show_progress=self._show_progress,
                    k=depth,
                    search_type=way.search_type,
                )
        judged = answers.judge(self.data).relevant
        ranks = np.where(judged.any(axis=1), judged.argmax(axis=1) + 1, 0).tolist()
        pairs = []
        if way is DEFAULT:
            for documents, relevant in zip(answers.found, self.data.relevant, strict=True):
                own = [(*(d.metadata[name] for name in SCORES), int(d.id in relevant)) for d in documents]
                pairs.append(sorted(own, key=lambda pair: -pair[0]))
        return Run(ranks, pairs)

    def _retriever(self, built: Mapping[str, Any]) -> KlueRetriever:
        """Return the retriever over an index; ways that share the index share it."""
        key = json.dumps(dict(built), sort_keys=True)
        if key not in self._retrievers:
            self._retrievers[key] = KlueRetriever.from_documents(self.data.documents, **built)
        return self._retrievers[key]
