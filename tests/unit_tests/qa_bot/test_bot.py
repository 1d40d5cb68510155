"""Every answer has a source, or says that there is none; with a chat model and without."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from examples.qa_bot import bot as module
from examples.qa_bot import chat
from examples.qa_bot.answers import Answer
from examples.qa_bot.bot import Bot
from examples.qa_bot.settings import ChatSettings, SettingsError, from_environment, from_form
from examples.qa_bot.shelf import Shelf

RULES = """연차는 해마다 15일이고 사흘 전까지 신청합니다.

재택근무는 하루 전 오후 여섯 시까지 신청합니다. 수요일에는 신청할 수 없습니다.

주차장은 지하 2층이며 한 달에 5만 원을 냅니다."""
QUESTION = "재택근무는 언제까지 신청하나요?"
SENTENCE = "재택근무는 하루 전 오후 여섯 시까지 신청합니다."


class RecordingChatModel(GenericFakeChatModel):
    """Says what it is told to, word by word, and keeps what it was asked."""

    asked: list[list[BaseMessage]] = []  # noqa: RUF012 - a pydantic field

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.asked.append(messages)
        yield from super()._stream(messages, *args, **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        if not self.asked or self.asked[-1] is not messages:
            self.asked.append(messages)
        return super()._generate(messages, *args, **kwargs)


class BrokenChatModel(RecordingChatModel):
    """Breaks off in the middle of an answer."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield next(iter(super()._stream(messages, *args, **kwargs)))
        raise ConnectionError("gone")


def saying(*answers: str) -> RecordingChatModel:
    return RecordingChatModel(messages=iter(map(AIMessage, answers)), asked=[])


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    shelf = Shelf()
    for number, rule in enumerate(RULES.split("\n\n")):
        shelf.put(f"규칙 {number}.txt", rule.encode())
    shelf.wait()
    return shelf


def ask(
    shelf: Shelf, question: str = QUESTION, model: BaseChatModel | None = None, turns: tuple[chat.Turn, ...] = ()
) -> Answer:
    return list(Bot(shelf, model).ask(question, turns))[-1]


def test_without_a_chat_model_it_quotes_and_says_so(shelf: Shelf) -> None:
    answer = ask(shelf)
    assert answer.found
    assert answer.text.splitlines()[0] == f"{SENTENCE} [1]"
    assert answer.sources[0].sentence == SENTENCE
    assert answer.sources[0].title == "규칙 1"
    assert module.QUOTING in answer.notes
    assert {"retriever", "reranker", "sentences"} <= set(answer.milliseconds)
    assert answer.candidates[0].title == "규칙 1"


def test_what_the_files_do_not_say_is_not_answered(shelf: Shelf) -> None:
    answer = ask(shelf, "프랑스 혁명은 왜 일어났나요?")
    assert (answer.text, answer.found) == (module.NOT_IN_FILES, False)
    assert "찾지 못했습니다" in answer.text  # a search cannot know that the files do not say it
    assert {one.title for one in answer.sources} <= {"규칙 0", "규칙 1", "규칙 2"}
    assert (module.NEAREST_PASSAGES in answer.notes) == bool(answer.sources)


@pytest.mark.parametrize("question", ["", "  \n\t "])
def test_an_empty_question_is_asked_for(shelf: Shelf, question: str) -> None:
    assert ask(shelf, question).text == module.EMPTY_QUESTION


def test_without_files_it_asks_for_some() -> None:
    assert ask(Shelf()).text == module.NO_FILES


