"""Priority of searches over indexing among threads that share an interpreter.

A search makes hundreds of short NumPy calls, and each gives Python's lock away. Beside a thread that indexes it gets
the lock back up to 5 ms later (`sys.getswitchinterval`), so that a search of 20 ms takes ten times as long. Indexing
therefore pauses while searches compute, for half of its time at most.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

#: Seconds that indexing pauses before it goes on for as long, however many searches there are. A search that begins
#: while indexing goes on takes longer by about as much.
_LONGEST_PAUSE = 0.005

#: Threads that compute a search.
_searching: set[int] = set()
_local = threading.local()

if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_searching.clear)


@contextmanager
def searching() -> Iterator[None]:
    """Mark what this thread computes as a search; see `give_way`. May be nested."""
    thread = threading.get_ident()
    if thread in _searching:
        yield
        return
    try:
        _searching.add(thread)
        yield
    finally:
        _searching.discard(thread)


def searches() -> int:
    """Return how many threads compute a search."""
    return len(_searching)


@contextmanager
def reading_all() -> Iterator[None]:
    """Let what this thread computes make way for other searches although it is part of one; see `searching`."""
    thread = threading.get_ident()
    marked = thread in _searching
    _searching.discard(thread)
    try:
        yield
    finally:
        if marked:
            _searching.add(thread)


def give_way() -> None:
    """Pause while other threads compute searches; called by indexing every millisecond or so."""
    if not _searching or threading.get_ident() in _searching:
        return
    start = time.monotonic()
    if start < getattr(_local, "works_until", 0.0):
        return
    waited = 0.0
    while _searching and waited < _LONGEST_PAUSE:
        time.sleep(0.001)
        waited = time.monotonic() - start
    _local.works_until = start + 2 * waited


def gently(items: Iterable[T], every: int = 64) -> Iterator[T]:
    """Yield items, and let searches of other threads compute first.

    Args:
        items: What a loop that holds Python's lock goes through.
        every: Items between two pauses; a millisecond or less.
    """
    iterator = iter(items)
    yield from islice(iterator, every)  # not before the first: a query's few words do not wait
    for item in iterator:
        give_way()
        yield item
        yield from islice(iterator, every - 1)
