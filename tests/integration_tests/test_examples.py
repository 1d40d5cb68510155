"""The examples run, with any chat model, and the answer's source is what was asked for."""

from __future__ import annotations

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from examples import rag_klue_retriever
from examples.chat_model import QuotingChatModel, chat_model

QUESTION = "주차 단속 알림 문자 서비스는 차량 한 대에 번호를 몇 개까지 등록할 수 있나요?"
ANSWER = "번호 두 개까지"


def test_our_retriever_in_a_chain() -> None:
    assert ANSWER in rag_klue_retriever.build_chain(QuotingChatModel()).invoke(QUESTION)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_contextual_compression_over_community_faiss() -> None:
    pytest.importorskip("langchain_community")
    from examples import rag_contextual_compression

    assert ANSWER in rag_contextual_compression.build_chain(QuotingChatModel()).invoke(QUESTION)


def test_any_chat_model_streams_through_the_chain() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("두 개까지입니다 [1]")]))
    assert "".join(rag_klue_retriever.build_chain(model).stream(QUESTION)) == "두 개까지입니다 [1]"


def test_without_a_model_set_the_examples_quote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_MODEL", raising=False)
    assert isinstance(chat_model(), QuotingChatModel)
    assert QuotingChatModel().invoke("질문만 있고 자료는 없음").content == "The documents do not say."
