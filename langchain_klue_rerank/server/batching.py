"""The requests of many clients, computed together: a bounded queue and one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


class BusyError(Exception):
    """The queue is full; try again later."""


class UnusableError(Exception):
    """A valid request that cannot be computed; the message says why."""


@dataclass(frozen=True, slots=True)
class _Job:
    key: Hashable
    item: Any
    size: int
    answer: asyncio.Future[Any]


class Batcher:
    """Computes what waits together.

    While one batch is computed the next one gathers, so that a lone client never waits and many share a call.

    Args:
        compute: Called in a thread with a key and the items that have it; returns an answer for each.
        max_waiting: Most jobs that may wait. One more is refused.
        max_size: Maximum number of texts in one batch. A larger job is a batch of its own.
    """

    def __init__(
        self, compute: Callable[[Any, list[Any]], Sequence[Any]], *, max_waiting: int, max_size: int = 512
    ) -> None:
        self._compute = compute
        self._max_waiting = max_waiting
        self._max_size = max_size
        self._waiting: list[_Job] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many jobs wait now."""
        return len(self._waiting)

    def start(self) -> None:
        """Start to work, on the running event loop."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop. A batch that is being computed ends first; jobs that wait are cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for job in self._waiting:
            job.answer.cancel()
        self._waiting.clear()
        await asyncio.to_thread(self._thread.shutdown)

    async def submit(self, item: Any, *, key: Hashable = None, size: int = 1) -> Any:
        """Wait for the answer to one item.

        Args:
            item: What `compute` reads.
            key: Only items of the same key are computed together.
            size: How many texts the item has.

        Returns:
            Its answer.

        Raises:
            BusyError: If too many wait already.
            UnusableError: If this item cannot be computed as it is.
        """
        if len(self._waiting) >= self._max_waiting:
            raise BusyError
        job = _Job(key, item, size, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._arrived.set()
        return await job.answer

    def _next(self) -> list[_Job]:
        """Take the oldest job, and those of its key that fit beside it."""
        self._waiting = [job for job in self._waiting if not job.answer.done()]  # a client went, or its time is up
        batch: list[_Job] = []
        left: list[_Job] = []
        size = 0
        for job in self._waiting:
            if batch and (job.key != batch[0].key or size + job.size > self._max_size):
                left.append(job)
            else:
                batch.append(job)
                size += job.size
        self._waiting = left
        return batch

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._next():
                answers: Sequence[Any]
                try:
                    answers = await loop.run_in_executor(self._thread, self._answers, batch)
                except RuntimeError as error:  # there is no thread: these fail, and the next are tried
                    answers = [error] * len(batch)
                for job, answer in zip(batch, answers, strict=True):
                    if job.answer.done():
                        continue
                    if isinstance(answer, Exception):
                        job.answer.set_exception(answer)
                    else:
                        job.answer.set_result(answer)

    def _answers(self, batch: list[_Job]) -> Sequence[Any]:
        """Compute a batch; if that fails each job separately, so that one bad request does not fail the others."""
        key = batch[0].key
        try:
            return self._compute(key, [job.item for job in batch])
        except Exception as error:
            failure = UnusableError(str(error)) if isinstance(error, ValueError | TypeError) else error
            if len(batch) == 1:
                return [failure]
        return [self._answers([job])[0] for job in batch]
