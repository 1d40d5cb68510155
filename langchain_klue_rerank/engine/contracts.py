"""What an index keeps of passages and a reranker can read instead of their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.quantized import TokenVectors
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts


@dataclass(frozen=True, slots=True)
class FoundPassages:
    """Passages that an index found for a query.

    Attributes:
        tokens: n passages, tokenized with morphemes.
        cosines: (n,) float32, the packaged bi-encoder's cosine of the query with each one's best window; None where the
            index has vectors of another model, or none.
        lexical: (n,) float32, their lexical scores in 0..1, which know how frequent a word is in this index; None where
            the query was not searched by words.
        searched: How many passages the index has.
        token_vectors: Their vectors by a late-interaction model that reads them after another reranker.
    """

    tokens: TokenizedTexts
    cosines: NDArray[np.float32] | None = None
    lexical: NDArray[np.float32] | None = None
    searched: int = 0
    token_vectors: TokenVectors | None = None

    def take(self, rows: NDArray[np.integer]) -> FoundPassages:
        """Return some of the passages, in that order."""
        return FoundPassages(
            self.tokens.take(rows),
            None if self.cosines is None else self.cosines[rows],
            None if self.lexical is None else self.lexical[rows],
            self.searched,
            None if self.token_vectors is None else self.token_vectors.take(rows),
        )


#: A model reads the kind that it knows and takes the texts instead of any other.
Ready = FoundPassages | TokenVectors


Kind = Literal["query", "passage"]


class BiEncoder(Protocol):
    """What turns texts into vectors. May be called from several threads."""

    def encode(
        self, texts: Sequence[str], kind: Kind, tokens: TokenizedTexts | None = None, *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: n texts; the packaged model does not read them where it has their tokens.
            kind: Whether they ask or answer; some models treat the two differently.
            tokens: The same texts tokenized, if the caller has them; saves the packaged model that work.
            show_progress: Whether to draw a progress bar.

        Returns:
            (n, dim) float32 unit vectors; the zero vector for a text with nothing to read.

        Raises:
            ModelOutputError: If the model returns NaN or infinity.
        """
        ...


class CrossEncoder(Protocol):
    """What scores passages for a query. May be called from several threads."""

    def score(
        self,
        queries: Sequence[str],
        passages: Sequence[Sequence[str]],
        tokens: Sequence[Ready | None] | None = None,
        *,
        alone: bool = True,
        deadline: float | None = None,
    ) -> list[NDArray[np.float32]]:
        """Score the passages of several queries in one go.

        Args:
            queries: m queries.
            passages: For each query its passages. A passage longer than the model's window is read in overlapping
                windows, of which the best counts.
            tokens: For each query its passages as an index found them, or their token vectors, if the caller has them;
                saves the packaged model, or a late-interaction model, that work.
            alone: Whether these scores alone decide. Without a first stage's scores beside them the packaged model adds
                a little of the cosine. Default True.
            deadline: Value of `time.monotonic` at which to return with what is known by then; None to read everything.
                Passages are read in their order, so the most promising should come first.

        Returns:
            For each query its passages' scores in 0..1, float32. A pair's score does not depend on the other pairs
            (but for the rounding of int8). NaN for a passage that was not read in time.

        Raises:
            ModelOutputError: If the model returns NaN or infinity.
        """
        ...
