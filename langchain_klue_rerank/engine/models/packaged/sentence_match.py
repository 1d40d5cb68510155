"""Which of a passage's sentences answers a question: a few numbers of each sentence and their weights.

The weights are fitted by ``training/packaged/sentence_weights.py`` and copied from what it prints.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.packaged.asked import KINDS, goes_on, said
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

#: How sharply a word prefers the sentence that it is nearest to: cosines are multiplied with it before the softmax.
_SHARPNESS: Final = 16.0
#: Numbers of a sentence, in the order of the weights.
NAMES: Final = (
    "reranker",  # log-odds of its score
    "votes",  # share of the question's words that are nearest to this sentence
    "new votes",  # the same, words that the title has count less
    "nearness",  # mean nearness of those words
    "worst",  # the heaviest word that nothing is near to
    "votes before",  # votes of the sentence before
    "votes after",
    "goes on",  # votes of the sentence before, if this one goes on about its subject
    *KINDS,  # whether the sentence has what the question asks for
)
#: Weights of `NAMES`.
WEIGHTS: Final = np.array(
    [
        0.255,  # reranker
        2.721,  # votes
        2.313,  # new votes
        1.769,  # nearness
        -1.322,  # worst
        1.200,  # votes before
        0.122,  # votes after
        -0.241,  # goes on
        1.451,  # amount
        1.376,  # time
        0.400,  # place
        0.750,  # person
        0.861,  # reason
        0.908,  # way
        0.970,  # money
        1.792,  # often
        0.410,  # allowed
        2.117,  # unit
    ]
)
#: Weights of `NAMES` and of an encoder's standardised cosines, where there is an encoder.
ENCODER_WEIGHTS: Final = np.array(
    [
        0.335,  # reranker
        1.533,  # votes
        3.071,  # new votes
        0.032,  # nearness
        -1.998,  # worst
        1.097,  # votes before
        -0.560,  # votes after
        0.952,  # goes on
        1.101,  # amount
        0.404,  # time
        -0.003,  # place
        1.041,  # person
        0.868,  # reason
        0.842,  # way
        0.751,  # money
        1.947,  # often
        0.396,  # allowed
        1.325,  # unit
        0.611,  # encoder
    ]
)


def rank_sentences(features: NDArray[np.float64], cosines: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return how well each sentence answers, as `sentence_features` describe them.

    Args:
        features: (n, `NAMES`).
        cosines: (n,): of question and sentence by an encoder; None without one. Only their order and their distances in
            standard deviations count, so that any encoder's will do.

    Returns:
        (n,): to be compared within a passage only.
    """
    if cosines is None:
        return np.asarray(features @ WEIGHTS)
    return np.asarray(with_encoder(features, cosines) @ ENCODER_WEIGHTS)


def with_encoder(features: NDArray[np.float64], cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add an encoder's cosines, in standard deviations, as the last number."""
    return np.column_stack([features, (cosines - cosines.mean()) / (cosines.std() + 1e-6)])


def sentence_features(
    question: str,
    sentences: list[str],
    tokens: TokenizedTexts,
    scores: NDArray[np.float64],
    model: StaticBiEncoder,
) -> NDArray[np.float64]:
    """Describe the sentences of a passage by numbers; the time is linear in its length.

    Args:
        question: The question.
        sentences: The n sentences of the passage, n at least 1.
        tokens: The question, the title (maybe empty) and the sentences, tokenized together.
        scores: (n,): the packaged reranker's, each sentence with the title.
        model: The packaged bi-encoder.

    Returns:
        (n, `NAMES`).
    """
    vectors = model.word_vectors(tokens.words, tokens.morphemes)
    weights = np.linalg.norm(vectors, axis=1).astype(np.float64)
    unit = np.asarray(vectors / np.where(weights > 0, weights, 1)[:, None], np.float32)
    asked = np.array(list(dict.fromkeys(tokens.word_ids[: tokens.offsets[1]].tolist())), np.int64)
    near = _nearest(np.asarray(unit[asked] @ unit.T, np.float32), tokens)
    weight = weights[asked]
    in_title, near = near[0], near[1:]
    new_weight = weight * (1 - in_title)
    votes, new_votes = _votes(near, weight), _votes(near, new_weight)
    before, after = np.concatenate([[0], votes[:-1]]), np.concatenate([votes[1:], [0]])
    clipped = np.clip(scores, 1e-4, 1 - 1e-4)
    return np.column_stack(
        [
            np.log(clipped / (1 - clipped)),
            votes,
            new_votes,
            near @ new_weight / max(new_weight.sum(), 1e-6),
            -((1 - near) * weight).max(axis=1, initial=0) / max(weight.max(initial=0), 1e-6),
            before,
            after,
            before * goes_on(sentences),
            said(question, sentences),
        ]
    )


def _nearest(cosines: NDArray[np.float32], tokens: TokenizedTexts) -> NDArray[np.float64]:
    """Return the cosine of the nearest word of each text but the first, 0..1: (texts - 1, words of the question)."""
    starts, ends = tokens.offsets[1:-1], tokens.offsets[2:]
    nearest = np.zeros((len(starts), len(cosines)))
    filled = ends > starts
    if filled.any() and len(cosines):
        stood = cosines[:, tokens.word_ids[tokens.offsets[1] :]]
        nearest[filled] = np.maximum.reduceat(stood, starts[filled] - tokens.offsets[1], axis=1).T
    return np.clip(nearest, 0, 1)


def _votes(near: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let every word of a question vote for the sentences that have it, or something like it.

    A word's vote is divided among the sentences by how near the nearest word of each is to it: what stands in one
    sentence alone tells them apart, what stands in all does not.

    Args:
        near: (n, words): how near the nearest word of each sentence is.
        weight: (words,): how much each word's vote counts.

    Returns:
        (n,) shares of the votes, adding up to 1; zeros if no word counts.
    """
    if not weight.sum():
        return np.zeros(len(near))
    votes = np.exp(_SHARPNESS * (near - near.max(axis=0)))
    return np.asarray(votes / votes.sum(axis=0) @ weight / weight.sum())
