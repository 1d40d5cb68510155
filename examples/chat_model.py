"""The chat model of the examples: any OpenAI-compatible server from the environment, or one that only quotes."""

from __future__ import annotations

import os
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class QuotingChatModel(BaseChatModel):
    """Answers with the first numbered source of the prompt: shows the chain at work where no model is at hand."""

    @property
    def _llm_type(self) -> str:
        return "quoting"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        sources = [line for line in str(messages[-1].content).splitlines() if line.startswith("[1] ")]
        answer = f"(채팅 모델이 없어 그대로 옮깁니다) {sources[0]}" if sources else "문서에 없습니다."
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer))])


def chat_model() -> BaseChatModel:
    """Return the model named by CHAT_MODEL at OPENAI_BASE_URL (needs langchain-openai), or the quoting one."""
    name = os.environ.get("CHAT_MODEL")
    if not name:
        return QuotingChatModel()
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=name)
