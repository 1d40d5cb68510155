"""A value made on first use, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from langchain_klue_rerank.engine.forks import ForkSafeLock

Loaded = TypeVar("Loaded")


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
