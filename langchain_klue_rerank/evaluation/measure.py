"""Evaluation sets, and the table of every way to search, with and without reranking."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from tqdm import tqdm

from langchain_klue_rerank.adapters.first_stage import SearchType
from langchain_klue_rerank.evaluation.metrics import METRICS, Judged, interval, paired_p_value
from langchain_klue_rerank.evaluation.sets import EvaluationSet
from langchain_klue_rerank.retriever import KlueRetriever


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        search_type: How candidates were found.
        reranked: Whether they were reranked.
        values: Metric -> mean over the questions.
        intervals: Metric -> 95% bootstrap interval.
        p_value: Of HitRate@1 against the line without reranking, paired; None for that line itself.
        milliseconds: Median time of one query.
        p95_milliseconds: 95th percentile of the time of one query.
    """

    search_type: SearchType
    reranked: bool
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    p_value: float | None
    milliseconds: float
    p95_milliseconds: float


@dataclass(frozen=True)
class Report:
    """The table for one set.

    Attributes:
        name: The set's name.
        passages: Size of the corpus.
        questions: Number of questions.
        passages_per_second: Speed of indexing, everything included.
        rows: The lines.
    """

    name: str
    passages: int
    questions: int
    passages_per_second: float
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Answers:
    """What came back for the questions of a set.

    Attributes:
        found: For each question the documents, best first.
        milliseconds: For each question how long it took.
        processor_milliseconds: For each question how long processors worked on it, whatever else the machine did.
    """

    found: list[list[Document]]
    milliseconds: list[float]
    processor_milliseconds: list[float]

    def judge(self, data: EvaluationSet) -> Judged:
        """Compare the first ten of each with what is relevant in the set that was asked."""
        rankings = [[document.id or "" for document in documents] for documents in self.found]
        return Judged.from_rankings(rankings, data.relevant)


def ask(
    retriever: BaseRetriever, data: EvaluationSet, label: str, *, show_progress: bool = True, **how: Any
) -> Answers:
    """Ask all questions of a set, one by one.

    Args:
        retriever: Over the set's documents.
        data: The set.
        label: What the progress bar says.
        show_progress: Whether to draw one. Default True.
        **how: Arguments of ``invoke``, such as ``k``.
    """
    answers = Answers([], [], [])
    for question in tqdm(data.questions, desc=label, disable=not show_progress, leave=False):
        began, worked = time.perf_counter(), time.process_time()
        answers.found.append(retriever.invoke(question, **how))
        answers.processor_milliseconds.append(1000 * (time.process_time() - worked))
        answers.milliseconds.append(1000 * (time.perf_counter() - began))
    return answers


def evaluate(
    data: EvaluationSet, *, show_progress: bool = True, details: list[Answers] | None = None, **fields: Any
) -> Report:
    """Index a set's corpus and ask its questions in every way.

    Args:
        data: The set.
        show_progress: Whether to draw progress bars. Default True.
        details: A list to which what came back for each line of the table is appended.
        **fields: Fields of the `KlueRetriever`, such as ``fetch_k``, ``embeddings``, ``reranker``. Without a reranker
            only the lines without one are made.

    Returns:
        One line each for lexical, dense and hybrid search, and for each of them reranked.

    Raises:
        ValueError: If the set has no questions.
    """
    if not data.questions:
        raise ValueError(f"The set {data.name!r} has no questions.")
    start = time.perf_counter()
    retriever = KlueRetriever.from_documents(data.documents, **fields)
    report = Report(
        data.name,
        len(data.documents),
        len(data.questions),
        len(data.documents) / (time.perf_counter() - start),
    )
    kinds: list[SearchType] = ["lexical", "dense", "hybrid"]
    for search_type in kinds:
        baseline: Judged | None = None
        for reranked in (False, True) if retriever.reranker is not None else (False,):
            asked = retriever if reranked else retriever.model_copy(update={"reranker": None})
            label = f"{data.name}: {search_type}{' + reranking' if reranked else ''}"
            answers = ask(asked, data, label, show_progress=show_progress, k=10, search_type=search_type)
            if details is not None:
                details.append(answers)
            judged = answers.judge(data)
            report.rows.append(_row(search_type, judged, baseline, answers.milliseconds))
            baseline = judged
    return report


def _row(search_type: SearchType, judged: Judged, baseline: Judged | None, times: list[float]) -> Row:
    values = {name: metric(judged) for name, metric in METRICS.items()}
    first = METRICS["HitRate@1"]
    return Row(
        search_type=search_type,
        reranked=baseline is not None,
        values={name: float(one.mean()) for name, one in values.items()},
        intervals={name: interval(one) for name, one in values.items()},
        p_value=None if baseline is None else paired_p_value(first(judged), first(baseline)),
        milliseconds=statistics.median(times),
        p95_milliseconds=sorted(times)[int(0.95 * (len(times) - 1))],
    )
