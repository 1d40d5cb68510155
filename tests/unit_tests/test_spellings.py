"""Words of a query that no passage has are looked up in another spelling: Latin letters, names, initial consonants."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from langchain_klue_rerank import KlueBM25Retriever, KlueRetriever
from langchain_klue_rerank.engine.text.spellings import INITIAL_OF, other_spellings, respelled

TEXTS = {
    "usb": "USB 메모리는 보안 담당자의 승인을 받고 씁니다.",
    "wifi": "손님용 Wi-Fi 비밀번호는 안내대에 있습니다.",
    "chatgpt": "ChatGPT에 고객 정보를 넣지 않습니다.",
    "ktx": "서울역에서 케이티엑스를 타면 두 시간 걸립니다.",
    "cctv": "주차장 CCTV 영상은 30일 동안 보관합니다.",
    "move": "전입신고는 이사한 날부터 14일 안에 합니다.",
    "passport": "여권은 구청에서 만듭니다.",
    "reason": "결석한 이유는 다음 날 적어 냅니다. 개를 유지합니다.",
}
QUESTIONS = {
    "유에스비 써도 되나요?": "usb",
    "와이파이 비번": "wifi",
    "wifi 비밀번호": "wifi",
    "챗지피티로 번역해도 돼요?": "chatgpt",
    "KTX로 얼마나 걸려요": "ktx",
    "씨씨티비는 며칠 보관?": "cctv",
    "시시티브이 영상": "cctv",
    "ㅈㅇㅅㄱ": "move",
    "ㅈㅇㅅㄱ 며칠 안에 해요?": "move",
    "이유": "reason",
}


@pytest.fixture(scope="module")
def retriever() -> KlueRetriever:
    return KlueRetriever.from_documents([Document(text, id=name) for name, text in TEXTS.items()])


@pytest.mark.parametrize("search_type", ["hybrid", "lexical"])
@pytest.mark.parametrize(("question", "expected"), QUESTIONS.items())
def test_the_passage_comes_first(retriever: KlueRetriever, question: str, expected: str, search_type: str) -> None:
    assert retriever.invoke(question, k=1, search_type=search_type)[0].id == expected


def test_batches_saved_indexes_and_bm25_find_the_same(retriever: KlueRetriever, tmp_path: Path) -> None:
    assert [found[0].id for found in retriever.batch(list(QUESTIONS), k=1)] == list(QUESTIONS.values())
    retriever.save(tmp_path / "index")
    loaded = KlueRetriever.load(tmp_path / "index")
    loaded.add_documents([Document("재활용품은 화요일에 내놓습니다.", id="new")])
    assert loaded.invoke("ㅈㅎㅇㅍ", k=1)[0].id == "new"
    assert loaded.invoke("ㅈㅇㅅㄱ", k=1)[0].id == "move"
    words = KlueBM25Retriever.load(tmp_path / "index", k=1)
    assert words.invoke("유에스비")[0].id == "usb"


@pytest.mark.parametrize(
    "query", ["ㅋㅋㅋㅋ 여권", "ㄱㅅ", "이유가 뭐예요", "오이", "ㅁㄴㅇㄹ", "여권 ㅠㅠㅠ", "usb", "전입신고"]
)
def test_what_occurs_or_is_no_word_stays(retriever: KlueRetriever, query: str) -> None:
    assert retriever._index.respelled(query) == query


def test_a_spelling_that_no_passage_has_is_not_taken() -> None:
    assert respelled("유에스비", lambda text: False, lambda initials, most: []) == "유에스비"
    assert respelled("유에스비와 ㅇㅇㅅ", lambda text: True, lambda initials, most: []) == "유에스비와 ㅇㅇㅅ"


@given(st.text(alphabet="에이비씨유스디abgzㅈㅇㅅㄱ -1가", max_size=40))
def test_any_text_is_read_without_an_error(text: str) -> None:
    for word in text.split():
        assert all(word.startswith(part) for part, _ in other_spellings(word))
    respelled(text, lambda part: len(part) % 2 == 0, lambda initials, most: ["전입"])


def test_initial_consonants() -> None:
    assert "전입신고 Abc ㅎ".translate(INITIAL_OF) == "ㅈㅇㅅㄱ Abc ㅎ"
    assert "까힣각".translate(INITIAL_OF) == "ㄲㅎㄱ"
