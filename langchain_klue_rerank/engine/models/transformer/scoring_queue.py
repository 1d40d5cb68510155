"""Requests of many callers, computed together: in full batches, in turn, and none later than its deadline."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.transformer.batches import Pair, plan
from langchain_klue_rerank.engine.threads import seconds_until

#: Seconds that a worker waits for other callers before it begins, so that calls that meet are computed together.
_GATHER = 0.002
#: Seconds without work after which a worker ends; the next request starts a new one.
_IDLE = 5.0
#: Seconds that the end of the process waits for a batch that is being computed.
_LAST_BATCH = 30.0
#: Tokens that are planned into batches at a time; what comes later waits for the next turn.
_TURN = 1 << 18
#: Batches for each of several workers, at least, so that they finish at about the same time.
_SHARES = 4


class _Request:
    """The pairs of one call, and what is known of them."""

    def __init__(self, pairs: Sequence[Pair], deadline: float | None) -> None:
        self.pairs = pairs
        self.deadline = deadline
        self.scores = np.full(len(pairs), np.nan, np.float32)
        self.arrived = time.monotonic()
        self.begun = 0  # pairs handed to a worker; only of requests with a deadline, whose pairs go in their order
        self.left = len(pairs)
        self.done = threading.Event()
        self.error: BaseException | None = None


#: All queues of the process.
_QUEUES: weakref.WeakSet[ScoringQueue] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for queue in list(_QUEUES):
        queue.close()


def _start_all() -> None:
    for queue in list(_QUEUES):
        queue._start()


if hasattr(os, "register_at_fork"):  # a forked process has copies of the queues, but none of their threads
    os.register_at_fork(after_in_child=_start_all)

#: Pairs to compute, each with its request and its number there.
_Batch = list[tuple[_Request, int]]


class ScoringQueue:
    """Computes the pairs of many callers on worker threads of its own.

    Requests without a deadline are gathered, sorted by length and computed in the order in which they came. Requests
    with a single batch go before them; the others are served round-robin, first passages first. Where both wait,
    batches take turns, so that neither starves. A caller never waits longer than its deadline, whatever the workers do.

    Args:
        compute: Pairs into scores, called by the workers.
        workers: Threads that compute at the same time.
        tokens: Most tokens of a batch, padding included.
        pairs: Most pairs of a batch.
        overhead: Tokens that every pair has beside its texts.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Pair]], NDArray[np.float32]],
        *,
        workers: int,
        tokens: int,
        pairs: int,
        overhead: int,
    ) -> None:
        self._compute = compute
        self._workers = workers
        self._tokens = tokens
        self._pairs = pairs
        self._overhead = overhead
        self._token_seconds: float | None = None
        self._start()
        _QUEUES.add(self)

    def _start(self) -> None:
        self._changed = threading.Condition()
        self._urgent: list[_Request] = []
        self._waiting: list[_Request] = []
        self._planned: list[_Batch] = []
        self._patient_turn = False
        self._threads: set[threading.Thread] = set()
        self._closing = False

    @property
    def _running(self) -> int:
        return len(self._threads)

    def close(self) -> None:
        """Let the workers finish what they compute, and nothing else; for the process's end.

        The interpreter ends threads where they stand, and a library that computes outside of it then aborts.
        """
        with self._changed:
            self._closing = True
            threads = list(self._threads)
            self._changed.notify_all()
        for thread in threads:
            thread.join(_LAST_BATCH)

    def score(self, pairs: Sequence[Pair], deadline: float | None = None) -> NDArray[np.float32]:
        """Score pairs; waits for the result, or for the deadline.

        Args:
            pairs: What to score, the most important first.
            deadline: Value of `time.monotonic` at which to return; None to wait for everything.

        Returns:
            float32, one for each pair; NaN for a pair that was not computed in time.

        Raises:
            Exception: What `compute` raised for a batch with one of these pairs.
        """
        request = _Request(pairs, deadline)
        if not request.left:
            return request.scores
        with self._changed:
            (self._waiting if deadline is None else self._urgent).append(request)
            while self._running < self._workers:
                worker = threading.Thread(target=self._work, name="klue-reranker", daemon=True)
                self._threads.add(worker)
                worker.start()
            self._changed.notify()
        request.done.wait(None if deadline is None else seconds_until(deadline))
        with self._changed:
            if request in self._urgent:  # no worker is to begin another of its pairs
                self._urgent.remove(request)
            if request.error is not None:
                raise request.error
            return request.scores.copy()  # a worker may still hold a batch of it

    def _work(self) -> None:
        while True:
            with self._changed:
                batch = self._next()
                while not batch and not self._closing:
                    if not self._changed.wait(self._patience()) and not (
                        self._urgent or self._waiting or self._planned
                    ):
                        break
                    batch = self._next()
                if self._closing or not batch:
                    self._threads.discard(threading.current_thread())
                    return
                if self._planned or self._urgent:
                    self._changed.notify()
            start = time.monotonic()
            try:
                scores = self._compute([request.pairs[number] for request, number in batch])
            except BaseException as error:  # the callers' error, whatever it is; the worker goes on
                self._fail(batch, error)
            else:
                self._finish(batch, scores, time.monotonic() - start)

    def _patience(self) -> float:
        """Return how long to wait for news."""
        return _GATHER if self._waiting else _IDLE

    def _next(self) -> _Batch:
        """Take the next batch; an empty one where there is nothing to do yet."""
        if self._urgent and not (self._patient_turn and (self._planned or self._waiting)):
            batch = self._next_urgent()
            if batch:
                self._patient_turn = True
                return batch
        if not self._planned:
            self._plan()
        if not self._planned:
            return []
        self._patient_turn = False
        return self._planned.pop(0)

    def _plan(self) -> None:
        """Make batches of what waits, first come first served, unless others may be just about to come."""
        if not self._waiting or time.monotonic() - self._waiting[0].arrived < _GATHER:
            return
        taken: _Batch = []
        total = 0
        while self._waiting and total < _TURN:
            request = self._waiting.pop(0)
            taken += [(request, number) for number in range(len(request.pairs))]
            total += sum(self._length(pair) for pair in request.pairs)
        lengths = [self._length(request.pairs[number]) for request, number in taken]
        self._planned = [
            [taken[number] for number in batch]
            for batch in plan(lengths, tokens=self._budget(total), pairs=self._pairs)
        ]

    def _budget(self, total: int) -> int:
        """Return the most tokens of a batch: of little work, too, every worker is to have its part."""
        return self._tokens if self._workers == 1 else min(self._tokens, total // (_SHARES * self._workers))

    def _next_urgent(self) -> _Batch:
        """Take the next pairs of the requests with a deadline: of all in turn, and only what can be done in time."""
        batch: _Batch = []
        longest, end = 0, float("inf")
        now = time.monotonic()
        open_requests = [request for request in self._urgent if request.begun < len(request.pairs)]
        while open_requests and len(batch) < self._pairs:
            request = min(open_requests, key=lambda one: (one.begun, one.deadline))
            assert request.deadline is not None
            length = max(longest, self._length(request.pairs[request.begun]))
            first_end = min(end, request.deadline)
            cost = (self._token_seconds or 0.0) * length * (len(batch) + 1)
            if batch and (now + cost > first_end or length * (len(batch) + 1) > self._tokens):
                break
            if now + cost > first_end:
                self._give_up(request)
                open_requests.remove(request)
                continue
            batch.append((request, request.begun))
            longest, end = length, first_end
            request.begun += 1
            if request.begun == len(request.pairs):
                open_requests.remove(request)
        return batch

    def _give_up(self, request: _Request) -> None:
        """Let a caller go for whom no other pair can be computed in time."""
        self._urgent.remove(request)
        if self._token_seconds is not None:  # should the estimate be too high, it comes down again
            self._token_seconds *= 0.9
        request.left -= len(request.pairs) - request.begun
        if not request.left:  # what is being computed still counts
            request.done.set()

    def _length(self, pair: Pair) -> int:
        return pair.length + self._overhead

    def _finish(self, batch: _Batch, scores: NDArray[np.float32], seconds: float) -> None:
        padded = len(batch) * max(self._length(request.pairs[number]) for request, number in batch)
        measured = seconds / padded
        with self._changed:
            known = self._token_seconds
            # one slow measurement must not stop later calls
            self._token_seconds = measured if known is None else 0.8 * known + 0.2 * min(measured, 3 * known)
            for (request, number), score in zip(batch, scores.tolist(), strict=True):
                request.scores[number] = score
                request.left -= 1
                if not request.left:
                    self._end(request)

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        with self._changed:
            failed = {id(request): request for request, _ in batch}
            for request in failed.values():
                request.error = error
                self._end(request)
            for planned in self._planned:
                planned[:] = [entry for entry in planned if id(entry[0]) not in failed]
            self._planned = [planned for planned in self._planned if planned]

    def _end(self, request: _Request) -> None:
        if request in self._urgent:
            self._urgent.remove(request)
        request.done.set()
