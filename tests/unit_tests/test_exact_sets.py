"""The sets on which exact words decide: every question has one passage, and that one has what is asked for."""

from __future__ import annotations

import re

import pytest

from benchmarks.exact_sets import EXACT_SETS, regulation
from benchmarks.exact_words import measure
from langchain_klue_rerank.evaluation.metrics import METRICS


@pytest.mark.parametrize("name", list(EXACT_SETS))
def test_every_question_has_one_passage_of_the_set(name: str) -> None:
    data = EXACT_SETS[name]()
    known = {document.id for document in data.documents}
    texts = [document.page_content for document in data.documents]
    assert len(data.questions) >= 60
    assert len(known) == len(set(texts)) == len(texts), "passages are distinct"
    assert all(len(one) == 1 and one <= known for one in data.relevant)
    assert len(data.questions) == len(data.relevant)


@pytest.mark.parametrize("references", [False, True])
def test_an_article_has_the_paragraph_that_is_asked_for(references: bool) -> None:
    data = regulation(references)
    by_id = {document.id: document.page_content for document in data.documents}
    for question, relevant in zip(data.questions, data.relevant, strict=True):
        article, paragraph = map(int, re.findall(r"\d+", question))
        [text] = [by_id[one] for one in relevant]
        assert text.startswith(f"제{article}조(")
        assert "①②③④⑤⑥⑦⑧⑨"[paragraph - 1] in text


def test_the_same_seed_makes_the_same_set() -> None:
    assert EXACT_SETS["codes"]().documents == EXACT_SETS["codes"]().documents


@pytest.mark.parametrize(
    ("name", "least"), [("articles", 0.95), ("cross-references", 0.8), ("siblings", 0.95), ("korean", 0.95)]
)
def test_what_the_words_say_exactly_survives_fusion_and_reranking(name: str, least: float) -> None:
    first = {way: METRICS["HitRate@1"](found).mean() for way, found in measure(EXACT_SETS[name]()).items()}
    assert first["reranked"] >= max(least, first["lexical"])
