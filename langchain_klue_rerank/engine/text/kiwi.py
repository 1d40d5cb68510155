"""Kiwi: words into content morphemes, text into sentences."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kiwipiepy import Kiwi
from langchain_klue_rerank.engine.text.words import clean

logger = logging.getLogger(__name__)


#: Sejong tags of morphemes that carry content: nouns, numerals, pronouns, verb and adjective stems, modifiers,
#: adverbs, roots, prefixes, foreign words, Chinese characters, numbers. Particles, endings and symbols do not.
CONTENT_TAGS = frozenset(
    {"NNG", "NNP", "NNB", "NR", "NP", "VV", "VA", "MM", "MAG", "XR", "XPN", "SL", "SH", "SN", "IC"}
)


class Analyzer:
    """Words into content morphemes with Kiwi, each distinct word analysed once and remembered.

    Kiwi is loaded on first use, once, whatever the number of threads that ask. It is loaded without its dictionary of
    multi-word names: that costs 190 MB and 1.5 s at start, and no word of ours has a space.

    Args:
        cache_size: How many words to remember; the oldest are forgotten first. Default 500,000 (some 100 MB when full).
    """

    def __init__(self, cache_size: int = 500_000) -> None:
        self._cache: dict[str, tuple[str, ...]] = {}
        self._cache_size = cache_size
        self._lock = threading.RLock()
        self._kiwi: Kiwi | None = None
        self._before_fork: list[Kiwi] = []
        _ANALYZERS.add(self)

    def _after_fork(self) -> None:
        """Start anew in a forked process, which has none of Kiwi's threads, and where another may hold the lock.

        The parent's Kiwi is kept: its destructor would wait for its threads for ever.
        """
        self._lock = threading.RLock()
        if self._kiwi is not None:
            self._before_fork.append(self._kiwi)
            self._kiwi = None

    @property
    def kiwi(self) -> Kiwi:
        """The loaded Kiwi."""
        with self._lock:
            if self._kiwi is None:
                from kiwipiepy import Kiwi

                kiwi = Kiwi(num_workers=min(8, os.cpu_count() or 1), load_multi_dict=False)
                kiwi.tokenize("준비")  # the first call builds the automaton
                self._kiwi = kiwi
                logger.debug("Kiwi loaded")
            return self._kiwi

    def morphemes(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the content morphemes of each word.

        Args:
            words: Words as `split_words` returns them.

        Returns:
            For each word its content morphemes as ``form/TAG``, in order; empty for a word of particles only.
        """
        with self._lock:
            cache = self._cache
            new = [word for word in dict.fromkeys(words) if word not in cache]
            fresh = dict(zip(new, self._analyze(new), strict=True)) if new else {}
            found = [fresh[word] if word in fresh else cache[word] for word in words]
            cache.update(fresh)
            for word in list(islice(cache, max(0, len(cache) - self._cache_size))):
                del cache[word]
            return found

    def _analyze(self, words: list[str]) -> Iterator[tuple[str, ...]]:
        for tokens in self.kiwi.tokenize(words):
            yield tuple(
                f"{token.form.lower()}/{token.tag.split('-')[0]}"
                for token in tokens
                if token.tag.split("-")[0] in CONTENT_TAGS
            )

    def sentences(self, text: str) -> list[str]:
        """Split text into sentences with Kiwi, for showing the one that matched."""
        text = clean(text)
        with self._lock:
            return [sentence.text for sentence in self.kiwi.split_into_sents(text)]


_ANALYZERS: weakref.WeakSet[Analyzer] = weakref.WeakSet()


def _restart_analyzers() -> None:
    for analyzer in list(_ANALYZERS):
        analyzer._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_analyzers)


@lru_cache(maxsize=1)
def shared_analyzer() -> Analyzer:
    """Return the analyser that the whole process shares: Kiwi takes a second to load and 250 MB."""
    return Analyzer()
