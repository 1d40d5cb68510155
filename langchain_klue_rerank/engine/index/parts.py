"""The parts of an index, which belong together: passages, their tokens, postings and vectors, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_klue_rerank.engine.arrays.files import RESTORE, SavedFiles
from langchain_klue_rerank.engine.arrays.quantized import TokenVectors
from langchain_klue_rerank.engine.index.bm25 import LexicalIndex
from langchain_klue_rerank.engine.index.passages import Passage, PassageStore
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.tokens import TokenStore
from langchain_klue_rerank.engine.index.vectors import PassageVectors, VectorIndex
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.errors import IndexFormatError


@dataclass(slots=True)
class Parts:
    """One state of an index.

    To change an index, change a `copy` and put it in the place of the old state: whoever still reads that, or is
    interrupted while changing the copy, has a whole state.
    """

    settings: IndexSettings
    passages: PassageStore
    tokens: TokenStore
    lexical: LexicalIndex | None = None
    vectors: VectorIndex | None = None
    token_vectors: TokenVectors | None = None

    @classmethod
    def empty(cls, settings: IndexSettings) -> Parts:
        """Return the state of an index without passages."""
        tokens = TokenStore()
        lexical = LexicalIndex(tokens, morphemes=settings.kiwi) if settings.lexical else None
        return cls(settings, PassageStore(), tokens, lexical)

    @property
    def dimension(self) -> int | None:
        """Dimension of the vectors; None while there are none."""
        return self.vectors.dimension if self.vectors is not None else None

    def copy(self) -> Parts:
        """Return a state that changes without changing this one. What is large is shared until it changes."""
        tokens = self.tokens.copy()
        return Parts(
            self.settings,
            self.passages.copy(),
            tokens,
            self.lexical.copy(tokens) if self.lexical is not None else None,
            self.vectors.copy() if self.vectors is not None else None,
            self.token_vectors,
        )

    def append(
        self,
        passages: Sequence[Passage],
        tokens: TokenizedTexts | None,
        vectors: PassageVectors | None,
        token_vectors: TokenVectors | None,
    ) -> None:
        """Append passages with new identifiers, and what the settings ask for of each."""
        self.passages.add(passages)
        if self.lexical is not None and tokens is not None:
            self.tokens.add(tokens)
            self.lexical.update()
        if vectors is not None and len(vectors):
            if self.vectors is None:
                self.vectors = VectorIndex(vectors.wholes.shape[1])
            self.vectors.add(vectors)
        if token_vectors is not None:
            old = self.token_vectors
            self.token_vectors = token_vectors if old is None else TokenVectors.join([old, token_vectors])

    def remove(self, identifiers: Iterable[str]) -> int:
        """Take passages out, which leaves gaps; returns how many. Unknown identifiers are passed over."""
        removed = 0
        for identifier in identifiers:
            row = self.passages.remove(identifier)
            if row is None:
                continue
            removed += 1
            if self.lexical is not None:
                self.lexical.remove(row)
        return removed

    def compacted(self) -> Parts:
        """Return the same passages without the gaps of removed ones; rows change."""
        rows = self.passages.rows()
        if len(rows) == self.passages.size:
            return self
        new = Parts.empty(self.settings)
        new.append(
            [self.passages.get(row) for row in rows.tolist()],
            self.tokens.take(rows) if self.lexical is not None else None,
            self.vectors.vectors.take(rows) if self.vectors is not None else None,
            self.token_vectors.take(rows) if self.token_vectors is not None else None,
        )
        return new

    def check(self) -> None:
        """Make sure that every part has a row for each passage.

        Raises:
            IndexFormatError: If one has not.
        """
        rows = self.passages.size
        sizes: dict[str, int] = {}
        if self.lexical is not None:
            sizes["tokens"] = len(self.tokens)
            sizes["lexical postings"] = self.lexical.size
        if self.settings.dense:
            sizes["vectors"] = len(self.vectors) if self.vectors is not None else 0
        if self.settings.token_vectors is not None:
            sizes["token vectors"] = len(self.token_vectors) if self.token_vectors is not None else 0
        for name, size in sizes.items():
            if size != rows:
                raise IndexFormatError(f"The index has {name} of {size} passages but holds {rows}. {RESTORE}")

    def save(self, folder: Path) -> None:
        """Write all parts into a folder; only without gaps.

        Raises:
            ValueError: If a passage's metadata cannot be kept as JSON.
        """
        self.passages.save(folder)
        if self.lexical is not None:
            self.tokens.save(folder / "tokens")
            self.lexical.save(folder / "lexical")
        if self.vectors is not None:
            self.vectors.save(folder / "vectors")
        if self.token_vectors is not None:
            self.token_vectors.save(folder / "token_vectors")

    @classmethod
    def load(cls, files: SavedFiles, config: dict[str, Any]) -> Parts:
        """Read what `save` wrote; the settings say what must be there.

        Raises:
            IndexFormatError: If something is missing or does not fit together.
        """
        settings = IndexSettings.from_config(config, files.where)
        parts = cls(settings, PassageStore.load(files), TokenStore())
        rows = parts.passages.size
        if settings.lexical:
            parts.tokens = TokenStore.load(files)
            if len(parts.tokens) != rows:
                raise IndexFormatError(f"The index has tokens of {len(parts.tokens)} passages but holds {rows}.")
            parts.lexical = LexicalIndex.load(files, parts.tokens, morphemes=settings.kiwi)
        if settings.dense and rows:
            parts.vectors = VectorIndex.load(files, "vectors", rows)
        if settings.token_vectors is not None and rows:
            parts.token_vectors = TokenVectors.load(files, "token_vectors", rows)
        parts.check()
        return parts
