"""Reading the part of a long passage that matters, instead of its beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from langchain_klue_rerank.engine.models.transformer.windows import cut
from langchain_klue_rerank.engine.text.words import bigrams, split_words
from training.inputs import Question


class WindowReader:
    """Picks the window of a passage that shares most with the question.

    A passage that is cut at the model's longest input teaches nonsense where the answer stands behind the cut.

    Args:
        tokenizer: The model's fast tokenizer.
        max_length: Longest input of the model in tokens, question and special tokens included.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._room = max_length - tokenizer.num_special_tokens_to_add(pair=True)
        self._spans = lru_cache(maxsize=10_000)(self._find_spans)

    def best(self, question: str, passage: str, answer: str = "") -> str:
        """Return the window of a passage with most of the question's character bigrams; of equal ones the first.

        Args:
            question: The question; it is never given more than half of the model's input.
            passage: The passage.
            answer: If given, a window that holds it is preferred.
        """
        room = max(self._room - len(self._spans(question)), self._room // 2, 1)
        windows = list(self._windows(passage, room))
        if len(windows) < 2:
            return passage
        asked = terms(question)
        with_answer = [window for window in windows if answer and answer in window]
        return max(with_answer or windows, key=lambda window: len(asked & terms(window)))

    def best_of_all(self, questions: Sequence[Question], passages: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the best window of every passage.

        Args:
            questions: n questions.
            passages: For each its passages, the right one, whose window should hold the answer, first.
        """
        return [
            [self.best(row.question, text, row.answer if number == 0 else "") for number, text in enumerate(texts)]
            for row, texts in zip(questions, passages, strict=True)
        ]

    def _windows(self, passage: str, room: int) -> Iterator[str]:
        spans = self._spans(passage)
        for start, end in cut(len(spans), room):
            yield passage[spans[start][0] : spans[end - 1][1]] if spans else passage

    def _find_spans(self, text: str) -> list[tuple[int, int]]:
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return list(encoded["offset_mapping"])


def terms(text: str) -> set[str]:
    """Return the character bigrams of a text's words, by which windows are compared with a question."""
    return {gram for word in split_words(text) for gram in bigrams(word)}
