"""A cheap reranker first, a dear one for the few passages that may answer: order, scores, marks, what is read."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import BaseDocumentCompressor, Document

from langchain_klue_rerank import KlueReranker, KlueRetriever
from langchain_klue_rerank.engine.models.lazy import Lazy
from tests.unit_tests.compressor_suite import CompressorTests
from tests.unit_tests.fakes import QUESTION, TEXTS, documents, same


class TestCascade(CompressorTests):
    @pytest.fixture(autouse=True)
    def _folder(self, klue_cross_encoder_folder: Path) -> None:
        self.folder = klue_cross_encoder_folder

    def construct(self, **options: Any) -> BaseDocumentCompressor:
        return KlueReranker(model=str(self.folder), device="cpu", first=KlueReranker(), **options)


class Encoder:
    """A cross-encoder with a score for each text; remembers what it read, and can be slow."""

    def __init__(self, scores: dict[str, float], readable: int = 100) -> None:
        self.scores = scores
        self.readable = readable
        self.read: list[list[str]] = []

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[str]], *_: Any, **__: Any) -> list[np.ndarray]:
        self.read += [list(own) for own in passages]
        return [
            np.asarray(
                [self.scores[text] if place < self.readable else math.nan for place, text in enumerate(own)], np.float32
            )
            for own in passages
        ]


CHEAP = [0.1, 0.8, 0.2, 0.7, 0.9, 0.0]
DEAR = [0.9, 0.5, 0.9, 0.9, 0.1, 0.9]


def cascade(readable: int = 100, **options: Any) -> tuple[KlueReranker, Encoder]:
    dear = Encoder(dict(zip(TEXTS, DEAR, strict=True)), readable)
    first = KlueReranker()
    first._encoder = Lazy(lambda: Encoder(dict(zip(TEXTS, CHEAP, strict=True))))
    made = KlueReranker(**{"model": "team/dear", "first": first, "read_n": 3, "top_n": None, **options})
    made._encoder = Lazy(lambda: dear)
    made._vectors_of = Lazy(lambda: "")
    return made, dear


def test_only_the_most_promising_are_read_and_both_scores_count() -> None:
    reranker, dear = cascade()
    result = reranker.compress_documents(documents(), QUESTION)
    assert dear.read == [[TEXTS[4], TEXTS[1], TEXTS[3]]]
    assert [one.id for one in result] == ["d3", "d1", "d4", "d2", "d0", "d5"]
    assert [one.metadata["relevance_score"] for one in result] == pytest.approx([0.8, 0.65, 0.5, 0.1, 0.05, 0.0])
    assert [one.metadata["reranked"] for one in result] == [True] * 3 + [False] * 3


def test_what_is_read_never_falls_behind_what_is_not() -> None:
    generator = np.random.default_rng(5)
    for _ in range(50):
        cheap, dear = generator.random(6), generator.random(6) ** 9
        reranker, _ = cascade()
        reranker.first._encoder = Lazy(lambda cheap=cheap: Encoder(dict(zip(TEXTS, cheap, strict=True))))
        reranker._encoder = Lazy(lambda dear=dear: Encoder(dict(zip(TEXTS, dear, strict=True))))
        marks = [one.metadata["reranked"] for one in reranker.compress_documents(documents(), QUESTION)]
        assert marks == [True] * 3 + [False] * 3


def test_a_threshold_sees_what_the_first_one_says() -> None:
    reranker, _ = cascade(score_threshold=0.1)
    assert [one.id for one in reranker.compress_documents(documents(), QUESTION)] == ["d3", "d1", "d4", "d2"]


def test_without_a_first_one_the_first_stages_best_are_read() -> None:
    reranker, dear = cascade(first=None)
    result = reranker.compress_documents(documents(), QUESTION)
    assert dear.read == [TEXTS[:3]]
    assert [one.id for one in result] == ["d0", "d2", "d1", "d3", "d4", "d5"]
    assert [one.metadata["relevance_score"] for one in result] == pytest.approx([0.9, 0.9, 0.5, 0, 0, 0])


def test_too_late_for_the_model_the_first_ones_order_stays() -> None:
    reranker, _ = cascade(readable=1, max_latency_ms=60_000, score_threshold=0.2)
    result = reranker.compress_documents(documents(), QUESTION)
    assert [one.id for one in result] == ["d4", "d1", "d3"]  # d1 and d3 were to be read: no threshold drops them
    assert [one.metadata["reranked"] for one in result] == [True, False, False]
    assert [one.metadata["relevance_score"] for one in result] == pytest.approx([0.5, 0.4, 0.35])


def test_too_late_for_both_the_order_stays() -> None:
    reranker = KlueReranker(model="team/dear", first=KlueReranker(), top_n=None, max_latency_ms=1)
    reranker._encoder = Lazy(lambda: Encoder({}, readable=0))
    [verdicts] = reranker.judge([QUESTION], [TEXTS], deadline=time.monotonic() - 1)
    assert all(one.late and not one.read and one.score == 0 for one in verdicts)


def test_an_early_stop_reads_in_the_first_ones_order() -> None:
    reranker, dear = cascade(read_n=None, early_stop=0.05)
    result = reranker.compress_documents(documents(), QUESTION)
    assert dear.read == [[TEXTS[4], TEXTS[1], TEXTS[3], TEXTS[2], TEXTS[0]]]
    assert [one.metadata["reranked"] for one in result] == [True] * 5 + [False]


def test_nothing_is_cheaper_than_the_packaged_model() -> None:
    with pytest.raises(ValueError, match="first"):
        KlueReranker(first=KlueReranker())
    with pytest.raises(ValueError, match="read_n"):
        KlueReranker(read_n=0)


def test_copies_and_pickles_are_the_same_cascade(klue_cross_encoder_folder: Path) -> None:
    reranker = KlueReranker(model=str(klue_cross_encoder_folder), device="cpu", first=KlueReranker(), read_n=2)
    expected = reranker.rerank(TEXTS, QUESTION)
    assert [line["reranked"] for line in expected] == [True, True, False]
    for other in (copy.deepcopy(reranker), pickle.loads(pickle.dumps(reranker))):  # noqa: S301
        assert [line["index"] for line in other.rerank(TEXTS, QUESTION)] == [line["index"] for line in expected]


# In a retriever


async def test_a_retriever_reads_the_best_of_both_stages_however_it_is_asked(klue_cross_encoder_folder: Path) -> None:
    reranker = KlueReranker(model=str(klue_cross_encoder_folder), device="cpu", first=KlueReranker(), read_n=2)
    retriever = KlueRetriever.from_documents(documents(), k=6, reranker=reranker)
    assert reranker.reads_tokens
    queries = [QUESTION, "여권 사진", "책 대출", ""]
    expected = [retriever.invoke(query) for query in queries]
    for answer in expected[:3]:
        assert [one.metadata["reranked"] for one in answer] == [number < 2 for number in range(len(answer))]
    packaged = retriever.model_copy(update={"reranker": KlueReranker()})
    for answer, query in zip(expected, queries, strict=True):
        best = [one.id for one in packaged.invoke(query)[:2]]
        assert sorted(one.id for one in answer[:2]) == sorted(best)
    for answers in (
        retriever.batch(queries),
        await retriever.abatch(queries),
        await asyncio.gather(*(retriever.ainvoke(query) for query in queries)),
    ):
        for answer, one in zip(answers, expected, strict=True):
            same(answer, one)


def test_an_index_keeps_the_first_ones_token_vectors(
    klue_cross_encoder_folder: Path, late_interaction_folder: Path, tmp_path: Path
) -> None:
    first = KlueReranker(model=str(late_interaction_folder), device="cpu")
    reranker = KlueReranker(model=str(klue_cross_encoder_folder), device="cpu", first=first, read_n=2)
    retriever = KlueRetriever.from_documents(documents(), k=6, reranker=reranker)
    assert retriever.token_vector_bytes > 0
    retriever.add_documents([Document("도서관은 월요일에 쉽니다.", id="new")])
    answer = retriever.invoke(QUESTION)
    assert [one.metadata["reranked"] for one in answer[:3]] == [True, True, False]
    retriever.save(tmp_path / "index")
    same(KlueRetriever.load(tmp_path / "index", k=6, reranker=reranker).invoke(QUESTION), answer)
