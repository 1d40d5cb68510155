"""Confidence: the probability that the first result answers, by a calibrated, monotone model of a search's scores.

A score of a pair cannot tell whether the answer is among the passages at all: it does not know how far the runner-up is
behind, nor how near any passage of this corpus comes to any question. The model here reads both. It is a logistic
regression with weights that are not negative, so that more evidence never means less confidence, and it is fitted on
questions whose passage is there and on the same questions with their passage taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine.arrays.mapped import packaged_config
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

FORMAT: Final = "klue-confidence"
FORMAT_VERSION: Final = 3
CONFIG_FILE: Final = "config.json"
#: Candidates that are considered, and the minimum number for which a lead is meaningful.
CANDIDATES: Final = 30
LEAST_CANDIDATES: Final = 10
#: What is known of a query's candidates, in the order of the weights.
SIGNALS: Final = ("score", "lead", "lexical", "lexical_lead", "cosine", "cosine_lead")
#: What is known besides where a second bi-encoder has a say.
SECOND_SIGNALS: Final = ("second", "second_lead")
#: What is known besides where the packaged encoder has read the best candidate.
READ_SIGNALS: Final = ("reading",)
#: Keys of the models in the file: without a second bi-encoder, with one, and with the packaged encoder, which reads.
FIRST, SECOND, READ = "hybrid", "hybrid_with_second", "hybrid_with_reader"
#: Confidence between which reading is worth its time; beyond, it would change no answer.
DOUBT: Final = (0.15, 0.85)
#: The signals of each.
SIGNALS_OF: Final = {
    FIRST: SIGNALS,
    SECOND: SIGNALS + SECOND_SIGNALS,
    READ: SIGNALS + SECOND_SIGNALS + READ_SIGNALS,
}

_FLOOR: Final = 1e-3
#: Share of the words of the shorter one from which two passages say the same, as copies and overlapping pieces do.
_SAME: Final = 0.7


def signals(
    scores: ArrayLike,
    lexical: ArrayLike,
    cosines: ArrayLike,
    tokens: TokenizedTexts,
    second: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Turn what is known of a query's candidates into the model's input.

    Args:
        scores: (n,) the scores in 0..1 by which the candidates are ranked, in the order of the first stage; at least
            one candidate. Those after the first `CANDIDATES` are not looked at.
        lexical: (n,) their lexical scores in 0..1.
        cosines: (n,) their cosines.
        tokens: Their n tokenized texts.
        second: (n,) their scores in 0..1 by a second bi-encoder; None without one.

    Returns:
        (`SIGNALS`,), with a second bi-encoder `SECOND_SIGNALS` after them: the log odds of the best score; the
        logarithm of its ratio to the next; the best one's lexical score and how far it is ahead of the best of the
        others; its cosine and how far it is ahead of the mean of all; its score by the second bi-encoder and how far it
        is ahead of the best of the others. Others that say the same as the best one are not counted. Where the best one
        has been read, the log odds that it answers come after these (`READ_SIGNALS`).
    """
    ranked, words, meaning = (np.asarray(one, np.float64)[:CANDIDATES] for one in (scores, lexical, cosines))
    best = int(ranked.argmax())
    others = ~_same(tokens, best, len(ranked))
    top, next_best = ranked[best], ranked[others].max(initial=0.0)
    known = [
        np.log(top + _FLOOR) - np.log(1 - top + _FLOOR),
        np.log((top + _FLOOR) / (next_best + _FLOOR)),
        words[best],
        words[best] - words[others].max(initial=0.0),
        meaning[best],
        meaning[best] - np.append(meaning[others], meaning[best]).mean(),
    ]
    if second is not None:
        opinion = np.asarray(second, np.float64)[:CANDIDATES]
        known += [opinion[best], opinion[best] - opinion[others].max(initial=0.0)]
    return np.array(known)


def _same(tokens: TokenizedTexts, best: int, count: int) -> NDArray[np.bool_]:
    """Say which of the first candidates have nearly the words of the best one; that is one of them."""
    words = [set(tokens.word_ids[a:b].tolist()) for a, b in pairwise(tokens.offsets[: count + 1].tolist())]
    own = words[best]
    same = [len(own & other) >= _SAME * max(min(len(own), len(other)), 1) for other in words]
    same[best] = True
    return np.array(same)


@dataclass(frozen=True, slots=True)
class ConfidenceModel:
    """The probability that the first result of a search answers.

    Args:
        weights: As many float64 as there are signals (`SIGNALS_OF`), none negative.
        bias: Log odds where all signals are 0.
        threshold: Confidence from which an answer is recommended.
    """

    weights: NDArray[np.float64]
    bias: float
    threshold: float

    def __call__(self, known: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities.

        Args:
            known: (..., signals), see `signals`.

        Returns:
            (...) float64 in 0..1.
        """
        odds = known @ self.weights + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))), np.float64)

    @classmethod
    def load(cls, folder: Path, key: str = FIRST) -> ConfidenceModel:
        """Open the weights in a folder.

        Args:
            folder: The folder.
            key: Which of the models, `FIRST`, `SECOND` or `READ`.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If it holds something else, another format version, or weights of other signals.
        """
        path = Path(folder) / CONFIG_FILE
        config = packaged_config(path, FORMAT, FORMAT_VERSION)
        model, wanted = config[key], SIGNALS_OF[key]
        if tuple(model["weights"]) != wanted:
            raise ValueError(f"{path} has weights for {', '.join(model['weights'])}; expected {', '.join(wanted)}.")
        weights = np.array(list(model["weights"].values()), np.float64)
        if not bool((np.isfinite(weights) & (weights >= 0)).all()):
            raise ValueError(f"{path} has a weight that is negative or no number.")
        return cls(weights, float(model["bias"]), float(config["threshold"]))


@cache
def packaged_confidence(key: str = FIRST) -> ConfidenceModel:
    """Return a model that comes with the package, for its own models' scores; see `ConfidenceModel.load`."""
    return ConfidenceModel.load(Path(__file__).parents[2] / "weights" / "confidence", key)
