"""Cross-encoders: a query and a passage, read together, into a score. Packaged, or a transformer."""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_klue_rerank.engine.models import CrossEncoderOptions
from langchain_klue_rerank.engine.pair_batches import Pair, Workload, assemble
from langchain_klue_rerank.engine.pair_scorer import PairScorer
from langchain_klue_rerank.engine.pair_tokens import Ids
from langchain_klue_rerank.engine.passage_windows import WINDOW_WORDS, cut_tokens
from langchain_klue_rerank.engine.ready import FoundPassages, Ready
from langchain_klue_rerank.engine.scoring_queue import ScoringQueue, seconds_until
from langchain_klue_rerank.engine.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text import TokenizedTexts, clean, shared_analyzer, tokenize
from langchain_klue_rerank.engine.transformer_models import open_transformer
from langchain_klue_rerank.engine.windows import cut, promising
from langchain_klue_rerank.errors import ModelOutputError

logger = logging.getLogger(__name__)

#: How likely a passage of the same meaning (cosine 1) and no matching word answers, where nothing else tells. So little
#: that it decides only between passages of which the model says next to nothing.
_COSINE_SHARE = 0.02
#: Passages that the packaged model reads between two looks at the clock.
_AT_A_TIME = 5
#: Callers that prepare their pairs at the same time: tokenizing leaves the interpreter to one more.
_PREPARING = 2


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
        self._turn = threading.Lock()
        self._seconds = 0.0  # that a few passages take, by and by

    def score(
        self,
        queries: Sequence[str],
        passages: Sequence[Sequence[str]],
        tokens: Sequence[Ready | None] | None = None,
        *,
        alone: bool = True,
        deadline: float | None = None,
    ) -> list[NDArray[np.float32]]:
        """Score the passages of several queries; see `CrossEncoder`."""
        given = tokens if tokens is not None else [None] * len(queries)
        ready = [own if isinstance(own, FoundPassages) else None for own in given]
        if deadline is None:
            return [
                self._score(tokenize([query], shared_analyzer()), texts, own, alone)
                for query, texts, own in zip(queries, passages, ready, strict=True)
            ]
        result = [np.full(len(texts), np.nan, np.float32) for texts in passages]
        for query, texts, own, scores in zip(queries, passages, ready, result, strict=True):
            self._score_in_time(query, texts, own, alone, deadline, scores)
        return result

    def _score_in_time(
        self,
        query: str,
        texts: Sequence[str],
        ready: FoundPassages | None,
        alone: bool,
        deadline: float,
        scores: NDArray[np.float32],
    ) -> None:
        """Fill in scores, a few passages at a time, until another few would take too long.

        Callers with a deadline compute one at a time: threads that share an interpreter would all be late together.
        """
        asked = None
        for start in range(0, len(texts), _AT_A_TIME):
            if not self._turn.acquire(timeout=seconds_until(deadline - self._seconds)):
                return
            try:
                began = time.monotonic()
                if began + self._seconds > deadline:
                    self._seconds *= 0.9  # should it be too high, it comes down again
                    return
                if asked is None:
                    asked = tokenize([query], shared_analyzer())
                part = slice(start, min(start + _AT_A_TIME, len(texts)))
                own = ready.take(np.arange(part.start, part.stop)) if ready is not None else None
                scores[part] = self._score(asked, texts[part], own, alone)
                took = time.monotonic() - began
                # a pause of the machine is no reason to give up on what comes after it
                took = min(took, 3 * self._seconds) if self._seconds else took
                self._seconds += 0.3 * (took - self._seconds)
            finally:
                self._turn.release()

    def _score(
        self, asked: TokenizedTexts, texts: Sequence[str], ready: FoundPassages | None, alone: bool
    ) -> NDArray[np.float32]:
        found = ready if ready is not None else FoundPassages(tokenize(texts, shared_analyzer()))
        cosines = found.cosines if found.cosines is not None else self._cosines(asked, found.tokens)
        scores = self._model.score(asked, found.tokens, cosines, found.lexical, found.searched)
        if alone:
            scores += (1 - scores) * np.float32(_COSINE_SHARE) * np.maximum(cosines, 0)
        return scores

    def _cosines(self, asked: TokenizedTexts, passages: TokenizedTexts) -> NDArray[np.float32]:
        """Return the cosine of the query with the best window of each passage."""
        if not len(passages):
            return np.zeros(0, np.float32)
        encoder = self._bi_encoder()
        windows, offsets = cut_tokens(passages, [0] * len(passages), WINDOW_WORDS)
        cosines: NDArray[np.float32] = encoder.encode(windows) @ encoder.encode(asked)[0]
        return np.maximum.reduceat(cosines, offsets[:-1])


