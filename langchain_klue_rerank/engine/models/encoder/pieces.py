"""Texts to pieces: SentencePiece's unigram model (Kudo 2018), as XLM-R and multilingual-e5 use it."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Final

from langchain_klue_rerank.engine.text.cache import TextCache
from langchain_klue_rerank.engine.text.words import clean

#: What stands before the first piece of every word.
_SPACE: Final = "▁"
#: How much less likely than the least likely piece a character is that no piece has.
_UNKNOWN_PENALTY: Final = 10.0
#: Words whose pieces are kept; some 30 MB.
_WORDS: Final = 100_000
#: A longer word is cut: the search takes time with its length.
_LONGEST_WORD: Final = 200


class PieceTokenizer:
    """Cuts texts into the most likely pieces. May be called from several threads.

    Args:
        pieces: All pieces by number; the first four are ``<s>``, ``<pad>``, ``</s>`` and ``<unk>``.
        scores: Log likelihood of each.
    """

    BEGIN, END, UNKNOWN = 0, 2, 3

    def __init__(self, pieces: Sequence[str], scores: Sequence[float]) -> None:
        self._numbers = {piece: number for number, piece in enumerate(pieces) if number > self.UNKNOWN}
        self._scores = list(scores)
        self._longest = max(map(len, self._numbers), default=1)
        self._unknown = min(self._scores[self.UNKNOWN + 1 :], default=0.0) - _UNKNOWN_PENALTY
        self._known: TextCache[list[int]] = TextCache(_WORDS, lambda _: 1)

    def encode(self, text: str, most: int) -> list[int]:
        """Return the numbers of a text's pieces between those of its begin and end.

        Args:
            text: Any string.
            most: How many numbers to return at most; the end of a longer text is left out.
        """
        words = unicodedata.normalize("NFKC", clean(text)).split()[:most]
        known = self._known.get(words)
        new = {word: self._cut(word) for word in words if word not in known}
        if new:
            self._known.put(new)
            known = {**known, **new}
        numbers = [number for word in words for number in known[word]]
        return [self.BEGIN, *numbers[: most - 2], self.END]

    def _cut(self, word: str) -> list[int]:
        """Return the most likely pieces of a word, by Viterbi's algorithm."""
        text = _SPACE + word[:_LONGEST_WORD]
        best, begin, piece = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1), [self.UNKNOWN] * (len(text) + 1)
        for end in range(1, len(text) + 1):
            for start in range(max(0, end - self._longest), end):
                number = self._numbers.get(text[start:end])
                if number is None:
                    if start < end - 1:
                        continue
                    number, score = self.UNKNOWN, best[start] + self._unknown
                else:
                    score = best[start] + self._scores[number]
                if score > best[end]:
                    best[end], begin[end], piece[end] = score, start, number
        found: list[int] = []
        end = len(text)
        while end:
            if piece[end] != self.UNKNOWN or not found or found[-1] != self.UNKNOWN:  # several unknown ones are one
                found.append(piece[end])
            end = begin[end]
        return found[::-1]
