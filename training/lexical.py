"""BM25 scores of every passage of a corpus, as the package computes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.search import lexical_scores
from langchain_klue_rerank.engine.index.segments.segment import Segment
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts


class LexicalCorpus:
    """Passages to score with BM25 over morphemes and bigrams.

    Args:
        tokens: The passages, tokenized with morphemes.
    """

    def __init__(self, tokens: TokenizedTexts) -> None:
        empty = Snapshot.empty(IndexSettings(dense=False))
        passages = [Passage(str(row), "", {}) for row in range(len(tokens))]
        segment = Segment.build(passages, empty.terms, tokens, {}, None, morphemes=True)
        self._state = empty.added(segment, [passage.id for passage in passages])

    def scores(self, queries: TokenizedTexts) -> NDArray[np.float32]:
        """Return the scores in 0..1 of every passage for every query, (queries, passages)."""
        return np.stack([lexical_scores(self._state, queries, row) for row in range(len(queries))])
