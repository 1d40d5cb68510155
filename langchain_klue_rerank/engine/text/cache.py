"""What was computed of texts, kept within bounds."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from langchain_klue_rerank.engine.threads import ForkSafeLock

Value = TypeVar("Value")


class TextCache(Generic[Value]):
    """Values of texts, of which those that were not asked for longest go first. May be used by several threads at once.

    The texts themselves are not kept, only their hashes.

    Args:
        limit: Most of what `size` counts, summed over the values.
        size: Size of a value.
    """

    def __init__(self, limit: int, size: Callable[[Value], int]) -> None:
        self._limit = limit
        self._size_of = size
        self._kept: OrderedDict[bytes, Value] = OrderedDict()
        self._size = 0
        self._lock = ForkSafeLock()

    def get(self, texts: Iterable[str]) -> dict[str, Value]:
        """Return the values of those texts that are here."""
        keys = {text: _key(text) for text in texts}
        found = {}
        with self._lock:
            for text, key in keys.items():
                if key in self._kept:
                    self._kept.move_to_end(key)
                    found[text] = self._kept[key]
        return found

    def put(self, values: Mapping[str, Value]) -> None:
        """Keep values; one that is larger than the limit is not kept."""
        keys = {text: _key(text) for text in values}
        with self._lock:
            for text, value in values.items():
                if keys[text] in self._kept or self._size_of(value) > self._limit:
                    continue
                self._kept[keys[text]] = value
                self._size += self._size_of(value)
                while self._kept and self._size > self._limit:
                    _, oldest = self._kept.popitem(last=False)
                    self._size -= self._size_of(oldest)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
