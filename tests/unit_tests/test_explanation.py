"""Why a passage was found: sentences and words by their places, scores as the search gave them."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.sentences import sentence_spans
from langchain_klue_rerank.evaluation.sets import SAMPLES
from langchain_klue_rerank.explanation import explain_match
from tests.unit_tests.fakes import HOSTILE, QUESTION, TEXTS, documents

TEXT = "여권은 구청에서 만듭니다. 전입신고는 이사한 날부터 14일 안에 합니다. 주민등록증을 가져오세요."


@pytest.fixture(scope="module")
def retriever() -> KlueRetriever:
    return KlueRetriever.from_documents([*documents(), Document(TEXT, id="long", metadata={"title": "민원 안내"})])


def test_a_megabyte_of_spaces_takes_no_quadratic_time():
    assert sentence_spans(" " * 1_000_000 + "끝입니다.", shared_analyzer()) == [(1_000_000, 1_000_005)]


def test_the_sentence_and_the_words(retriever):
    explanation = retriever.explain(QUESTION, "long")
    assert explanation.sentence == TEXT[explanation.start : explanation.end]
    assert explanation.sentence == "전입신고는 이사한 날부터 14일 안에 합니다."
    assert explanation.matched == ("이사/NNG", "전입/NNG", "신고/NNG")
    assert {TEXT[start:end] for start, end in explanation.words} == {"이사", "전입", "신고"}
    assert "며칠/NNG" in explanation.missing
    assert explain_match("민원", TEXT, title="민원 안내").matched == ("민원/NNG",)


FEES = (
    "주민등록 등본은 창구에서 신청합니다. 발급 수수료는 400원입니다. 창구는 오전 9시부터 오후 6시까지 엽니다. "
    "무인 발급기는 1층 현관 앞에 있습니다. 이것은 밤에도 쓸 수 있습니다."
)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("등본 떼는 데 얼마 들어요?", "발급 수수료는 400원입니다."),
        ("등본 창구 언제 열어요?", "창구는 오전 9시부터 오후 6시까지 엽니다."),
        ("무인 발급기 어디 있나요", "무인 발급기는 1층 현관 앞에 있습니다."),
    ],
)
def test_the_sentence_has_what_the_question_asks_for(question, sentence):
    assert explain_match(question, FEES, title="등본").sentence == sentence


FILTER = (
    "필터가 더러우면 바람이 약해집니다. 필터는 물로 씻어 그늘에서 말리십시오. 두 달에 한 번이면 충분합니다. "
    "3년이 지난 필터는 새것으로 바꿉니다. 젖은 손으로는 만질 수 없습니다. 단추는 5초 동안 누릅니다."
)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("필터는 얼마나 자주 씻어야 하나요?", "두 달에 한 번이면 충분합니다."),
        ("필터는 몇 년 써요?", "3년이 지난 필터는 새것으로 바꿉니다."),
        ("버튼 몇 초 눌러야 돼요?", "단추는 5초 동안 누릅니다."),
        ("물기 있는 손인데 괜찮아요?", "젖은 손으로는 만질 수 없습니다."),
    ],
)
def test_the_sentence_says_how_often_how_many_and_whether(question, sentence):
    assert explain_match(question, FILTER, title="공기청정기 필터").sentence == sentence


LEAVE = (
    "연차는 사규에 따라 신청합니다. 입사 1년이 지나면 15일을 쓸 수 있습니다. 연차를 쓰려면 사흘 전에 알립니다. "
    "수강 신청은 시작 2주 전까지 받습니다. 한 과정은 12주 동안 이어집니다."
)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("연차는 며칠인가요?", "입사 1년이 지나면 15일을 쓸 수 있습니다."),
        ("연차 몇 일 나와요?", "입사 1년이 지나면 15일을 쓸 수 있습니다."),
        ("연차는 며칠 전에 말해야 하나요?", "연차를 쓰려면 사흘 전에 알립니다."),
        ("수강 과정은 몇 주예요?", "한 과정은 12주 동안 이어집니다."),
        ("수강은 몇 주 전까지 신청해요?", "수강 신청은 시작 2주 전까지 받습니다."),
    ],
)
def test_how_long_before_something_answers_only_who_asks_for_it(question, sentence):
    assert explain_match(question, LEAVE, title="직원 안내").sentence == sentence


def test_the_order_of_the_sentences_of_a_long_text_does_not_matter():
    sentences = [f"{number}번 창구는 {number}층에 있습니다." for number in range(1, 150)]
    found = explain_match("77번 창구는 어디예요?", " ".join(sentences))
    assert found.sentence == "77번 창구는 77층에 있습니다."


def test_scores_are_those_of_the_search(retriever):
    for found in retriever.invoke(QUESTION):
        explanation = retriever.explain(QUESTION, found)
        names = ("first_stage_score", "rerank_score", "relevance_score")
        scores = [getattr(explanation, name) for name in names]
        assert scores == [found.metadata[name] for name in names]
        again = retriever.explain(QUESTION, found.id)
        assert [getattr(again, name) for name in names] == pytest.approx(scores, abs=1e-5)


def test_without_a_reranker_only_the_first_stage_has_a_score():
    retriever = KlueRetriever.from_documents(documents(), reranker=None)
    explanation = retriever.explain(QUESTION, retriever.invoke(QUESTION)[0])
    assert explanation.rerank_score is None
    assert explanation.first_stage_score == explanation.relevance_score


def test_a_document_of_elsewhere_has_no_scores(retriever):
    explanation = retriever.explain(QUESTION, Document(TEXT))
    assert explanation.relevance_score is None
    assert "Scores" not in explanation.describe()
    with pytest.raises(KeyError, match="없음"):
        retriever.explain(QUESTION, "없음")


def test_it_is_said_in_both_languages(retriever):
    explanation = retriever.explain(QUESTION, "long")
    english, korean = explanation.describe(), explanation.describe("ko")
    for text in (english, korean):
        assert explanation.sentence in text
        assert f"{explanation.relevance_score:.2f}" in text
    assert english.startswith("Best sentence: ")
    assert korean.startswith("가장 가까운 문장: ")


class Pointing(Embeddings):
    """Finds what has a word."""

    def __init__(self, word: str) -> None:
        self.word = word

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(self.word in text), 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


@pytest.mark.parametrize("word", ["여권", "도장"])
def test_a_second_encoder_has_a_say(word):
    question, text = "구청에서 뭐 만들어요?", "여권은 구청에서 만듭니다. 도장은 구청에서 만듭니다."
    assert word in explain_match(question, text, encoder=Pointing(word)).sentence
    found = KlueRetriever.from_documents([Document(text, id="long")], second_embeddings=Pointing(word))
    assert word in found.explain(question, "long").sentence


def test_highlights_lie_in_order_and_nested(retriever):
    parts = retriever.highlight(QUESTION, "long")
    assert [part.kind for part in parts].count("sentence") == 1
    assert [part.start for part in parts] == sorted(part.start for part in parts)
    [sentence] = [part for part in parts if part.kind == "sentence"]
    inside = [part for part in parts if part.kind == "word" and sentence.start <= part.start < sentence.end]
    assert [TEXT[part.start : part.end] for part in inside] == ["전입", "신고", "이사"]
    assert parts.index(sentence) < parts.index(inside[0])


def test_results_carry_it_on_request(retriever):
    found = retriever.invoke(QUESTION, k=2)
    explained = retriever.explained(QUESTION, found)
    assert "explanation" not in found[0].metadata
    assert explained == found  # it belongs to the question and does not count when documents are compared
    assert json.loads(json.dumps(explained[0].metadata["explanation"]))["sentence"] == TEXTS[0]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_places_are_those_of_the_text_as_it_is(form):
    text = unicodedata.normalize(form, "여권은 구청에서.  전입신고는\t14일 안에 합니다. 끝.")
    explanation = explain_match(QUESTION, text)
    assert unicodedata.normalize("NFC", text[explanation.start : explanation.end]) == "전입신고는\t14일 안에 합니다."


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_the_text_is_it_is_explained(text):
    explanation = explain_match(QUESTION, text)
    assert text[explanation.start : explanation.end] == explanation.sentence
    assert explain_match(text, TEXT).sentence in TEXT
    explanation.describe()


@given(st.text(alphabet=st.sampled_from("가각힣각 ,.!\n\u0301\ud83dA1é"), max_size=60))
def test_sentences_lie_one_after_the_other(text):
    end = 0
    for start, stop in sentence_spans(text, shared_analyzer()):
        assert end <= start < stop <= len(text)
        end = stop


def test_a_quoted_word_begins_the_next_sentence():
    text = "한 달에 5천 원 안팎입니다. '절전'을 켜면 3할을 줄입니다. 물을 끕니다. '필터 갈기'에서 보세요."
    sentences = [text[start:end] for start, end in sentence_spans(text, shared_analyzer())]
    assert sentences == [
        "한 달에 5천 원 안팎입니다.",
        "'절전'을 켜면 3할을 줄입니다.",
        "물을 끕니다.",
        "'필터 갈기'에서 보세요.",
    ]


def test_answers_of_the_samples_stand_in_their_passages():
    rows = [json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = (SAMPLES / "passages.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {row["id"]: row["text"] for row in map(json.loads, lines)}
    answered = [row for row in rows if "answers" in row]
    assert len(answered) >= 100
    for row in answered:
        assert row["answers"]
        for answer in row["answers"]:
            assert texts[row["passage_id"]].count(answer) == 1, row["id"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("이사 안내\n이사한 날부터 14일 안에 신고합니다. 늦으면 과태료가 나옵니다.\n- 필요한 것: 신분증", 4),
        ("필요한 것\n1. 신분증\n2) 도장\n(3) 통장", 4),
        (
            "구청이나 주민센터에 전입신고를 하려는 사람은 이사한 날부터\n14일 안에 갑니다. 늦으면 냅니다.",
            2,
        ),
        ("연차는 해마다 15일입니다.\n\n\n재택근무는 하루 전에 신청합니다.", 2),
    ],
)
def test_a_line_is_a_sentence_unless_it_goes_on_in_the_next(text: str, sentences: int) -> None:
    spans = sentence_spans(text, shared_analyzer())
    assert len(spans) == sentences
    assert all(not text[start:end].endswith(("-", " ", "\n")) for start, end in spans)


def test_a_row_of_a_table_is_a_sentence_of_its_own() -> None:
    rows = [
        "출장비 기준",
        "지역: 서울 | 숙박비(1박): 120,000원 | 일비: 30,000원 | 교통비: 실비",
        "지역: 제주 | 숙박비(1박): 130,000원 | 일비: 30,000원 | 교통비: 항공권 실비",
        "지역: 그 밖의 지역 | 숙박비(1박): 70,000원 | 일비: 25,000원 | 교통비: 실비",
        "성수기인 7월과 8월에는 숙박비의 20퍼센트를 더하고 그 까닭을 신청서에 적습니다.",
    ]
    text = "\n".join(rows)
    assert [text[start:end] for start, end in sentence_spans(text, shared_analyzer())] == rows
    assert explain_match("제주 출장 가면 숙박비는 얼마까지 되나요?", text).sentence == rows[2]