class TransformerCrossEncoder:
    """A transformer with one output, computed by torch or ONNX Runtime.

    Passages are tokenized once and kept; pairs of all queries and all callers that meet are sorted by length into full
    batches.

    Args:
        name: Folder or hub id.
        options: Backend, windows, device, pairs in a batch, longest input, revision, remote code.

    Raises:
        ModelLoadError: If it cannot be loaded, has several outputs, or its ONNX export fails its check.
        MissingExtraError: If what computes it is not installed.
        ValueError: If ``max_length`` is more than the model can read.
    """

    def __init__(self, name: str, options: CrossEncoderOptions) -> None:
        self._name = name
        self._options = options
        self._model = open_transformer(name, options)
        #: What was computed since the model was loaded, or since the caller put a new one here.
        self.workload = Workload()
        self._preparing = threading.Semaphore(_PREPARING)
        self._queue = ScoringQueue(
            self._compute,
            workers=self._model.workers,
            tokens=self._model.batch_tokens,
            pairs=options.batch_size,
            overhead=self._model.tokenizer.template.size,
        )

    @property
    def backend(self) -> str:
        """What computes: ``"torch"``, ``"torch, bfloat16"``, ``"onnx"`` or ``"onnx-int8"``."""
        return self._model.backend

    def score(
        self,
        queries: Sequence[str],
        passages: Sequence[Sequence[str]],
        tokens: Sequence[Ready | None] | None = None,
        *,
        alone: bool = True,
        deadline: float | None = None,
    ) -> list[NDArray[np.float32]]:
        """Score the passages of several queries; see `CrossEncoder`."""
        ends = [0, *accumulate(len(texts) for texts in passages)]
        best = np.full(ends[-1], -np.inf, np.float32)
        # if all callers prepared at once, one whose time is over would wait for the interpreter behind all the others
        if not self._preparing.acquire(timeout=None if deadline is None else seconds_until(deadline)):
            return [np.full(len(texts), np.nan, np.float32) for texts in passages]
        try:
            pairs, same = self._prepare(queries, passages, ends)
        finally:
            self._preparing.release()
        if deadline is not None:  # first the first passages of all queries
            pairs.sort(key=lambda pair: pair.place - ends[bisect_right(ends, pair.place) - 1])
        scores = self._queue.score(pairs, deadline)
        with np.errstate(invalid="ignore"):  # NaN wins: a passage is known when all of it is
            np.maximum.at(best, [pair.place for pair in pairs], scores)
        return np.split(best[same], ends[1:-1]) if passages else []

    def _prepare(
        self, queries: Sequence[str], passages: Sequence[Sequence[str]], ends: Sequence[int]
    ) -> tuple[list[Pair], NDArray[np.int64]]:
        """Return the pairs of all queries, and for each passage the first of its query with the same tokens."""
        asked = self._model.tokenizer.encode([clean(query) for query in queries])
        read = self._model.tokenizer.encode([clean(text) for texts in passages for text in texts])
        pairs: list[Pair] = []
        same = np.arange(ends[-1])  # what is the same is read once
        for query, start, end in zip(asked, ends[:-1], ends[1:], strict=True):
            firsts: dict[bytes, int] = {}
            for place in range(start, end):
                same[place] = firsts.setdefault(read[place].tobytes(), place)
            pairs += self._pairs(query, {place: read[place] for place in firsts.values()})
        return pairs, same

    def _pairs(self, query: Ids, passages: dict[int, Ids]) -> list[Pair]:
        """Return the pairs of a query with the windows of its passages; `passages` has their places as keys."""
        query, room = self._fit_query(query)
        most = self._options.max_windows
        if most is None:
            spans = [cut(len(passage), room) for passage in passages.values()]
        else:
            spans = promising(query, list(passages.values()), room, most)
        return [
            Pair(query, passage[start:end], place)
            for (place, passage), own in zip(passages.items(), spans, strict=True)
            for start, end in own
        ]

    def _fit_query(self, query: Ids) -> tuple[Ids, int]:
        """Cut a query that would leave passages less than half of the input; returns it and a window's length."""
        free = self._model.max_length - self._model.tokenizer.template.size
        limit = max(1, free // 2)
        if len(query) > limit:
            logger.warning("The query has %d tokens; %s reads its first %d", len(query), self._name, limit)
            query = query[:limit]
        room = max(1, free - len(query))
        return query, min(room, self._options.window_length or room)

    def _compute(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Score a batch."""
        batch = assemble(pairs, self._model.tokenizer)
        logits = check_scores(self._model.compute(batch), self._name)
        self.workload.add(len(pairs), int(batch.mask.sum()), batch.ids.size)
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def check_scores(scores: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return scores as float32.

    Raises:
        ModelOutputError: If one is NaN or infinite.
    """
    array = np.asarray(scores, np.float32)
    if not np.isfinite(array).all():
        raise ModelOutputError(
            f"The model {name!r} returned NaN or infinity for pair number {int((~np.isfinite(array)).argmax())}. "
            "Check the weights and the precision (fp16 overflows)."
        )
    return array
