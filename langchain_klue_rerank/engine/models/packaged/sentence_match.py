"""Which of a passage's sentences the words of a question are nearest to."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

#: How sharply a word prefers the sentence that it is nearest to: cosines are multiplied with it before the softmax.
_SHARPNESS: Final = 16.0


def word_shares(query: TokenizedTexts, sentences: TokenizedTexts, model: StaticBiEncoder) -> NDArray[np.float64]:
    """Let every word of a question vote for the sentences that have it, or something like it.

    A word's vote is divided among the sentences by how near the nearest word of each is to it: what stands in one
    sentence alone tells them apart, what stands in all does not.

    Args:
        query: The question, one tokenized text.
        sentences: The n sentences of a passage, tokenized.
        model: The packaged bi-encoder. The length of a word's vector is its weight.

    Returns:
        (n,) shares of the votes, adding up to 1; zeros if the question or the sentences have no word.
    """
    asked = model.word_vectors(query.words, query.morphemes)
    there = model.word_vectors(sentences.words, sentences.morphemes)
    weights = np.linalg.norm(asked, axis=1).astype(np.float64)
    if not len(there) or not weights.sum():
        return np.zeros(len(sentences))
    cosines = _unit(asked) @ _unit(there).T
    nearest = np.zeros((len(sentences), len(asked)))
    for row, (start, end) in enumerate(pairwise(sentences.offsets.tolist())):
        if end > start:
            nearest[row] = cosines[:, sentences.word_ids[start:end]].max(axis=1)
    votes = np.exp(_SHARPNESS * (nearest - nearest.max(axis=0)))
    return np.asarray(votes / votes.sum(axis=0) @ weights / weights.sum())


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), np.float32)
