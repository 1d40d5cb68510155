"""A cheap reranker first, a dear one for the few passages that may answer: order, scores, marks, what is read."""

from __future__ import annotations

import asyncio
import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import BaseDocumentCompressor, Document

from langchain_klue_rerank import KlueCascade, KlueReranker, KlueRetriever
from langchain_klue_rerank.engine.threads import Lazy
from tests.unit_tests.compressor_suite import CompressorTests
from tests.unit_tests.fakes import QUESTION, TEXTS, FakeCrossEncoder, documents, same


class TestCascade(CompressorTests):
    run_name = "KlueCascade"

    def loader(self, reranker: BaseDocumentCompressor) -> Any:
        return reranker.stages[-1]._encoder  # type: ignore[attr-defined]

    @pytest.fixture(autouse=True)
    def _folder(self, klue_cross_encoder_folder: Path) -> None:
        self.folder = klue_cross_encoder_folder

    def construct(self, **options: Any) -> BaseDocumentCompressor:
        return KlueCascade(
            stages=[KlueReranker(), KlueReranker(model=str(self.folder), model_kwargs={"device": "cpu"})], **options
        )


def stage(encoder: FakeCrossEncoder, **options: Any) -> KlueReranker:
    made = KlueReranker(model="team/model", **options)
    made._encoder = Lazy(lambda: encoder)
    made._vectors_of = Lazy(lambda: "")
    return made


CHEAP = [0.1, 0.8, 0.2, 0.7, 0.9, 0.0]
DEAR = [0.9, 0.5, 0.9, 0.9, 0.1, 0.9]


def cascade(
    readable: int = 100, read_n: int | None = 3, early_stop: float | None = None, **options: Any
) -> tuple[KlueCascade, FakeCrossEncoder]:
    expensive = FakeCrossEncoder(DEAR, readable)
    stages = [stage(FakeCrossEncoder(CHEAP)), stage(expensive, read_n=read_n, early_stop=early_stop)]
    return KlueCascade(**{"stages": stages, "top_n": None, **options}), expensive


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
        reranker = KlueCascade(
            stages=[stage(FakeCrossEncoder(cheap)), stage(FakeCrossEncoder(dear), read_n=3)], top_n=None
        )
        marks = [one.metadata["reranked"] for one in reranker.compress_documents(documents(), QUESTION)]
        assert marks == [True] * 3 + [False] * 3


def test_a_threshold_sees_what_the_first_one_says() -> None:
    reranker, _ = cascade(score_threshold=0.1)
    assert [one.id for one in reranker.compress_documents(documents(), QUESTION)] == ["d3", "d1", "d4", "d2"]


def test_alone_a_reranker_reads_the_first_stages_best() -> None:
    dear = FakeCrossEncoder(DEAR)
    reranker = stage(dear, read_n=3, top_n=None)
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
    stages = [stage(FakeCrossEncoder(CHEAP, readable=0)), stage(FakeCrossEncoder(DEAR, readable=0))]
    reranker = KlueCascade(stages=stages, top_n=None, max_latency_ms=60_000)
    result = reranker.compress_documents(documents(), QUESTION)
    assert [one.id for one in result] == [one.id for one in documents()]
    assert all(one.metadata["reranked"] is False and one.metadata["relevance_score"] == 0 for one in result)


def test_three_stages_read_fewer_and_fewer() -> None:
    middle, last = FakeCrossEncoder(DEAR), FakeCrossEncoder(CHEAP)
    stages = [stage(FakeCrossEncoder(CHEAP)), stage(middle, read_n=4), stage(last, read_n=2)]
    result = KlueCascade(stages=stages, top_n=None).compress_documents(documents(), QUESTION)
    assert middle.read == [[TEXTS[4], TEXTS[1], TEXTS[3], TEXTS[2]]]
    assert last.read == [[TEXTS[3], TEXTS[1]]]
    assert [one.metadata["reranked"] for one in result] == [True, True, False, False, False, False]


def test_an_early_stop_reads_in_the_first_ones_order() -> None:
    reranker, dear = cascade(read_n=None, early_stop=0.05)
    result = reranker.compress_documents(documents(), QUESTION)
    assert dear.read == [[TEXTS[4], TEXTS[1], TEXTS[3], TEXTS[2], TEXTS[0]]]
    assert [one.metadata["reranked"] for one in result] == [True] * 5 + [False]


def test_a_cascade_has_two_stages_at_least_and_no_strange_options() -> None:
    for wrong in ([], [KlueReranker()]):
        with pytest.raises(ValueError, match="stages"):
            KlueCascade(stages=wrong)
    with pytest.raises(ValueError, match="read_n"):
        KlueReranker(read_n=0)
    with pytest.raises(ValueError, match="first"):
        KlueCascade(stages=[KlueReranker(), KlueReranker()], first=KlueReranker())


def test_copies_and_pickles_are_the_same_cascade(klue_cross_encoder_folder: Path) -> None:
    reranker = two_stages(klue_cross_encoder_folder)
    expected = reranker.rerank(TEXTS, QUESTION)
    assert [line["reranked"] for line in expected] == [True, True, False]
    for other in (copy.deepcopy(reranker), pickle.loads(pickle.dumps(reranker))):  # noqa: S301
        assert [line["index"] for line in other.rerank(TEXTS, QUESTION)] == [line["index"] for line in expected]


def two_stages(folder: Path, first: KlueReranker | None = None) -> KlueCascade:
    return KlueCascade(
        stages=[first or KlueReranker(), KlueReranker(model=str(folder), model_kwargs={"device": "cpu"}, read_n=2)]
    )


# In a retriever


async def test_a_retriever_reads_the_best_of_both_stages_however_it_is_asked(klue_cross_encoder_folder: Path) -> None:
    reranker = two_stages(klue_cross_encoder_folder)
    retriever = KlueRetriever.from_documents(documents(), k=6, reranker=reranker)
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
    first = KlueReranker(model=str(late_interaction_folder), model_kwargs={"device": "cpu"})
    reranker = two_stages(klue_cross_encoder_folder, first)
    retriever = KlueRetriever.from_documents(documents(), k=6, reranker=reranker)
    assert retriever.token_vector_bytes > 0
    retriever.add_documents([Document("도서관은 월요일에 쉽니다.", id="new")])
    answer = retriever.invoke(QUESTION)
    assert [one.metadata["reranked"] for one in answer[:3]] == [True, True, False]
    retriever.save(tmp_path / "index")
    same(KlueRetriever.load(tmp_path / "index", k=6, reranker=reranker).invoke(QUESTION), answer)
