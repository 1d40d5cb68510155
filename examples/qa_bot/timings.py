"""Milliseconds of each stage, read from LangChain's callbacks: what any trace would show."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler


class StageTimer(BaseCallbackHandler):
    """Remembers how long the runs took that report to it.

    Attributes:
        milliseconds: By stage, in the order in which they ended: ``retriever`` (search and reranking), ``reranker``,
            ``rewrite``, ``first token`` and ``answer``.
    """

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._started: dict[UUID, tuple[str, float]] = {}

    def on_retriever_start(self, serialized: Any, query: str, *, run_id: UUID, **kwargs: Any) -> None:
        """A search begins."""
        self._start("retriever", run_id)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A search ends."""
        self._end(run_id)

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A child run begins; the reranker's is one."""
        if kwargs.get("name") == "KlueReranker":
            self._start("reranker", run_id)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A child run ends."""
        self._end(run_id)

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The chat model is asked."""
        self._start(kwargs.get("name") or "answer", run_id)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The chat model says something."""
        name, start = self._started.get(run_id, ("", 0.0))
        if name == "answer" and token and "first token" not in self.milliseconds:
            self.milliseconds["first token"] = 1000 * (time.perf_counter() - start)

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The chat model has finished."""
        self._end(run_id)

    def _start(self, name: str, run_id: UUID) -> None:
        self._started[run_id] = (name, time.perf_counter())

    def _end(self, run_id: UUID) -> None:
        if run_id in self._started:
            name, start = self._started.pop(run_id)
            self.milliseconds[name] = 1000 * (time.perf_counter() - start)
