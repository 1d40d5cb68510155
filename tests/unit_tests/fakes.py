"""Small stand-ins for other people's classes, and the texts that several test modules share."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever

from langchain_klue_rerank.engine.contracts import ScoreRequest, Scores, State

T = TypeVar("T")
TEXTS = [
    "전입신고는 새집에 이사한 날부터 14일 안에 주민센터나 정부24에서 해야 합니다.",
    "여권은 구청 민원실에서 신청하고, 사진 한 장과 신분증을 가져가야 합니다.",
    "음식물 쓰레기는 전용 봉투에 담아 저녁 8시 이후에 내놓아 주십시오.",
    "도서관 책은 한 번에 다섯 권까지 2주 동안 빌릴 수 있습니다.",
    "세탁기가 탈수할 때 심하게 흔들리면 빨래를 고르게 펴고 수평을 맞추십시오.",
    "비밀번호를 다섯 번 틀리면 계정이 잠기고 30분 뒤에 풀립니다.",
]
QUESTION = "이사하고 며칠 안에 전입신고를 해야 하나요?"

#: Texts that arrive in real data and have broken other libraries.
HOSTILE = {
    "empty": "",
    "blank": " \n\t\u3000",
    "lone_surrogate": "전입신고 \ud83d 기한 \udc00",
    "control_characters": "전입\x00신고\x07 기한\x1b[31m",
    "emoji": "이사 🚚 전입신고 👨‍👩‍👧‍👦 🇰🇷",
    "punctuation": "!!! ??? ---",
    "jamo": "ㅋㅋㅋ ㅠㅠ",
    "japanese": "引っ越しの届け出はいつまでですか",
    "arabic": "متى يجب أن أسجل عنواني الجديد",
    "hanja": "轉入申告 期限",
    "one_word": "가" * 5000,
}


class FakeCrossEncoder:
    """A cross-encoder with a score for each of `TEXTS`; remembers what it read and until when; can be held up.

    Args:
        scores: Those of `TEXTS`.
        readable: How many passages of a query it reads in time.
    """

    def __init__(self, scores: Sequence[float], readable: int = 100) -> None:
        self.scores = dict(zip(TEXTS, scores, strict=True))
        self.readable = readable
        self.read: list[list[str]] = []
        self.deadlines: list[float | None] = []
        self.go = threading.Event()
        self.go.set()

    def score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        assert self.go.wait(20)
        self.deadlines.append(deadline)
        self.read += [list(request.passages) for request in requests]
        result = []
        for request in requests:
            scores = Scores.unread(len(request.passages), State.LATE)
            for place, text in enumerate(request.passages[: self.readable]):
                scores.values[place], scores.states[place] = self.scores[text], State.READ
            result.append(scores)
        return result


def documents(**metadata: Any) -> list[Document]:
    """TEXTS as documents with the ids d0, d1, ..."""
    return [
        Document(text, id=f"d{number}", metadata={"number": number, **metadata}) for number, text in enumerate(TEXTS)
    ]


def same(answers: Sequence[Document], expected: Sequence[Document]) -> None:
    """The same documents in the same order; but for rounding of scores, which depends on what is computed together."""
    wanted = {one.id: one for one in expected}
    assert sorted(one.id or "" for one in answers) == sorted(one.id or "" for one in expected)
    for one, there in zip(answers, expected, strict=True):
        other = wanted[one.id]
        assert one.page_content == other.page_content
        assert one.metadata == pytest.approx(other.metadata, abs=1e-5)
        if one.id != there.id:  # two documents that differ by rounding only may change places
            assert other.metadata["relevance_score"] == pytest.approx(there.metadata["relevance_score"], abs=1e-5)


async def loaded_once(lazy: Any, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Awaitable[T]]) -> list[T]:
    """The answers of five tasks that ask at once, while which a lazy value has to be made once and beside the loop.

    Making it is held up until the event loop has run another task: a blocked loop would never let it go on.
    """
    loads: list[threading.Thread] = []
    proceed = threading.Event()
    make = lazy._make

    def slow() -> Any:
        loads.append(threading.current_thread())
        assert proceed.wait(10), "the event loop was blocked while the model loaded"
        return make()

    async def other_work() -> None:
        while not loads:
            await asyncio.sleep(0.001)
        proceed.set()

    monkeypatch.setattr(lazy, "_make", slow)
    *answers, _ = await asyncio.gather(*(ask() for _ in range(5)), other_work())
    assert len(loads) == 1
    assert loads[0] is not threading.main_thread()
    return answers


class BigramEmbeddings(Embeddings):
    """Deterministic embeddings: hashed character bigrams, so that similar texts have similar vectors."""

    def __init__(self, size: int = 64, model: str = "bigrams") -> None:
        self.size = size
        self.model = model

    def embed_query(self, text: str) -> list[float]:
        vector = np.full(self.size, 1e-3)
        for start in range(len(text) - 1):
            vector[zlib.crc32(text[start : start + 2].encode("utf-8", "replace")) % self.size] += 1
        return (vector / np.linalg.norm(vector)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


class BrokenEmbeddings(BigramEmbeddings):
    """Gives NaN for every text that holds a word."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def embed_query(self, text: str) -> list[float]:
        return [float("nan")] * self.size if self.word in text else super().embed_query(text)


class LengthReranker(BaseDocumentCompressor):
    """A foreign reranker: the shortest document first, with a score of its own."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> Sequence[Document]:
        return [
            one.model_copy(update={"metadata": {**one.metadata, "relevance_score": 1 / (1 + len(one.page_content))}})
            for one in sorted(documents, key=lambda one: (len(one.page_content), one.page_content))
        ]


class ListRetriever(BaseRetriever):
    """A foreign retriever: always the same documents."""

    found: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return self.found


class Recorder(BaseCallbackHandler):
    """Records the runs that it hears of."""

    def __init__(self) -> None:
        self.started: dict[UUID, dict[str, Any]] = {}
        self.ended: dict[UUID, Any] = {}
        self.failed: dict[UUID, BaseException] = {}

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self.started[run_id] = {"name": kwargs.get("name"), "inputs": inputs, "parent": parent_run_id}

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended[run_id] = outputs

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.failed[run_id] = error

    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self.started[run_id] = {"name": kwargs.get("name"), "inputs": query, "parent": parent_run_id}

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended[run_id] = documents

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.failed[run_id] = error

    def run(self, name: str) -> UUID:
        """The only run of that name."""
        [run_id] = [run_id for run_id, run in self.started.items() if run["name"] == name]
        return run_id
