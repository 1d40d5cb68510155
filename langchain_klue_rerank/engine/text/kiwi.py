"""Kiwi: words into content morphemes, text into sentences."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kiwipiepy import Kiwi
from langchain_klue_rerank.engine.parallel import cores
from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.engine.threads import gently, give_way

logger = logging.getLogger(__name__)


#: Sejong tags of morphemes that carry content: nouns, numerals, pronouns, verb and adjective stems, modifiers,
#: adverbs, roots, prefixes, foreign words, Chinese characters, numbers. Particles, endings and symbols do not.
CONTENT_TAGS = frozenset(
    {"NNG", "NNP", "NNB", "NR", "NP", "VV", "VA", "MM", "MAG", "XR", "XPN", "SL", "SH", "SN", "IC"}
)


#: Words analysed at a time.
_AT_ONCE = 512
#: Characters that are split into sentences at a time, and the longest run without a space among them.
_SENTENCES_AT_ONCE, _LONGEST_RUN = 400, 128
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002][\"'\u201d\u2019)\]]*\s+|\n+")
_LONG_RUN = re.compile(rf"\S{{{_LONGEST_RUN + 1}}}")

#: Words, a fraction of a millisecond, after which a search in another thread may go first.
_WORDS_BETWEEN_PAUSES = 16
#: Words that are looked up in the cache at a time.
_LOOKED_UP_AT_ONCE = 1024


class _Endings(dict[str, str]):
    """What stands behind the form of a morpheme by Kiwi's tag: ``/VV`` for ``VV`` and ``VV-R``; "" without content."""

    def __missing__(self, tag: str) -> str:
        kind = tag.split("-")[0]
        return self.setdefault(tag, f"/{kind}" if kind in CONTENT_TAGS else "")


_ENDINGS = _Endings()


class Analyzer:
    """Words into content morphemes with Kiwi, each distinct word analysed once and remembered.

    Kiwi is loaded on first use, once, whatever the number of threads that ask. It is loaded without its dictionary of
    multi-word names: that costs 190 MB and 1.5 s at start, and no word here has a space.

    Args:
        cache_size: How many words to remember; the oldest are forgotten first. Default 500,000 (some 100 MB when full).
    """

    def __init__(self, cache_size: int = 500_000) -> None:
        self._cache: dict[str, tuple[str, ...]] = {}
        self._cache_size = cache_size
        self._lock = threading.Lock()  # of the words that are remembered, never held while Kiwi works
        self._loading = threading.RLock()
        self._kiwi: Kiwi | None = None
        self._before_fork: list[Kiwi] = []
        _ANALYZERS.add(self)

    def _after_fork(self) -> None:
        """Start again in a forked process, which has none of Kiwi's threads, and where another may hold the lock.

        The parent's Kiwi is kept: its destructor would wait for its threads for ever.
        """
        self._lock, self._loading = threading.Lock(), threading.RLock()
        if self._kiwi is not None:
            self._before_fork.append(self._kiwi)
            self._kiwi = None

    @property
    def kiwi(self) -> Kiwi:
        """The loaded Kiwi."""
        with self._loading:
            if self._kiwi is None:
                from kiwipiepy import Kiwi

                kiwi = Kiwi(num_workers=min(8, cores()), load_multi_dict=False)
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
        found: list[tuple[str, ...]] = []
        unknown: list[int] = []
        for start in range(0, len(words), _LOOKED_UP_AT_ONCE):
            if start:
                give_way()
            with self._lock:  # nobody pauses while holding it
                known = [*map(self._cache.get, words[start : start + _LOOKED_UP_AT_ONCE])]
            unknown += [start + place for place, parts in enumerate(known) if parts is None]
            found += [parts or () for parts in known]
        if not unknown:
            return found
        analyzed: dict[str, tuple[str, ...]] = {}
        new = list(dict.fromkeys([words[place] for place in unknown]))
        # without the lock, and a part at a time: a caller with few words does not wait for one with thousands
        for start in range(0, len(new), _AT_ONCE):
            part = new[start : start + _AT_ONCE]
            fresh = dict(zip(part, self._analyze(part), strict=True))
            analyzed |= fresh
            with self._lock:
                self._cache.update(fresh)
                for word in list(islice(self._cache, max(0, len(self._cache) - self._cache_size))):
                    del self._cache[word]
        for place in gently(unknown, _LOOKED_UP_AT_ONCE):
            found[place] = analyzed[words[place]]
        return found

    def _analyze(self, words: list[str]) -> Iterator[tuple[str, ...]]:
        endings, intern = _ENDINGS, sys.intern
        for place, tokens in enumerate(self.kiwi.tokenize(words)):
            if place and place % _WORDS_BETWEEN_PAUSES == 0:
                give_way()
            # interned: many words share a morpheme, which is then kept, and hashed, once
            yield tuple([intern(token.form.lower() + end) for token in tokens if (end := endings[token.tag])])

    def count(self, word: str) -> int:
        """Return how many morphemes a word has."""
        return len(self.kiwi.tokenize(word))

    def gain_of_joining(self, left: str, right: str) -> float:
        """Return the gain in log-likelihood of reading two words as one."""
        kiwi = self.kiwi
        return float(kiwi.analyze(left + right)[0][1] - kiwi.analyze(f"{left} {right}")[0][1])

    def sentences(self, text: str) -> list[str]:
        """Split text into sentences with Kiwi, for showing the one that matched.

        Sentences longer than `_SENTENCES_AT_ONCE` characters are cut at a space, and runs of more than `_LONGEST_RUN`
        without a space anywhere: Kiwi takes longer and longer for them.
        """
        found: list[str] = []
        for part in _parts(clean(text)):
            if _LONG_RUN.search(part):
                found += [part[i : i + _LONGEST_RUN] for i in range(0, len(part), _LONGEST_RUN)]
            elif part.strip():
                found += [sentence.text for sentence in self.kiwi.split_into_sents(part)]
        return found


def _parts(text: str) -> Iterator[str]:
    """Cut text after ends of sentences, so that no part keeps Kiwi, and with it the whole process, for long."""
    start = 0
    while start < len(text):
        part = text[start : start + _SENTENCES_AT_ONCE]
        if start + len(part) < len(text):
            ends = [match.end() for match in _SENTENCE_END.finditer(part)] or [part.rfind(" ") + 1]
            part = part[: ends[-1] or len(part)]
        start += len(part)
        yield part


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