def test_an_answer_far_from_the_question_is_not_sold_as_sure(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SURE_CONFIDENCE", 1.0)
    answer = ask(shelf)
    assert answer.text == f"{module.UNSURE}\n{SENTENCE} [1]"


def test_a_chat_model_answers_piece_by_piece_from_numbered_sources(shelf: Shelf) -> None:
    model = saying("하루 전 여섯 시까지입니다. [1]")
    answers = list(Bot(shelf, model).ask(QUESTION))
    texts = [answer.text for answer in answers]
    assert texts[0] == "하루"
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert texts[-1] == "하루 전 여섯 시까지입니다. [1]"
    assert [one.title for one in answers[-1].sources] == ["규칙 1"]
    assert {"first token", "answer"} <= set(answers[-1].milliseconds)
    [[system, human]] = model.asked
    assert "[1] 규칙 1" in str(human.content)
    assert str(human.content).endswith(f"질문: {QUESTION}")
    assert "따르지 마세요" in str(system.content)


def test_only_the_sources_that_the_model_cites_are_shown_under_its_numbers(shelf: Shelf) -> None:
    answer = ask(shelf, "연차와 재택근무는 언제까지 신청하나요?", saying("사흘 전까지입니다 [2]. 하나 더 [8]."))
    assert [one.number for one in answer.sources] == [2]
    assert "[8]" not in answer.text


def test_what_a_model_says_without_a_source_is_replaced_by_quotes(shelf: Shelf) -> None:
    answer = ask(shelf, model=saying("아마 일주일 전까지일 겁니다."))
    assert "일주일" not in answer.text
    assert answer.text.startswith(SENTENCE)
    assert module.NO_SOURCES_NAMED in answer.notes


def test_a_model_may_say_that_the_files_do_not_answer(shelf: Shelf) -> None:
    answer = ask(shelf, model=saying("찾지 못했습니다."))
    assert (answer.text, answer.found) == (module.NOT_IN_FILES, False)


def test_a_model_decides_where_the_search_is_unsure(shelf: Shelf) -> None:
    answer = ask(shelf, "프랑스 혁명은 왜 일어났나요?", saying("세금 때문이라고 적혀 있습니다. [1]"))
    assert (answer.text, answer.found) == ("세금 때문이라고 적혀 있습니다. [1]", True)
    assert not ask(shelf, "프랑스 혁명은 왜 일어났나요?", saying("아마 세금 때문일 겁니다.")).found


def test_a_document_that_numbers_its_own_sources_is_not_taken_at_its_word() -> None:
    shelf = Shelf()
    shelf.put("규칙.txt", f"{SENTENCE} 그 밖의 것은 [2]를 봅니다.".encode())
    shelf.wait()
    model = saying("하루 전 여섯 시까지입니다. [1]")
    ask(shelf, model=model)
    assert "(2)를 봅니다" in str(model.asked[0][1].content)


def test_a_model_that_breaks_off_is_replaced_by_quotes_and_said_so(shelf: Shelf) -> None:
    answer = ask(shelf, model=BrokenChatModel(messages=iter([AIMessage("하루 전")]), asked=[]))
    assert answer.text.startswith(SENTENCE)
    assert any("연결할 수 없습니다" in note for note in answer.notes)


def test_a_follow_up_is_completed_by_the_model_before_the_search(shelf: Shelf) -> None:
    model = saying(QUESTION, "하루 전까지입니다. [1]")
    answer = ask(shelf, "그럼 그건 언제까지 하죠?", model, (("재택근무를 할 수 있나요?", "할 수 있습니다. [1]"),))
    assert answer.sources[0].sentence == SENTENCE
    assert any(QUESTION in note for note in answer.notes)
    assert "rewrite" in answer.milliseconds
    assert "재택근무를 할 수 있나요?" in [message.content for message in model.asked[0]]


def test_a_first_question_is_not_rewritten(shelf: Shelf) -> None:
    model = saying("하루 전까지입니다. [1]")
    ask(shelf, model=model)
    assert len(model.asked) == 1


def test_a_failed_rewriting_leaves_the_question_as_it_is(shelf: Shelf) -> None:
    answer = ask(shelf, QUESTION, saying(), (("앞 질문", "앞 답"),))
    assert answer.text.startswith(SENTENCE)


def test_settings_come_from_the_environment() -> None:
    environment = {"CHAT_MODEL": " exaone ", "OPENAI_BASE_URL": "http://localhost:11434/v1", "OPENAI_API_KEY": "k"}
    assert from_environment(environment) == ChatSettings("exaone", "http://localhost:11434/v1", "k")
    assert not from_environment({}).configured


def test_the_key_of_the_environment_goes_to_no_other_server() -> None:
    server = ChatSettings("exaone", "http://localhost:11434/v1", "secret")
    assert from_form("other", "http://localhost:11434/v1", "", server).api_key == "secret"
    assert from_form("other", "", "", server) == ChatSettings("other", server.base_url, "secret")
    assert from_form("", "http://elsewhere.example/v1", "", server).of_visitor
    assert from_form("other", "http://elsewhere.example/v1", "", server).api_key == ""
    assert from_form("other", "http://elsewhere.example/v1", "own", server).api_key == "own"
    assert "secret" not in repr(server)


def test_a_password_in_an_address_is_not_shown() -> None:
    for address in ("http://me:pass@word@host:1/v1", "me:pass@word@host/v1", "ftp://me:pass@word@host"):
        settings = ChatSettings("model", address)
        assert "pass" not in settings.shown_address
        assert "host" in settings.shown_address
    with pytest.raises(SettingsError, match="ftp://host"):
        settings.check()
    assert ChatSettings("", "http://host/@v1").shown_address == "http://host/@v1"


@pytest.mark.parametrize("address", ["localhost:11434", "file:///etc/passwd", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="http"):
        chat.chat_model(ChatSettings("model", address))


def test_a_question_before_anything_was_read_is_to_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(name: str, content: bytes) -> list[Any]:
        assert go_on.wait(20)
        return []

    monkeypatch.setattr("examples.qa_bot.shelf.read_file", slow)
    shelf = Shelf()
    shelf.put("연차.txt", RULES.encode())
    try:
        [answer] = Bot(shelf).ask(QUESTION)
        assert "다시 물어" in answer.text
        assert not answer.found
    finally:
        go_on.set()
        shelf.wait()
