"""What an index keeps of passages and a reranker can read instead of their texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.text import TokenizedTexts
from langchain_klue_rerank.engine.token_vectors import TokenVectors


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
