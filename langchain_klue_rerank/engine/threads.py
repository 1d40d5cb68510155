"""What the threads of a process share: priority of searches, locks that survive a fork, values made once, deadlines.

A search makes hundreds of short NumPy calls, and each gives Python's lock away. Beside a thread that indexes it gets
the lock back up to 5 ms later (`sys.getswitchinterval`), so that a search of 20 ms takes ten times as long. While
searches compute, indexing therefore works a millisecond at a time and pauses three times as long as it worked: a search
takes about a third longer than alone, and indexing four times as long at most, however many searches there are.

A forked process has the locks of its parent as they were at that moment, but none of the threads that hold them: one
that another thread held would never be released. Here a forked process gets new ones. That is right where what
a lock guards is whole at every moment, which the index's single assignment and the caches' single steps see to.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:

    class _RLock:
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def __enter__(self) -> bool: ...
        def __exit__(self, *_: object) -> None: ...
        def _at_fork_reinit(self) -> None: ...

else:
    _RLock = type(threading.RLock())

T = TypeVar("T")
Loaded = TypeVar("Loaded")


#: Seconds that indexing works between two pauses, and how many times as long a pause takes.
_WORKS, _TIMES = 0.001, 3.0
#: Most seconds of work that a pause is for: what was done before the search began needs none.
_COUNTED = 0.01
#: Seconds after which a pausing thread looks whether the searches have ended.
_LOOKS = 0.001
#: When the present or the last pause ends, and when the last one ended (`time.monotonic`). All threads that index pause
#: together: taking turns, they would leave no time between them.
_pauses_until = _works_since = -math.inf

#: Threads that compute a search.
_searching: set[int] = set()

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
    """Return how many other threads compute a search."""
    return len(_searching) - (threading.get_ident() in _searching)


@contextmanager
def making_way() -> Iterator[None]:
    """Mark a part of a search that is none for the others: it reads every passage, or waits for a service."""
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
    global _pauses_until, _works_since
    if not _searching or threading.get_ident() in _searching:
        return
    now = time.monotonic()
    if now >= _pauses_until:
        if now < _works_since + _WORKS:
            return
        _pauses_until = now + _TIMES * min(now - _works_since, _COUNTED)
    while _searching and (left := _pauses_until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOKS))
    _works_since = time.monotonic()


def gently(items: Iterable[T], every: int = 64) -> Iterable[T]:
    """Return items to loop over, between which searches of other threads compute first.

    Args:
        items: What a loop that holds Python's lock goes through.
        every: Items between two pauses; a millisecond or less. So few items are returned as they are.
    """
    return items if isinstance(items, Sized) and len(items) <= every else _pausing(items, every)


def _pausing(items: Iterable[T], every: int) -> Iterator[T]:
    iterator = iter(items)
    yield from islice(iterator, every)
    for item in iterator:
        give_way()
        yield item
        yield from islice(iterator, every - 1)


class ForkSafeLock(_RLock):
    """A lock that its thread may take again, renewed in a forked process.

    ``with`` takes it in one step of the interpreter: a Python method could be interrupted between the lock and the
    block, and the lock would stay taken for ever.
    """

    def __init__(self) -> None:
        _LOCKS.add(self)


class ForkSafeSemaphore:
    """A semaphore, renewed in a forked process.

    Args:
        value: How many may hold it at once.
    """

    def __init__(self, value: int) -> None:
        self._value = value
        self._at_fork_reinit()
        _LOCKS.add(self)

    def _at_fork_reinit(self) -> None:
        self._semaphore = threading.Semaphore(self._value)

    def acquire(self, timeout: float = -1) -> bool:
        """Wait for a place.

        Args:
            timeout: Seconds to wait at most; -1 without end.

        Returns:
            Whether there is one.
        """
        return self._semaphore.acquire(timeout=None if timeout < 0 else timeout)

    def release(self) -> None:
        """Give the place back."""
        self._semaphore.release()

    def __enter__(self) -> Self:
        self._semaphore.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._semaphore.release()


_LOCKS: weakref.WeakSet[ForkSafeLock | ForkSafeSemaphore] = weakref.WeakSet()


def _renew() -> None:
    for lock in list(_LOCKS):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


class Lazy(Generic[Loaded]):
    """A value made on first use, once, whatever the number of threads that ask at the same time.

    A copy or a pickle of it is a lazy value that has not been made yet: a loaded model is not copied.

    Args:
        make: Makes the value.
    """

    def __init__(self, make: Callable[[], Loaded]) -> None:
        self._make = make
        self._lock = ForkSafeLock()
        self._value: Loaded | None = None

    @property
    def made(self) -> bool:
        """Whether the value is there already."""
        return self._value is not None

    def __call__(self) -> Loaded:
        """Return the value, making it if need be; a failure is raised to every caller and tried again by the next."""
        value = self._value
        if value is None:
            with self._lock:
                value = self._value = self._make() if self._value is None else self._value
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        return Lazy, (self._make,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Lazy[Loaded]:
        return Lazy(self._make)


def seconds_until(deadline: float) -> float:
    """Return how long to wait for a value of `time.monotonic`: 0 if it is over, and no more than a lock can wait."""
    # Half, because a semaphore adds the current time to it and waits for the rounded difference, which may be more.
    return min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX / 2)
