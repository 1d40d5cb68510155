"""Cross-encoders: a query and a passage, read together, into a score. Packaged, or a transformer."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.contracts import ScoreRequest, Scores, State, check_scores
from langchain_klue_rerank.engine.models.options import CrossEncoderOptions
from langchain_klue_rerank.engine.models.transformer.backends import open_transformer
from langchain_klue_rerank.engine.models.transformer.batches import Pair, Workload, assemble
from langchain_klue_rerank.engine.models.transformer.scoring_queue import ScoringQueue
from langchain_klue_rerank.engine.models.transformer.tokenizer import Ids
from langchain_klue_rerank.engine.models.transformer.windows import cut, promising
from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.engine.threads import ForkSafeSemaphore, seconds_until

logger = logging.getLogger(__name__)

#: Callers that prepare their pairs at the same time: tokenizing leaves the interpreter to one more.
_PREPARING = 2


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
        self._preparing = ForkSafeSemaphore(_PREPARING)
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

    def score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        """Score the candidates of several queries; see `CrossEncoder`."""
        ends = [0, *accumulate(len(request.passages) for request in requests)]
        # if all callers prepared at once, one whose time is over would wait for the interpreter behind all the others
        if not self._preparing.acquire(timeout=-1 if deadline is None else seconds_until(deadline)):
            return [Scores.unread(len(request.passages), State.LATE) for request in requests]
        try:
            pairs, same = self._prepare(requests, ends)
        finally:
            self._preparing.release()
        if deadline is not None:  # first the first passages of all queries
            pairs.sort(key=lambda pair: pair.place - ends[bisect_right(ends, pair.place) - 1])
        best = np.full(ends[-1], -np.inf, np.float32)
        with np.errstate(invalid="ignore"):  # NaN, an unread window, wins: a passage is known when all of it is
            np.maximum.at(best, [pair.place for pair in pairs], self._queue.score(pairs, deadline))
        best = best[same]
        states = np.where(np.isnan(best), State.LATE, State.READ).astype(np.int8)
        values = np.where(np.isnan(best), np.float32(0), best)
        return [Scores(values[start:end], states[start:end]) for start, end in pairwise(ends)]

    def _prepare(self, requests: Sequence[ScoreRequest], ends: Sequence[int]) -> tuple[list[Pair], NDArray[np.int64]]:
        """Return the pairs of all queries, and for each passage the first of its query with the same tokens."""
        queries = self._model.tokenizer.encode([clean(request.query) for request in requests])
        read = self._model.tokenizer.encode([clean(text) for request in requests for text in request.passages])
        pairs: list[Pair] = []
        same = np.arange(ends[-1])  # what is the same is read once
        for query, start, end in zip(queries, ends[:-1], ends[1:], strict=True):
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
