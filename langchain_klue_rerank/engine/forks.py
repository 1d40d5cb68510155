"""Locks that survive a fork.

A forked process has the locks of its parent as they were at that moment, but none of the threads that hold them: one
that another thread held would never be released. Here a forked process has all of them anew. That is right where what
a lock guards is whole at every moment, which the index's single assignment and the caches' single steps see to.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Self


class ForkSafeLock:
    """A lock, renewed in a forked process.

    Args:
        make: Makes the lock of the `threading` module that does the work: ``threading.Lock`` (the default), ``RLock``,
            or a function that makes a ``Semaphore``.
    """

    def __init__(self, make: Callable[[], Any] = threading.Lock) -> None:
        self._make = make
        self._lock = make()
        _LOCKS.add(self)

    def acquire(self, timeout: float = -1) -> bool:
        """Wait for the lock.

        Args:
            timeout: Seconds to wait at most; -1 without end.

        Returns:
            Whether the lock is ours.
        """
        return bool(self._lock.acquire(timeout=None if timeout < 0 and self._is_semaphore else timeout))

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def _is_semaphore(self) -> bool:
        return isinstance(self._lock, threading.Semaphore)


_LOCKS: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew() -> None:
    for lock in list(_LOCKS):
        lock._lock = lock._make()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
