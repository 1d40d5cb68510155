"""Two parts of a search, or two stages of adding, at the same time: NumPy and Kiwi let go of Python's lock."""

from __future__ import annotations

import _thread
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from langchain_klue_rerank.engine.threads import searches

A = TypeVar("A")
B = TypeVar("B")
P = TypeVar("P")


def both(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Call two functions that read and compute, at the same time where there is a core for the second one.

    Where there is none one is called after the other. See `at_once`.
    """
    return (first(), second()) if free_cores() < 2 else at_once(first, second)


def staged(parts: Sequence[P], first: Callable[[P], A], second: Callable[[P, A], B]) -> list[tuple[A, B]]:
    """Take every part through two stages; while a part is in the second one, the next part is in the first one.

    Args:
        parts: The parts.
        first: The first stage: called by this thread with one part after the other.
        second: The second stage: called with a part and what the first one returned for it; see `both`.

    Returns:
        For every part what both stages returned.
    """
    found: list[tuple[A, B]] = []
    before: tuple[P, A] | None = None
    for part in parts:
        if before is None:
            before = part, first(part)
            continue
        following, done = both(partial(first, part), partial(second, *before))
        found.append((before[1], done))
        before = part, following
    if before is not None:
        found.append((before[1], second(*before)))
    return found


def spread(items: Iterable[P], call: Callable[[P], object], threads: int) -> None:
    """Call a function with every item, by this and other threads.

    Args:
        items: The items, those of most work first.
        call: Called with each once. After one call has failed no further one begins.
        threads: How many threads at most, such as `free_cores`.

    Raises:
        BaseException: What a call raises.
    """
    left = deque(items)

    def work() -> None:
        try:
            while True:
                try:
                    item = left.popleft()
                except IndexError:
                    return
                call(item)
        except BaseException:
            left.clear()
            raise

    def on(threads: int) -> None:
        if threads < 2:
            work()
        else:
            at_once(work, partial(on, threads - 1))

    on(min(threads, len(left)))


def at_once(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Call two functions at the same time; where no thread can be started, one after the other.

    The second one's thread is made for this call and ends with it, so that nothing has to survive a fork and calls may
    be nested. If that thread has not come to its turn when the first function ends, this thread calls the second one,
    too: nobody waits for a thread that did not begin.

    Args:
        first: Called by this thread.
        second: Called by another thread, or by this one.

    Returns:
        What they return.

    Raises:
        BaseException: What either raises; of two exceptions that of the first. An interrupt is raised when both ended.
    """
    results: list[B] = []
    errors: list[BaseException] = []
    begun, ended = _thread.allocate_lock(), _thread.allocate_lock()  # whoever takes the first one calls `second`
    ended.acquire()

    def call() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            results.append(second())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.release()

    try:
        _start(call)
    except (RuntimeError, MemoryError):  # there are too many threads, or the interpreter ends
        return first(), second()
    try:
        result = first()
    finally:
        ours = begun.acquire(blocking=False)
        if not ours:
            ended.acquire()
    if ours:
        return result, second()
    if errors:
        raise errors.pop()
    return result, results[0]


def _start(call: Callable[[], None]) -> None:
    # not `threading.Thread`, whose `start` waits, and where memory ends for ever, until the thread has begun
    _thread.start_new_thread(call, ())


def free_cores() -> int:
    """Return how many threads may compute at the same time: one on each core, but one alone beside other searches."""
    return 1 if searches() else cores()


def cores() -> int:
    """Return how many cores this process may use: in a container often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
