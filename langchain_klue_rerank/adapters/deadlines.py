"""Waiting in an event loop for what threads compute, no longer than until a deadline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from langchain_core.runnables.config import run_in_executor

from langchain_klue_rerank.engine.deadline import seconds_until

Result = TypeVar("Result")

#: Seconds after its deadline for which a result that is on its way is waited for.
_GRACE = 0.005


async def wait_until(deadline: float | None, call: Callable[[], Result], late: Callable[[], Result]) -> Result:
    """Call a function in a thread and wait for what it returns.

    Args:
        deadline: Value of `time.monotonic` until which the function itself returns; None if it takes its time.
        call: The function.
        late: Makes the result where there are so many callers that not even a thread was free.
    """
    task = asyncio.ensure_future(run_in_executor(_waiting_room(), call))
    if deadline is None:
        return await task
    done, _ = await asyncio.wait({task}, timeout=seconds_until(deadline + _GRACE))
    if not done:
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return late()
    return task.result()


@lru_cache(maxsize=1)
def _waiting_room() -> ThreadPoolExecutor:
    """Threads in which async callers wait; asyncio's own are too few for callers to meet in a batch."""
    return ThreadPoolExecutor(max_workers=128, thread_name_prefix="klue-reranker-caller")


if hasattr(os, "register_at_fork"):  # a forked process has a copy of the pool, but none of its threads
    os.register_at_fork(after_in_child=_waiting_room.cache_clear)
