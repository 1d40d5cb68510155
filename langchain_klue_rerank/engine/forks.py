"""Locks that work after a fork, and Ctrl-C.

A forked process has the locks of its parent as they were at that moment, but none of the threads that hold them: one
that another thread held would never be released. Here a forked process gets new ones. That is right where what
a lock guards is whole at every moment, which the index's single assignment and the caches' single steps see to.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:

    class _RLock:
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def __enter__(self) -> bool: ...
        def __exit__(self, *_: object) -> None: ...
        def _at_fork_reinit(self) -> None: ...

else:
    _RLock = type(threading.RLock())


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
