"""The bot end to end: the package's samples as a file, a chat server that streams, and the page without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.qa_bot.bot import NOT_IN_FILES, QUOTING, UNSURE, Bot
from examples.qa_bot.chat import chat_model, check_connection
from examples.qa_bot.settings import ChatSettings
from examples.qa_bot.shelf import Shelf
from langchain_klue_rerank.evaluation.sets import SAMPLES
from tests.fake_chat_server import answer_from_first_source, fake_chat_server

APP = Path(__file__).parents[2] / "examples" / "qa_bot" / "app.py"
QUESTION = "주차 단속 알림 문자 서비스는 차량 한 대에 번호를 몇 개까지 등록할 수 있나요?"
SENTENCE = "온새시 누리집이나 앱에서 차량 한 대에 번호 두 개까지 등록할 수 있습니다."
RULE = "재택근무는 하루 전 오후 여섯 시까지 신청합니다."


@pytest.fixture(scope="module")
def samples() -> Shelf:
    shelf = Shelf()
    shelf.put("예시.jsonl", (SAMPLES / "passages.jsonl").read_bytes())
    shelf.wait()
    return shelf


def test_the_samples_are_quoted_with_their_source(samples: Shelf) -> None:
    answer = list(Bot(samples).ask(QUESTION))[-1]
    assert answer.text.splitlines()[0] == f"{SENTENCE} [1]"
    source = answer.sources[0]
    assert source.title == "예시 > 주차 단속 알림 문자 서비스"
    assert source.text[source.start : source.end] == SENTENCE
    assert QUOTING in answer.notes


@pytest.mark.parametrize("question", ["공룡은 왜 멸종했나요?", "프랑스 혁명은 왜 일어났나요?"])
def test_what_the_samples_do_not_say_is_not_given_as_an_answer(samples: Shelf, question: str) -> None:
    assert list(Bot(samples).ask(question))[-1].text.startswith((NOT_IN_FILES, UNSURE))


def test_an_openai_compatible_server_streams_the_answer_and_completes_a_follow_up(samples: Shelf) -> None:
    pytest.importorskip("langchain_openai")
    with fake_chat_server(answer_from_first_source) as server:
        bot = Bot(samples, chat_model(ChatSettings("fake", server.base_url)))
        answers = list(bot.ask(QUESTION))
        assert len({answer.text for answer in answers}) > 5
        assert answers[-1].found
        assert answers[-1].sources[0].title == "예시 > 주차 단속 알림 문자 서비스"
        follow_up = list(bot.ask("렌터카도 되나요?", [(QUESTION, answers[-1].text)]))[-1]
        assert follow_up.sources[0].title == "예시 > 주차 단속 알림 문자 서비스"
        assert any(QUESTION in note for note in follow_up.notes)
        assert [request.get("stream", False) for request in server.requests] == [True, False, True]


@pytest.mark.parametrize(("status", "reason"), [(401, "키가 맞지 않습니다"), (404, "찾을 수 없습니다")])
def test_a_server_that_refuses_is_named_and_the_bot_quotes(samples: Shelf, status: int, reason: str) -> None:
    pytest.importorskip("langchain_openai")
    with fake_chat_server(answer_from_first_source, status=status) as server:
        answer = list(Bot(samples, chat_model(ChatSettings("fake", server.base_url, "k"))).ask(QUESTION))[-1]
    assert answer.text.startswith(SENTENCE)
    assert any(reason in note for note in answer.notes)


@pytest.mark.parametrize("of_visitor", [False, True])
def test_what_the_environment_says_of_openai_goes_to_no_visitors_server(
    samples: Shelf, monkeypatch: pytest.MonkeyPatch, of_visitor: bool
) -> None:
    pytest.importorskip("langchain_openai")
    ours = {
        "OPENAI_ORG_ID": "our-org",
        "OPENAI_PROJECT_ID": "our-project",
        "OPENAI_CUSTOM_HEADERS": "X-Token: our-token",
    }
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    with fake_chat_server(answer_from_first_source) as server:
        settings = ChatSettings("fake", server.base_url, "their-key", of_visitor=of_visitor)
        answer = list(Bot(samples, chat_model(settings)).ask(QUESTION))[-1]
        assert answer.found
        assert check_connection(settings) == "연결되었습니다."
    sent = [str(request["headers"]) for request in server.requests]
    assert len(sent) == 2
    assert all("their-key" in headers for headers in sent)
    assert all(("our-" in headers) != of_visitor for headers in sent)


def test_a_connection_that_fails_is_explained() -> None:
    pytest.importorskip("langchain_openai")
    with fake_chat_server(answer_from_first_source, status=401) as server:
        assert "키가 맞지 않습니다" in check_connection(ChatSettings("fake", server.base_url, "k"))
    assert "연결할 수 없습니다" in check_connection(ChatSettings("fake", "http://127.0.0.1:9/v1"))


def test_a_server_that_is_not_there_is_no_end(samples: Shelf) -> None:
    pytest.importorskip("langchain_openai")
    answer = list(Bot(samples, chat_model(ChatSettings("fake", "http://127.0.0.1:9/v1"))).ask(QUESTION))[-1]
    assert answer.text.startswith(SENTENCE)
    assert any("연결할 수 없습니다" in note for note in answer.notes)


def test_the_page_takes_a_file_and_answers_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    testing = pytest.importorskip("streamlit.testing.v1")
    for name in ("CHAT_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    page = testing.AppTest.from_file(str(APP), default_timeout=60).run()
    page.file_uploader[0].set_value([("근무 규칙.txt", RULE.encode(), "text/plain")])
    page.run()
    page.session_state["shelf"].wait()
    page.chat_input[0].set_value("재택근무는 언제까지 신청하나요?").run()
    assert not page.exception
    [(question, answer)] = page.session_state["turns"]
    assert question == "재택근무는 언제까지 신청하나요?"
    assert answer.sources[0].sentence == RULE
    assert [button.label for button in page.button] == ["대화 지우기", "지우기"]
    page.button[0].click().run()
    assert page.session_state["turns"] == []
    page.button[1].click().run()
    assert page.session_state["shelf"].files == []
