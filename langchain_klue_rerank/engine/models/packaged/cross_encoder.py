"""The packaged reranker behind the cross-encoder contract."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.contracts import Evidence, ScoreRequest, Scores, State
from langchain_klue_rerank.engine.deadline import seconds_until
from langchain_klue_rerank.engine.forks import ForkSafeLock
from langchain_klue_rerank.engine.models.packaged.match_scorer import PairScorer
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.priority import searching
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.windows import WINDOW_WORDS, cut_tokens

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
        cosines = evidence.cosines if evidence.cosines is not None else self._cosines(query, tokens)
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

    def _cosines(self, query: TokenizedTexts, passages: TokenizedTexts) -> NDArray[np.float32]:
        """Return the cosine of the query with the best window of each passage."""
        if not len(passages):
            return np.zeros(0, np.float32)
        encoder = self._bi_encoder()
        windows, offsets = cut_tokens(passages, [0] * len(passages), WINDOW_WORDS)
        cosines: NDArray[np.float32] = encoder.encode(windows) @ encoder.encode(query)[0]
        return np.maximum.reduceat(cosines, offsets[:-1])


def _query_tokens(request: ScoreRequest) -> TokenizedTexts:
    if request.evidence is not None and request.evidence.query is not None:
        return request.evidence.query
    return tokenize([request.query], shared_analyzer())
