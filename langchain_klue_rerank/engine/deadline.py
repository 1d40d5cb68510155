"""Deadlines as values of `time.monotonic`."""

from __future__ import annotations

import threading
import time


def seconds_until(deadline: float) -> float:
    """Return how long to wait for a value of `time.monotonic`: 0 if it is over, and no more than a lock can wait."""
    # Half, because a semaphore adds the current time to it and waits for the rounded difference, which may be more.
    return min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX / 2)
