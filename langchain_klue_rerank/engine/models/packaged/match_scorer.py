"""The packaged reranker: how likely a passage answers a query, from what the two have in common.

A small network reads the numbers of `pair_features`, the packaged bi-encoder's cosine among them: each query term's
matches are judged one by one and pooled by learned importance (after Guo et al. 2016, "A Deep Relevance Matching
Model"): their mean and the extremes. These are joined with the features of the whole pair. There is no torch and no
attention over the passage: thirty candidates take a few milliseconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.models.packaged.match_features import (
    MATCH_FEATURES,
    PAIR_FEATURES,
    PairFeatures,
    lexical_score,
    lexical_trust,
    pair_features,
)
from langchain_klue_rerank.engine.models.packaged.query_terms import (
    TERM_FEATURES,
    TermStatistics,
    TermVectors,
    prepare_query,
)
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

FORMAT: Final = "klue-pair-scorer"
#: Raised when a reader of the old version would misread the new files.
FORMAT_VERSION: Final = 4
CONFIG_FILE: Final = "config.json"
FREQUENCIES_FILE: Final = "document_frequencies.npy"
VOCABULARY_FILE: Final = "vocabulary.txt"
VECTORS_FILE: Final = "vectors.npy"
#: Layers of a network, in the order in which they are used.
LAYERS: Final = ("term", "gate", "value", "hidden", "hidden2", "output")

#: A longer passage is read in windows of so many words, each beginning `_STRIDE` words after the last.
_WINDOW: Final = 400
_STRIDE: Final = 300
#: About so many words are worked on at a time; bounds the memory to some 100 MB.
_WORDS_AT_ONCE: Final = 20_000


class PairScorer:
    """Scores passages for a query.

    Use `load`. An instance is immutable and may be used by several threads at once.

    Args:
        statistics: Weights of terms.
        vectors: Vectors that tell how similar two terms are.
        networks: Arrays of an ensemble of e networks: ``<layer>_weight`` (e, in, out) and ``<layer>_bias`` (e, 1, out)
            for each of `LAYERS`, and ``mean`` and ``scale`` (features,) of the pair features. float64, so that the last
            bits, which depend on the shape of a product, stay invisible in the float32 scores.
        anchor: Weight of the lexical score that the networks correct.
        slope: Of the calibration from the ensemble's mean output to a probability.
        intercept: Of the calibration.
    """

    def __init__(
        self,
        statistics: TermStatistics,
        vectors: TermVectors,
        networks: dict[str, NDArray[np.float64]],
        anchor: float,
        slope: float,
        intercept: float,
    ) -> None:
        self.statistics = statistics
        self.vectors = vectors
        self._networks = networks
        self._anchor = anchor
        self._slope = slope
        self._intercept = intercept

    @classmethod
    def load(cls, folder: Path) -> PairScorer:
        """Open the weights in a folder.

        Args:
            folder: ``config.json`` and the arrays.

        Returns:
            The scorer.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the folder holds something else, another format version, or arrays of other shapes.
        """
        folder = Path(folder)
        config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise ValueError(f"{folder / CONFIG_FILE} does not describe a {FORMAT}.")
        if config.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"The weights in {folder} have format version {config.get('format_version')}; this release reads "
                f"version {FORMAT_VERSION}. Update langchain-klue-rerank or use the weights of this release."
            )
        statistics = TermStatistics(
            np.load(folder / FREQUENCIES_FILE, allow_pickle=False), config["documents"], config["steps"]
        )
        vectors = TermVectors(
            (folder / VOCABULARY_FILE).read_text(encoding="utf-8").splitlines(),
            np.load(folder / VECTORS_FILE, allow_pickle=False),
        )
        names = ["mean", "scale", *(f"{layer}_{part}" for layer in LAYERS for part in ("weight", "bias"))]
        networks = {name: np.load(folder / f"{name}.npy", allow_pickle=False).astype(np.float64) for name in names}
        if (
            networks["mean"].shape != (PAIR_FEATURES,)
            or networks["term_weight"].shape[1] != MATCH_FEATURES + TERM_FEATURES
        ):
            raise ValueError(f"The arrays in {folder} do not fit the features of this release.")
        calibration = config["calibration"]
        return cls(statistics, vectors, networks, config["anchor"], calibration["slope"], calibration["intercept"])

    def score(
        self,
        query: TokenizedTexts,
        passages: TokenizedTexts,
        cosines: NDArray[np.float32],
        lexical: NDArray[np.float32] | None = None,
        searched: int = 0,
        *,
        text: str = "",
    ) -> NDArray[np.float32]:
        """Score passages for a query.

        Args:
            query: One text, tokenized with morphemes.
            passages: n texts, tokenized with morphemes.
            cosines: (n,): of the packaged bi-encoder's vectors of query and passage, whose best window counts.
            lexical: (n,): lexical scores in 0..1 of a search that knows how frequent words are in its corpus; None
                (default) where there was none: words then weigh what they weigh in general.
            searched: How many passages that search has; of a handful nobody learns how frequent a word is.
            text: The query as it was written, for what it quotes.

        Returns:
            float32, shape (n,), each in 0..1: the probability that the passage answers the query. It depends on the
            query, that passage and what was said of it alone; 0 for a passage or query without words.

        Raises:
            ValueError: If `query` is not one text.
        """
        if len(query) != 1:
            raise ValueError(f"Expected one query, got {len(query)}.")
        scores = np.zeros(len(passages), np.float32)
        if not len(query.word_ids) or not len(passages.word_ids):
            return scores
        terms = prepare_query(query, self.statistics.idf, self.vectors, text)
        trust = lexical_trust(searched)
        owners, starts, ends = _windows(passages.offsets)
        logits = np.empty(len(owners))
        first = 0
        while first < len(owners):
            total = np.cumsum(ends[first:] - starts[first:])
            last = first + max(int(np.searchsorted(total, _WORDS_AT_ONCE, side="right")), 1)
            part = _cut(passages, starts[first:last], ends[first:last])
            own = owners[first:last]
            features = pair_features(
                terms, part, self.vectors, cosines[own], lexical[own] if lexical is not None else None, trust
            )
            logits[first:last] = ensemble(self._networks, features) + self._anchor * lexical_score(features.pairs)
            first = last
        best = np.full(len(passages), -np.inf)
        np.maximum.at(best, owners, logits)
        filled = passages.lengths() > 0
        scores[filled] = 1 / (1 + np.exp(-np.clip(self._slope * best[filled] + self._intercept, -30, 30)))
        return scores


def ensemble(networks: dict[str, NDArray[np.float64]], features: PairFeatures) -> NDArray[np.float64]:
    """Return the mean output of the networks.

    Args:
        networks: See `PairScorer`.
        features: Of one query and n passages.

    Returns:
        float64, shape (n,).
    """
    n, count = features.matches.shape[:2]

    def layer(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = values @ networks[f"{name}_weight"] + networks[f"{name}_bias"]
        return result

    tiled = np.broadcast_to(features.terms, (n, *features.terms.shape))
    matched = np.concatenate([features.matches, tiled], axis=2).reshape(n * count, -1)
    judged = np.tanh(layer("value", np.maximum(layer("term", matched), 0)))  # (networks, n * count, values)
    gate = np.exp(np.clip(layer("gate", features.terms), -10, 10))[:, :, 0]
    gate /= np.maximum(gate.sum(axis=1, keepdims=True), 1e-9)
    judged = judged.reshape(len(gate), n, count, -1)
    mean = np.einsum("entk,et->enk", judged, gate)
    # The mean hides a single term that decides: the strongest verdicts for and against count on their own.
    weighted = judged * (gate / np.maximum(gate.max(axis=1, keepdims=True), 1e-9))[:, None, :, None]
    pooled = [mean, weighted.min(axis=2, initial=0), weighted.max(axis=2, initial=0)]
    pairs = np.clip((features.pairs - networks["mean"]) * networks["scale"], -5, 5)
    tiled_pairs = np.broadcast_to(pairs, (len(gate), *pairs.shape))
    hidden = np.maximum(layer("hidden", np.concatenate([tiled_pairs, *pooled], axis=2)), 0)
    result: NDArray[np.float64] = layer("output", np.maximum(layer("hidden2", hidden), 0))[:, :, 0].mean(axis=0)
    return result


def _windows(offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut passages into windows: for each its passage, first word and last word + 1. An empty passage has none."""
    lengths = np.diff(offsets)
    counts = np.where(lengths > 0, 1 + np.maximum(-(-(lengths - _WINDOW) // _STRIDE), 0), 0)
    owners = np.repeat(np.arange(len(lengths)), counts)
    place = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = offsets[owners] + place * _STRIDE
    return owners, starts, np.minimum(starts + _WINDOW, offsets[owners + 1])


def _cut(passages: TokenizedTexts, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> TokenizedTexts:
    """Return the stretches of words from `starts` to `ends` as texts of their own."""
    words = Ragged(passages.word_ids, passages.offsets).spans(starts, ends)
    return TokenizedTexts(passages.words, passages.morphemes, words.values, words.offsets)
