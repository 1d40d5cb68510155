"""The packaged reranker: how likely a passage answers a query, from what the two have in common.

A small network reads the numbers of `pair_features`, the packaged bi-encoder's cosine among them: each query term's
matches are judged one by one and pooled by learned importance (after Guo et al. 2016, "A Deep Relevance Matching
Model"): their mean and the extremes. These are joined with the features of the whole pair. There is no torch and no
attention over the passage: thirty candidates take a few milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.mapped import packaged_config
from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.contracts import Evidence, ScoreRequest, Scores, State
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
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.threads import ForkSafeLock, searching, seconds_until

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
        config = packaged_config(folder / CONFIG_FILE, FORMAT, FORMAT_VERSION)
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
        if len(query.offsets) != 2:
            raise ValueError(f"Expected one query, got {len(query)}.")
        lengths = np.diff(passages.offsets)
        scores = np.zeros(len(lengths), np.float32)
        if not len(query.word_ids) or not len(passages.word_ids):
            return scores
        terms = prepare_query(query, self.statistics.idf, self.vectors, text)
        owners, starts, ends = _windows(passages.offsets)
        logits = np.empty(len(owners))
        first = 0
        while first < len(owners):
            total = np.cumsum(ends[first:] - starts[first:])
            last = first + max(int(np.searchsorted(total, _WORDS_AT_ONCE, side="right")), 1)
            part = _cut(passages, starts[first:last], ends[first:last])
            own = owners[first:last]
            known = lexical[own] if lexical is not None else None
            features = pair_features(terms, part, self.vectors, cosines[own], known, lexical_trust(searched))
            anchor = self._anchor * lexical_score(features.pairs)
            logits[first:last] = ensemble(self._networks, features) + anchor
            first = last
        best = np.full(len(lengths), -np.inf)
        np.maximum.at(best, owners, logits)
        filled = lengths > 0
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


#: Probability that a passage with cosine 1 and no matching word answers. So small that it only decides between passages
#: with scores near zero.
_COSINE_SHARE = 0.02


#: Passages that the packaged model scores between two checks of the deadline.
_AT_A_TIME = 5


class PackagedCrossEncoder:
    """The packaged pair scorer behind the protocol.

    It reads what query and passage have in common, the packaged bi-encoder's cosine among it. Where no index has the
    cosine ready, it asks the bi-encoder, which takes about as long again. Where nothing matches its scores say next to
    nothing, and a first stage beside it decides. Alone, it adds a little of the cosine in place of that.

    Args:
        model: The loaded pair scorer.
        bi_encoder: Returns the loaded bi-encoder; called on first need.
    """

    def __init__(self, model: PairScorer, bi_encoder: Callable[[], StaticBiEncoder]) -> None:
        self._model = model
        self._bi_encoder = bi_encoder
        self._turn = ForkSafeLock()
        self._seconds = 0.0  # running mean of the time for a few passages

    @searching()
    def score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries; see `CrossEncoder`."""
        if deadline is None:
            return [Scores.read(self._score(_query_tokens(request), request)) for request in requests]
        return [self._score_in_time(request, deadline) for request in requests]

    def _score_in_time(self, request: ScoreRequest, deadline: float) -> Scores:
        """Score candidates, a few at a time, until another few would take too long.

        Callers with a deadline compute one at a time: threads that share an interpreter would all be late together.
        """
        scores = Scores.unread(len(request.passages), State.LATE)
        query = None
        for start in range(0, len(request.passages), _AT_A_TIME):
            if not self._turn.acquire(timeout=seconds_until(deadline - self._seconds)):
                break
            try:
                began = time.monotonic()
                if began + self._seconds > deadline:
                    self._seconds *= 0.9  # lowers an estimate that is too high
                    break
                if query is None:
                    query = _query_tokens(request)
                part = np.arange(start, min(start + _AT_A_TIME, len(request.passages)))
                scores.values[part] = self._score(query, request.take(part))
                scores.states[part] = State.READ
                took = time.monotonic() - began
                # one slow measurement must not stop later calls
                took = min(took, 3 * self._seconds) if self._seconds else took
                self._seconds += 0.3 * (took - self._seconds)
            finally:
                self._turn.release()
        return scores

    def _score(self, query: TokenizedTexts, request: ScoreRequest) -> NDArray[np.float32]:
        evidence = request.evidence or Evidence()
        tokens = evidence.tokens if evidence.tokens is not None else tokenize(request.passages, shared_analyzer())
        cosines = evidence.cosines
        if cosines is None:  # takes as long as everything else
            cosines = self._bi_encoder().best_cosines(query, tokens)
        scores = self._model.score(
            query,
            tokens,
            cosines,
            evidence.lexical,
            evidence.corpus_size,
            text=request.query,
        )
        if request.alone:
            scores += (1 - scores) * np.float32(_COSINE_SHARE) * np.maximum(cosines, 0)
        return scores


def _query_tokens(request: ScoreRequest) -> TokenizedTexts:
    if request.evidence is not None and request.evidence.query is not None:
        return request.evidence.query
    return tokenize([request.query], shared_analyzer())
