"""Tokenized texts: sequences of word numbers, the form in which the engine reads text."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.priority import gently, give_way
from langchain_klue_rerank.engine.text.kiwi import Analyzer
from langchain_klue_rerank.engine.text.mending import mend
from langchain_klue_rerank.engine.text.words import split_words


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Several texts as sequences of word numbers.

    Attributes:
        words: The distinct words of the texts.
        morphemes: For each distinct word its content morphemes; empty tuples where no analyser was used.
        word_ids: All texts' words one after the other, int32, numbers into `words`.
        offsets: int64, one more than there are texts: text ``i`` is ``word_ids[offsets[i]:offsets[i + 1]]``.
    """

    words: list[str]
    morphemes: list[tuple[str, ...]]
    word_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of words of each text."""
        return np.diff(self.offsets)

    def words_of(self, row: int) -> list[str]:
        """Return the words of one text, in order."""
        return [self.words[number] for number in self.word_ids[self.offsets[row] : self.offsets[row + 1]].tolist()]

    def take(self, rows: NDArray[np.integer]) -> TokenizedTexts:
        """Return some of the texts, numbered among themselves; a text may be taken twice."""
        if len(rows) == len(self) and bool((rows == np.arange(len(self))).all()):
            return self
        texts = Ragged(self.word_ids, self.offsets).take(rows)
        used, local = np.unique(texts.values, return_inverse=True)
        return TokenizedTexts(
            words=[self.words[number] for number in gently(used.tolist(), 4096)],
            morphemes=[self.morphemes[number] for number in gently(used.tolist(), 4096)],
            word_ids=local.astype(np.int32),
            offsets=texts.offsets,
        )


def tokenize(texts: Iterable[str], analyzer: Analyzer | None) -> TokenizedTexts:
    """Turn texts into word numbers, and each distinct word into morphemes.

    Args:
        texts: Any strings.
        analyzer: The analyser that makes the morphemes, or None for words (and so bigrams) alone. It also joins words
            that a page's layout has split (`mend`).

    Returns:
        The tokenized texts, in order.
    """
    vocabulary: dict[str, int] = {}
    ids = array("i")  # made into NumPy's without a step for each
    offsets = [0]
    for text in texts:
        give_way()
        if isinstance(analyzer, Analyzer):
            text = mend(text, analyzer)
        ids.extend([vocabulary.setdefault(word, len(vocabulary)) for word in split_words(text)])
        offsets.append(len(ids))
    words = list(vocabulary)
    return TokenizedTexts(
        words=words,
        morphemes=analyzer.morphemes(words) if analyzer is not None else [()] * len(words),
        word_ids=np.asarray(ids, dtype=np.int32),
        offsets=np.asarray(offsets, dtype=np.int64),
    )
