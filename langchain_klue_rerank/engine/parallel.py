"""Two parts of a search at the same time, on two cores: NumPy lets go of Python's lock while it computes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from langchain_klue_rerank.engine.threads import searches

A = TypeVar("A")
B = TypeVar("B")


def both(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Call two functions that read and compute, at the same time where there is a core for the second one.

    There is none on a machine with one core and while other threads compute searches; then, and where no thread can be
    started, one is called after the other. The second one's thread is made for this call and ends with it, so that
    nothing has to survive a fork and calls may be nested.

    Args:
        first: Called by this thread.
        second: Called by another thread, or by this one.

    Returns:
        What they return.

    Raises:
        BaseException: What either raises; of two exceptions that of the first. An interrupt is raised when both ended.
    """
    if _cores() < 2 or searches() > 1:
        return first(), second()
    results: list[B] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(second())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, name="klue-search", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # there are too many, or the interpreter ends
        return first(), second()
    try:
        result = first()
    finally:
        thread.join()
    if errors:
        raise errors[0]
    return result, results[0]


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
