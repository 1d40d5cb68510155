"""How long calls take, and how much memory this process holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def timed(
    call: Callable[[T], object], arguments: Iterable[T], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the milliseconds that a call took for each argument."""
    times = []
    for argument in arguments:
        start = clock()
        call(argument)
        times.append(1000 * (clock() - start))
    return times


def memory(key: str) -> float:
    """Return a size in ``/proc/self/status`` in MiB, such as ``VmHWM``, the peak; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
    return int(lines[key].split()[0]) / 1024
