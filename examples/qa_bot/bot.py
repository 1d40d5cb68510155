"""Questions in, answers with sources out. Knows no page: `Bot.ask` yields an answer that grows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel

from examples.qa_bot import chat
from examples.qa_bot.answers import Answer, Source, candidates, cited_numbers, keep_known_citations, quote, source
from examples.qa_bot.settings import CONFIDENCE, LEAST_SCORE, NEAREST, SOURCES, SURE_CONFIDENCE
from examples.qa_bot.shelf import Shelf
from examples.qa_bot.timings import StageTimer
from langchain_klue_rerank import KlueReranker
from langchain_klue_rerank.engine.text.words import clean

logger = logging.getLogger(__name__)

EMPTY_QUESTION = "질문을 적어 주세요."
NO_FILES = "먼저 문서를 올려 주세요. 올린 문서에서 답을 찾습니다."
NOT_IN_FILES = "올린 문서에서 답을 찾지 못했습니다."

QUOTING = "대화 모델이 설정되어 있지 않아 문서의 문장을 그대로 옮겼습니다."
NOTHING_READ_YET = "파일을 아직 읽고 있어 답할 수 없습니다. 다 읽은 뒤에 다시 물어 주세요."
STILL_READING = "아직 읽고 있는 파일이 있습니다. 다 읽은 뒤에 물으면 답이 달라질 수 있습니다."
NEAREST_PASSAGES = "대신 질문에 가장 가까운 단락을 아래에 보여 드립니다. 답이 있는지 직접 확인해 주세요."
UNSURE = "확실하지 않습니다. 가장 가까운 문장을 옮기니 원문을 확인해 주세요."
NO_SOURCES_NAMED = "대화 모델이 근거를 밝히지 않아 그 답 대신 문서의 문장을 보여 드립니다."
MODEL_FAILED = "대화 모델을 쓸 수 없어 문서의 문장을 보여 드립니다."

#: A further passage is quoted if it is nearly as relevant as the best.
_NEARLY = 0.7


class Bot:
    """Answers questions over the files of a shelf.

    Args:
        shelf: The files.
        model: The chat model; None to quote.
        confidence: Lowest confidence of the first passage with which it answers, 0..1.
    """

    def __init__(self, shelf: Shelf, model: BaseChatModel | None = None, confidence: float = CONFIDENCE) -> None:
        self._shelf = shelf
        self._model = model
        self._confidence = confidence

    def ask(self, question: str, turns: Sequence[chat.Turn] = ()) -> Iterator[Answer]:
        """Answer a question.

        Args:
            question: The question.
            turns: Earlier questions and answers; a chat model understands a follow-up with them.

        Yields:
            The answer as it grows; the last one is whole.
        """
        question = clean(question).strip()
        if not question:
            yield Answer(EMPTY_QUESTION)
            return
        if not len(self._shelf.retriever):
            yield Answer(NOTHING_READ_YET if self._shelf.busy else NO_FILES)
            return
        timer = StageTimer()
        notes = [STILL_READING] if self._shelf.busy else []
        query = self._whole_question(question, turns, timer, notes)
        found = self._shelf.retriever.invoke(query, {"callbacks": [timer]})
        answer = Answer(notes=tuple(notes), candidates=candidates(found), milliseconds=timer.milliseconds)
        passages = found[:SOURCES]
        if passages and self._model is not None:  # it reads the passages, and may say that they do not answer
            yield from self._write(answer, query, passages, timer)
        elif not passages or answering(passages[0]) < self._confidence:
            yield self._nearest(answer, query, passages)
        else:
            yield from self._quote(answer, query, passages, QUOTING)

    def _whole_question(self, question: str, turns: Sequence[chat.Turn], timer: StageTimer, notes: list[str]) -> str:
        """Let the chat model, where there is one, complete a follow-up; without, it is searched as it is."""
        if self._model is None or not turns:
            return question
        try:
            query = chat.rewrite(self._model, question, turns, [timer])
        except Exception:  # whatever the server's client raises: the question itself is still there
            logger.exception("rewriting a follow-up failed")
            return question
        if query != question:
            notes.append(f"이렇게 풀어서 찾았습니다: {query}")
        return query

    def _write(self, answer: Answer, query: str, passages: list[Document], timer: StageTimer) -> Iterator[Answer]:
        """Let the chat model answer; what it says without a source is not kept."""
        assert self._model is not None
        text = ""
        try:
            for piece in chat.stream_answer(self._model, query, passages, [timer]):
                text += piece
                yield replace(answer, text=text, markdown=True)
        except Exception as error:  # whatever the server's client raises
            logger.exception("the chat model failed")
            yield from self._without_model(answer, query, passages, f"{MODEL_FAILED} {chat.explain(error)}")
            return
        text = keep_known_citations(text.strip(), len(passages))
        cited = cited_numbers(text)
        if cited:
            sources = tuple(one for one in self._sources(answer, query, passages) if one.number in cited)
            yield replace(answer, text=text, sources=sources, found=True, markdown=True)
        elif chat.NOT_FOUND.rstrip(".") in text:
            yield self._nearest(answer, query, passages)
        else:
            yield from self._without_model(answer, query, passages, NO_SOURCES_NAMED)

    def _without_model(self, answer: Answer, query: str, passages: list[Document], why: str) -> Iterator[Answer]:
        """Decide by the confidence, as where there is no chat model."""
        if answering(passages[0]) < self._confidence:
            yield self._nearest(replace(answer, notes=(*answer.notes, why)), query, passages)
        else:
            yield from self._quote(answer, query, passages, why)

    def _nearest(self, answer: Answer, query: str, passages: list[Document]) -> Answer:
        """Say that nothing was found, and show what came nearest: a person may see what a search does not."""
        nearest = tuple(self._sources(answer, query, passages[:NEAREST]))
        notes = (*answer.notes, NEAREST_PASSAGES) if nearest else answer.notes
        return replace(answer, text=NOT_IN_FILES, sources=nearest, notes=notes)

    def _quote(self, answer: Answer, query: str, passages: list[Document], why: str) -> Iterator[Answer]:
        """Answer with the passages' own sentences; where it is not sure, say so first and quote the first alone."""
        best = passages[0].metadata["relevance_score"]
        unsure = passages[0].metadata["confidence"] < SURE_CONFIDENCE
        lead, notes = f"{UNSURE}\n" if unsure else "", (*answer.notes, why)
        near = [one for one in passages if one.metadata["relevance_score"] >= _NEARLY * best][: 1 if unsure else None]
        sources: list[Source] = []
        for one in self._sources(answer, query, near):
            if all(one.sentence != other.sentence for other in sources):  # neighbouring passages overlap
                sources.append(replace(one, number=len(sources) + 1))
                yield replace(answer, text=lead + quote(sources), sources=tuple(sources), notes=notes, found=True)

    def _sources(self, answer: Answer, query: str, passages: list[Document]) -> Iterator[Source]:
        reranker = self._shelf.retriever.reranker
        assert isinstance(reranker, KlueReranker)
        for number, document in enumerate(passages, 1):
            start = time.perf_counter()
            found = source(number, document, query, reranker)
            spent = 1000 * (time.perf_counter() - start)
            answer.milliseconds["sentences"] = answer.milliseconds.get("sentences", 0.0) + spent
            yield found


def answering(passage: Document) -> float:
    """Return the confidence that the first passage answers; 0 if it is low and next to nothing was found."""
    confidence, score = passage.metadata["confidence"], passage.metadata["first_stage_score"]
    return float(confidence) if confidence >= SURE_CONFIDENCE or score >= LEAST_SCORE else 0.0
