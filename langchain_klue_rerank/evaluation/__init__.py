"""How well a retriever finds answers: evaluation sets, measures and the table of every way to search."""

from langchain_klue_rerank.evaluation.measure import Answers, Report, Row, ask, evaluate
from langchain_klue_rerank.evaluation.sets import SAMPLES, EvaluationSet, read_pairs, read_passages, read_sets

__all__ = [
    "SAMPLES",
    "Answers",
    "EvaluationSet",
    "Report",
    "Row",
    "ask",
    "evaluate",
    "read_pairs",
    "read_passages",
    "read_sets",
]
