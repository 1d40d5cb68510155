"""Text as PDF files have it is found, and what is right stays as it is."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from langchain_klue_rerank import KlueBM25Retriever, KlueRetriever
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import mend, tokenize
from langchain_klue_rerank.engine.text.words import split_words


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("전입신\n고를", "전입신고를"),
        ("이사한 날부터 14일 안에 전입신\n고를 해야 합니다.", "이사한 날부터 14일 안에 전입신고를 해야 합니다."),
        ("보험을 해\n지하면 환급\n금이 나옵니다.", "보험을 해지하면 환급금이 나옵니다."),
        ("해\n지\n환\n급\n금", "해지환급금"),
        ("전 입 신 고 안 내", "전입신고안내"),
        ("주 민 등 록 등 본", "주민등록등본"),
        ("개 인 정 보  처 리 방 침", "개인정보처리방침"),
        # what is right stays
        ("전입신고는 구청에서\n여권은 시청에서", None),
        ("이 두 개 다 내 것", None),
        ("월\n화\n수\n목\n금", None),
        ("나 는 그 를 본 적 이 없 다", None),
        ("첫째 줄.\n둘째 줄.", None),
        ("전입신고\n\n여권", None),
        ("전입신\n고를 해야 합니다.", "전입신고를 해야 합니다."),
        ("장기근속 안식휴가\n만 오 년을 계속 근무한 직원은 안식휴가를 열흘 쓸 수 있습니다.", None),  # a title
        ("물 한 잔", None),
        ("", None),
    ],
)
def test_what_a_page_has_parted(text: str, mended: str | None) -> None:
    assert mend(text, shared_analyzer()) == (text if mended is None else mended)


def test_ligatures() -> None:
    assert split_words("o\ufb03ce \ufb01le \ufb02ow e\ufb00ect wa\ufb04e \ufb05op \ufb06ate") == [
        "office",
        "file",
        "flow",
        "effect",
        "waffle",
        "stop",
        "state",
    ]


@pytest.mark.parametrize("text", ["가\n", "가 ", "전입신\n고를 ", "한 글 자 씩 ", "가나다라마\n"])
@pytest.mark.slow
def test_long_texts_take_linear_time(text: str) -> None:
    assert len(tokenize([text * (20_000 // len(text))], shared_analyzer()).word_ids)


PARTED = [
    ("이사한 날부터 14일 안에 전입신\n고를 해야 합니다.", "전입신고 기한"),
    ("해\n지\n환\n급\n금 은 해지한 다음 날 나옵니다.", "해지환급금은 언제 나오나요?"),
    ("전 입 신 고 안 내", "전입신고 안내"),
]
OTHERS = ["신고 전에 입금 확인", "여권은 구청에서 만듭니다.", "환불 금액은 급히 지급"]


@pytest.mark.parametrize(("text", "question"), PARTED)
@pytest.mark.parametrize("title", [None, "안내문", "전 입 신 고 안 내"])
def test_parted_words_are_found(text: str, question: str, title: str | None) -> None:
    given = [Document(text, id="parted", metadata={"title": title} if title else {}), *map(Document, OTHERS)]
    for retriever in (
        KlueBM25Retriever.from_documents(given, k=1),
        KlueRetriever.from_documents(given, k=1, window_words=3),
    ):
        [found] = retriever.invoke(question)
        assert found.id == "parted"
        assert found.page_content == text


@pytest.mark.parametrize(("question", "text"), [("전 입 신 고", "전입신고 기한"), ("전입신\n고", "전입신고 기한")])
def test_parted_questions_find(question: str, text: str) -> None:
    retriever = KlueBM25Retriever.from_documents([Document(text, id="whole"), *map(Document, OTHERS)], k=1)
    assert retriever.invoke(question)[0].id == "whole"
