"""Where text becomes words, morphemes and character bigrams.

The unit is the word: a run of letters and digits. Kiwi analyses every distinct word once, on its own, and each
text is kept as a sequence of word numbers. Measured on KLUE-MRC contexts this is more than twice as fast as analysing
whole sentences, and BM25 over the morphemes of single words is *better* (a word becomes the same morphemes in the
question and in the passage, whatever stands around it).
"""

from __future__ import annotations

import logging
import os
import re
import threading
import unicodedata
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.ragged import Ragged

if TYPE_CHECKING:
    from kiwipiepy import Kiwi

logger = logging.getLogger(__name__)

#: Longest word handed to the analyser, in characters. Longer runs (a megabyte without a space) are cut into pieces.
MAX_WORD_LENGTH = 32

#: Sejong tags of morphemes that carry content: nouns, numerals, pronouns, verb and adjective stems, modifiers,
#: adverbs, roots, prefixes, foreign words, Chinese characters, numbers. Particles, endings and symbols do not.
CONTENT_TAGS = frozenset(
    {"NNG", "NNP", "NNB", "NR", "NP", "VV", "VA", "MM", "MAG", "XR", "XPN", "SL", "SH", "SN", "IC"}
)

_SURROGATE = re.compile("[\ud800-\udfff]")
# Full-width letters, circled numbers, squared units and the like mean the same as their plain form. Jamo such as
# "ㅋㅋ" are left alone: NFKC would turn them into conjoining jamo.
_COMPATIBILITY = re.compile(
    r"[\u00aa\u00b2\u00b3\u00b9\u00ba\u2070-\u209f\u2100-\u214f\u2150-\u218f\u2460-\u24ff"
    r"\u3200-\u33ff\uff01-\uff9f\uffe0-\uffef]+"
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_WORD = re.compile(r"[^\W_]+")


def clean(text: str) -> str:
    """Make text safe to store and show: NFC, and no lone surrogates.

    Text from macOS arrives decomposed (NFD); halves of a surrogate pair arrive from broken JSON and cannot be
    written as UTF-8. Pairs are joined, single halves become U+FFFD.

    Args:
        text: Any string.

    Returns:
        The same text in NFC, encodable as UTF-8.
    """
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return unicodedata.normalize("NFC", text)


def split_words(text: str) -> list[str]:
    """Split text into lower-case words, the unit of everything that searches.

    Compatibility forms become plain ones, invisible characters vanish, a comma between thousands is dropped
    ("10,000" and "10000" are one word).

    Args:
        text: Any string; need not be normalised.

    Returns:
        The words in order, none longer than `MAX_WORD_LENGTH` characters; an empty list for text without any letter or
        digit.
    """
    text = _INVISIBLE.sub("", clean(text))
    text = _COMPATIBILITY.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    words: list[str] = []
    for word in _WORD.findall(_THOUSANDS.sub("", text.lower())):
        if len(word) <= MAX_WORD_LENGTH:
            words.append(word)
        else:
            words += [word[i : i + MAX_WORD_LENGTH] for i in range(0, len(word), MAX_WORD_LENGTH)]
    return words


def bigrams(word: str) -> list[str]:
    """Return the character bigrams of a word; a word of one character is its own."""
    return [word] if len(word) == 1 else [word[i : i + 2] for i in range(len(word) - 1)]


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


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Several texts as sequences of word numbers, the form in which every engine reads text.

    Attributes:
        words: The distinct words of the texts.
        morphemes: For each distinct word its content morphemes; empty tuples where no analyser was used.
        word_ids: All texts' words one after the other, int32, numbers into `words`.
        offsets: int64, one more than there are texts: text ``i`` is ``word_ids[offsets[i]:offsets[i + 1]]``.
    """

    words: list[str]
    morphemes: list[tuple[str, ...]]
    word_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of words of each text."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.integer]) -> TokenizedTexts:
        """Return some of the texts, numbered among themselves; a text may be taken twice."""
        texts = Ragged(self.word_ids, self.offsets).take(rows)
        used, local = np.unique(texts.values, return_inverse=True)
        return TokenizedTexts(
            words=[self.words[number] for number in used.tolist()],
            morphemes=[self.morphemes[number] for number in used.tolist()],
            word_ids=local.astype(np.int32),
            offsets=texts.offsets,
        )


def tokenize(texts: Iterable[str], analyzer: Analyzer | None) -> TokenizedTexts:
    """Turn texts into word numbers, and each distinct word into morphemes.

    Args:
        texts: Any strings.
        analyzer: What makes the morphemes, or None for words (and so bigrams) alone.

    Returns:
        The tokenized texts, in order.
    """
    vocabulary: dict[str, int] = {}
    ids: list[int] = []
    offsets = [0]
    for text in texts:
        ids += [vocabulary.setdefault(word, len(vocabulary)) for word in split_words(text)]
        offsets.append(len(ids))
    words = list(vocabulary)
    return TokenizedTexts(
        words=words,
        morphemes=analyzer.morphemes(words) if analyzer is not None else [()] * len(words),
        word_ids=np.asarray(ids, dtype=np.int32),
        offsets=np.asarray(offsets, dtype=np.int64),
    )
