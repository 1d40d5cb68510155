"""The tokens of every passage of an index, so that a passage is tokenized once in its life."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.files import SavedFiles, write_lines, write_ragged
from langchain_klue_rerank.engine.arrays.ragged import Ragged, Vocabulary
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts


class TokenStore:
    """Passages as word numbers; words as morpheme numbers.

    Attributes:
        words: The distinct words of all passages.
        morphemes: The distinct content morphemes of all words.
        word_morphemes: For each word the numbers of its morphemes.
        passages: For each passage the numbers of its words, in order.
    """

    def __init__(self) -> None:
        self.words = Vocabulary()
        self.morphemes = Vocabulary()
        self.word_morphemes = Ragged.empty()
        self.passages = Ragged.empty()

    def copy(self) -> TokenStore:
        """Return a store that changes without changing this one."""
        other = TokenStore()
        other.words, other.morphemes = self.words.copy(), self.morphemes.copy()
        other.word_morphemes, other.passages = self.word_morphemes, self.passages  # replaced, never changed
        return other

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self.passages)

    def add(self, texts: TokenizedTexts) -> None:
        """Append passages."""
        known = len(self.words)
        numbers = np.asarray(self.words.add(texts.words), np.int32)
        new = numbers >= known  # new words are numbered in the order in which they come
        self.word_morphemes = self.word_morphemes.extend(
            Ragged.from_rows(
                self.morphemes.add(morphemes)
                for morphemes, is_new in zip(texts.morphemes, new.tolist(), strict=True)
                if is_new
            )
        )
        values = numbers[texts.word_ids] if len(texts.word_ids) else np.zeros(0, np.int32)
        self.passages = self.passages.extend(Ragged(values, texts.offsets))

    def take(self, rows: NDArray[np.integer]) -> TokenizedTexts:
        """Return the tokens of some passages, numbered among themselves.

        Args:
            rows: Passage numbers, shape (n,).

        Returns:
            n tokenized texts, as `tokenize` would have made them.
        """
        passages = self.passages.take(rows)
        used, local = np.unique(passages.values, return_inverse=True)
        morphemes = self.word_morphemes.take(used)
        strings = self.morphemes.strings
        names = [strings[number] for number in morphemes.values.tolist()]
        ends = morphemes.offsets.tolist()
        return TokenizedTexts(
            words=[self.words.strings[number] for number in used.tolist()],
            morphemes=[tuple(names[start:end]) for start, end in pairwise(ends)],
            word_ids=local.astype(np.int32),
            offsets=passages.offsets,
        )

    def save(self, folder: Path) -> None:
        """Write the tokens into a folder."""
        write_lines(folder / "words.txt", self.words.strings)
        write_lines(folder / "morphemes.txt", self.morphemes.strings)
        write_ragged(folder / "word_morphemes", self.word_morphemes)
        write_ragged(folder / "passages", self.passages)

    @classmethod
    def load(cls, files: SavedFiles) -> TokenStore:
        """Read what `save` wrote.

        Raises:
            IndexFormatError: If the parts do not fit together.
        """
        store = cls()
        store.words = Vocabulary(files.lines("tokens/words.txt"))
        store.morphemes = Vocabulary(files.lines("tokens/morphemes.txt"))
        store.word_morphemes = files.ragged("tokens/word_morphemes", len(store.words), len(store.morphemes))
        store.passages = files.ragged("tokens/passages", None, len(store.words))
        return store
