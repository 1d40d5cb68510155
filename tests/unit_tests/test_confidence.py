"""What results say of their confidence, and when they say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.documents import Document

from langchain_klue_rerank import KlueReranker, KlueRetriever

TEXTS = [
    "도서관은 매월 둘째 월요일에 쉽니다.",
    "주차권은 관리사무소에서 한 장에 천 원에 팝니다.",
    "세탁실은 밤 열한 시까지 쓸 수 있습니다.",
    "택배는 정문 경비실에서 찾아갑니다.",
    "자전거는 뒷마당 거치대에 세웁니다.",
]
ASKED = "주차권은 어디에서 팔아요?"
NOWHERE = "공룡은 왜 멸종했나요?"


@pytest.fixture(scope="module")
def retriever() -> KlueRetriever:
    return KlueRetriever.from_texts(TEXTS)


def test_the_first_result_says_how_likely_it_answers(retriever: KlueRetriever) -> None:
    first, *others = retriever.invoke(ASKED)
    assert first.page_content == TEXTS[1]
    assert type(first.metadata["confidence"]) is float
    assert first.metadata["confidence"] >= retriever.confidence_threshold
    assert all("confidence" not in one.metadata for one in others)


def test_a_question_about_something_else_stays_below_the_threshold(retriever: KlueRetriever) -> None:
    confidence = retriever.confidence(NOWHERE)
    assert confidence is not None
    assert confidence < retriever.confidence_threshold


async def test_all_ways_to_ask_say_the_same(retriever: KlueRetriever, tmp_path: Path) -> None:
    [first, *_] = retriever.invoke(ASKED)
    expected = pytest.approx(first.metadata["confidence"], abs=1e-6)
    assert retriever.confidence(ASKED) == expected
    assert retriever.invoke(ASKED, k=1)[0].metadata["confidence"] == expected
    assert retriever.batch([NOWHERE, ASKED])[1][0].metadata["confidence"] == expected
    assert (await retriever.ainvoke(ASKED))[0].metadata["confidence"] == expected
    retriever.save(tmp_path / "index")
    assert KlueRetriever.load(tmp_path / "index").confidence(ASKED) == expected


def test_it_is_said_only_of_what_it_was_fitted_on(retriever: KlueRetriever) -> None:
    assert "confidence" not in retriever.invoke(ASKED, search_type="lexical")[0].metadata
    assert "confidence" not in retriever.invoke(ASKED, search_type="dense")[0].metadata
    assert "confidence" not in retriever.invoke(ASKED, k=3, fetch_k=5)[0].metadata
    first_stage = KlueRetriever.from_texts(TEXTS, reranker=None)
    assert "confidence" not in first_stage.invoke(ASKED)[0].metadata
    assert first_stage.confidence(ASKED) is None
    some = KlueRetriever.from_texts(TEXTS, reranker=KlueReranker(read_n=2))
    assert "confidence" not in some.invoke(ASKED)[0].metadata


def test_nothing_found_is_no_confidence() -> None:
    assert KlueRetriever().confidence(ASKED) == 0


def test_an_earlier_confidence_does_not_stay(retriever: KlueRetriever) -> None:
    again = KlueRetriever.from_documents(retriever.invoke(ASKED))
    found = again.invoke("택배는 어디서 찾나요?")
    assert ["confidence" in one.metadata for one in found] == [True, *[False] * (len(found) - 1)]


def test_a_copy_of_the_answer_makes_no_doubt(retriever: KlueRetriever) -> None:
    twice = KlueRetriever.from_documents([Document(text) for text in [*TEXTS, TEXTS[1]]])
    confidence = twice.confidence(ASKED)
    assert confidence is not None
    assert confidence >= twice.confidence_threshold
