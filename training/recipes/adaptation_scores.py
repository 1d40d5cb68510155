"""What adapting a bi-encoder buys: the same questions asked in every way, before and after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from langchain_klue_rerank import KlueEmbeddings, KlueRetriever
from langchain_klue_rerank.evaluation.metrics import METRICS, Judged
from training.inputs import Question
from training.recipes.retrieval import with_interval

#: For each way to search the hit (1) or miss (0) of each question within the first ten, and its reciprocal rank.
Scores = dict[str, dict[str, NDArray[np.float64]]]
#: For each way to search and each question the ids of the documents found, best first.
Rankings = dict[str, list[list[str]]]

#: The ways to search; lexical search is the same before and after, and the baseline of both.
WAYS = ("lexical", "dense", "hybrid", "hybrid, reranked")
_SHOWN = ("HitRate@1", "HitRate@10", "MRR@10")
#: Questions asked at a time.
_CHUNK = 500


@dataclass(frozen=True)
class QuestionSet:
    """Questions over a corpus.

    Attributes:
        documents: The corpus.
        questions: The questions.
        relevant: For each question the ids of the documents that count as found.
    """

    documents: list[Document]
    questions: list[str]
    relevant: list[frozenset[str]]

    @classmethod
    def of(cls, rows: Sequence[Question], more: Sequence[Question] = ()) -> QuestionSet:
        """Ask the questions of some rows over the passages of these and of more rows; equal passages are one."""
        numbers: dict[str, str] = {}
        answers: dict[str, set[str]] = defaultdict(set)
        for row in [*rows, *more]:
            answers[row.question].add(numbers.setdefault(row.passage, str(len(numbers))))
        return cls(
            [Document(text, id=number) for text, number in numbers.items()],
            [row.question for row in rows],
            [frozenset(answers[row.question]) for row in rows],
        )

    def describe(self) -> str:
        """Return how large it is, in a sentence."""
        return f"{len(self.questions)} questions over {len(self.documents)} passages."


def rankings(documents: list[Document], questions: Sequence[str], embeddings: KlueEmbeddings) -> Rankings:
    """Ask all questions in every way, with the packaged reranker for the last.

    Args:
        documents: The corpus.
        questions: The questions.
        embeddings: What makes the vectors.

    Returns:
        For each of `WAYS` and each question the ids of the best ten documents.
    """
    reranked = KlueRetriever.from_documents(documents, embeddings=embeddings, k=10)
    plain = reranked.model_copy(update={"reranker": None})
    found: Rankings = {}
    for way in WAYS:
        retriever = reranked if way.endswith("reranked") else plain
        found[way] = []
        for start in range(0, len(questions), _CHUNK):
            answers = retriever.batch(list(questions[start : start + _CHUNK]), search_type=way.split(",")[0])
            found[way] += [[document.id or "" for document in documents] for documents in answers]
    return found


def judge(found: Rankings, relevant: Sequence[frozenset[str]]) -> Scores:
    """Return the scores of rankings, given for each question the ids of the documents that count as found."""
    scores: Scores = {}
    for way, ranked in found.items():
        judged = Judged.from_rankings(ranked, relevant)
        scores[way] = {name: METRICS[name](judged) for name in _SHOWN}
    return scores


def measure(test: QuestionSet, embeddings: KlueEmbeddings) -> Scores:
    """Ask all questions in every way and judge the answers; see `rankings`."""
    return judge(rankings(test.documents, test.questions, embeddings), test.relevant)


def table(before: Scores, after: Scores) -> str:
    """Return a Markdown table of both, with 95% bootstrap intervals."""
    lines = [f"| search | | {' | '.join(_SHOWN)} |", "|---" * (2 + len(_SHOWN)) + "|"]
    for way in WAYS:
        for name, scores in (("before", before), ("**after**", after)):
            if way == "lexical" and name != "before":
                continue  # has no vectors
            cells = [with_interval(scores[way][metric]) for metric in _SHOWN]
            lines.append(f"| {way} | {'' if way == 'lexical' else name} | {' | '.join(cells)} |")
    return "\n".join(lines)
