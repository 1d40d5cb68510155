"""The words, morphemes and bigrams of an index and their numbers, shared by all of its segments."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import GrowingRagged, Ragged
from langchain_klue_rerank.engine.arrays.strings import GrowingStrings, StringTable
from langchain_klue_rerank.engine.text.spellings import INITIAL_OF
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.text.words import bigrams_of, split_words
from langchain_klue_rerank.engine.threads import gently, give_way

#: A saved part of the terms is saved anew, in one with a later part, when it is at most so many times as long.
_TIMES = 2
#: Words that are added between two pauses for searches.
_ADDED_AT_ONCE = 1 << 16
#: Words whose initial consonants are found at a time, and words of given ones that are counted.
_AT_ONCE, _MOST = 10_000, 10_000


@dataclass(frozen=True, slots=True)
class TermsPart:
    """A stretch of the terms, as it lies in the files of its own. What a name stands for never changes.

    Attributes:
        name: Its name among all indexes.
        first: The numbers of its first word, morpheme and bigram.
        last: The numbers after its last ones.
    """

    name: str
    first: tuple[int, int, int]
    last: tuple[int, int, int]


class Terms:
    """Words, and the morphemes and bigrams that each consists of. Numbers are given once and never change.

    One thread adds; any number of threads read meanwhile.

    Args:
        words: Saved words, in the order of their numbers.
        morphemes: Saved morphemes.
        bigrams: Saved bigrams.
        word_morphemes: For each saved word the numbers of its morphemes.
        word_bigrams: The same of its bigrams.
    """

    def __init__(
        self,
        words: Sequence[StringTable] = (),
        morphemes: Sequence[StringTable] = (),
        bigrams: Sequence[StringTable] = (),
        word_morphemes: Ragged | None = None,
        word_bigrams: Ragged | None = None,
    ) -> None:
        self.words = GrowingStrings(words)
        self.morphemes = GrowingStrings(morphemes)
        self.bigrams = GrowingStrings(bigrams)
        self.word_morphemes = GrowingRagged(word_morphemes)
        self.word_bigrams = GrowingRagged(word_bigrams)
        self._initials: _Initials | None = None
        self._parts: list[TermsPart] = []

    @classmethod
    def of_parts(
        cls,
        names: Sequence[str],
        words: Sequence[StringTable],
        morphemes: Sequence[StringTable],
        bigrams: Sequence[StringTable],
        word_morphemes: Sequence[Ragged],
        word_bigrams: Sequence[Ragged],
    ) -> Terms:
        """Make terms of parts that were saved, at least one; see the class."""
        terms = cls(words, morphemes, bigrams, Ragged.join(word_morphemes), Ragged.join(word_bigrams))
        last = (0, 0, 0)
        for name, *tables in zip(names, words, morphemes, bigrams, strict=True):
            first = last
            last = (first[0] + len(tables[0]), first[1] + len(tables[1]), first[2] + len(tables[2]))
            terms._parts.append(TermsPart(name, first, last))
        return terms

    def parts(self) -> tuple[TermsPart, ...]:
        """Return the parts in which all present terms are to be saved; those that were saved keep their names.

        The caller sees to it that nobody adds meanwhile.
        """
        parts = list(self._parts)
        first = parts[-1].last if parts else (0, 0, 0)
        last = (len(self.words), len(self.morphemes), len(self.bigrams))
        if last != first or not parts:
            while parts and parts[-1].last[0] - parts[-1].first[0] <= _TIMES * (last[0] - first[0]):
                first = parts.pop().first
            parts.append(TermsPart(new_name(), first, last))
            self._parts = parts
        return tuple(parts)

    def add(self, texts: TokenizedTexts) -> Ragged:
        """Number the words of texts.

        Returns:
            The texts as word numbers.
        """
        numbers = self.words.find(texts.words)
        known = len(self.words)
        new = np.flatnonzero(numbers < 0).tolist()
        if new:
            words: list[str] = []
            morphemes, bigrams = [], []
            for start in range(0, len(new), _ADDED_AT_ONCE):
                if start:
                    give_way()
                some = new[start : start + _ADDED_AT_ONCE]
                words += [texts.words[place] for place in some]
                morphemes.append(_rows(self.morphemes, [texts.morphemes[place] for place in some]))
                bigrams.append(_bigram_rows(self.bigrams, words[start:]))
            # The words come last: interrupted before, the rows behind the last word count for nothing.
            self.word_morphemes.append(Ragged.join(morphemes), known)
            self.word_bigrams.append(Ragged.join(bigrams), known)
            numbers[new] = self.words.append(words)
        values = numbers.astype(np.int32)[texts.word_ids] if len(texts.word_ids) else np.zeros(0, np.int32)
        return Ragged(values, texts.offsets)

    def only(self, words: NDArray[np.integer]) -> tuple[Terms, dict[str, NDArray[np.int64]]]:
        """Return the terms of some words, numbered anew in the same order; no string of the others is kept.

        Args:
            words: The words' numbers, distinct and rising.

        Returns:
            The terms, and by field the old numbers of the morphemes and bigrams, rising: the new number of each is its
            place.
        """
        used: dict[str, NDArray[np.int64]] = {}
        rows: dict[str, Ragged] = {}
        for name, table in (("morpheme", self.word_morphemes), ("bigram", self.word_bigrams)):
            own = table.rows.take(words)
            numbers, places = np.unique(own.values, return_inverse=True)
            used[name], rows[name] = numbers.astype(np.int64), Ragged(places.astype(np.int32), own.offsets)
        morphemes, bigrams = self.morphemes.table(used["morpheme"]), self.bigrams.table(used["bigram"])
        for strings in (morphemes, bigrams):
            _ = strings.search  # else the first query would make it
        return Terms([self.words.table(words)], [morphemes], [bigrams], rows["morpheme"], rows["bigram"]), used

    def texts(self, passages: Ragged) -> TokenizedTexts:
        """Turn texts as word numbers back into what `tokenize` made of them."""
        used, local = np.unique(passages.values, return_inverse=True)
        morphemes = self.word_morphemes.rows.take(used)
        names = self.morphemes.strings(morphemes.values)
        return TokenizedTexts(
            words=self.words.strings(used),
            morphemes=[tuple(names[start:end]) for start, end in pairwise(morphemes.offsets.tolist())],
            word_ids=local.astype(np.int32),
            offsets=passages.offsets,
        )

    def query(self, words: Sequence[str], morphemes: Sequence[Sequence[str]]) -> dict[str, NDArray[np.int64]]:
        """Return the numbers of a query's terms by field, repeated ones repeated; -1 for one that is not here.

        Args:
            words: The query's words in order.
            morphemes: Those of each word.
        """
        return {
            "bigram": self.bigrams.find(list(chain.from_iterable(bigrams_of(words)))),
            "morpheme": self.morphemes.find(list(chain.from_iterable(morphemes))),
        }

    def has(self, text: str) -> bool:
        """Return whether all bigrams of all words of a text are here: without one of them it occurs nowhere."""
        words = split_words(text)
        return bool(words) and bool((self.bigrams.find(list(chain.from_iterable(bigrams_of(words)))) >= 0).all())

    def beginning_with(self, initials: str, most: int) -> list[str]:
        """Return how words of these initial consonants begin, those with the most endings first.

        Args:
            initials: Initial consonants, one for each syllable.
            most: How many to return at most.
        """
        places = self._initials
        known = len(self.words)
        if places is None or places.count != known:
            self._initials = places = _Initials.of(self.words, known)
        found = Counter(self.words[number][: len(initials)] for number in places.find(initials))
        return [begin for begin, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most]]


@dataclass(frozen=True, slots=True)
class _Initials:
    """The initial consonants of words.

    Attributes:
        count: How many words.
        text: All of them, each after a line's end.
        starts: Where each begins, (count,) int64.
    """

    count: int
    text: str
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, words: GrowingStrings, count: int) -> _Initials:
        parts: list[str] = []
        every = words.first(count)
        while part := list(islice(every, _AT_ONCE)):  # a part at a time lets other threads run
            parts.append("\n" + "\n".join(part).translate(INITIAL_OF))
        text = "".join(parts)
        ends = np.frombuffer(text.encode("utf-32-le"), np.uint32) == ord("\n")
        return cls(count, text, np.flatnonzero(ends))

    def find(self, initials: str) -> list[int]:
        """Return the numbers of the words that begin with these initial consonants."""
        sought = "\n" + initials
        places: list[int] = []
        place = self.text.find(sought)
        while place >= 0 and len(places) < _MOST:
            places.append(place)
            place = self.text.find(sought, place + 1)
        return np.searchsorted(self.starts, np.asarray(places, np.int64)).tolist()  # type: ignore[no-any-return]


def new_name() -> str:
    """Return a name that nothing else has, of 12 hexadecimal digits."""
    return uuid.uuid4().hex[:12]


def _bigram_rows(strings: GrowingStrings, words: Sequence[str]) -> Ragged:
    """Number the bigrams of words, none empty, as `bigrams` makes them, without a step of Python for each."""
    codes = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    last = np.cumsum(lengths) - 1
    second = np.append(codes[1:] + np.uint64(1), np.uint64(0))
    second[last] = 0  # there is none; remains only where a word is of one character
    kept = np.ones(len(codes), bool)
    kept[last[lengths > 1]] = False
    pairs, firsts, inverse = np.unique(
        ((codes << np.uint64(32)) | second)[kept], return_index=True, return_inverse=True
    )
    order = np.argsort(firsts)  # new bigrams are numbered in the order in which they come
    halves = zip((pairs[order] >> np.uint64(32)).tolist(), (pairs[order] & np.uint64(0xFFFFFFFF)).tolist(), strict=True)
    found = [chr(one) + chr(other - 1) if other else chr(one) for one, other in gently([*halves], 1024)]
    numbers = np.empty(len(pairs), np.int32)
    numbers[order] = strings.add(found)
    offsets = np.zeros(len(words) + 1, np.int64)
    np.cumsum(np.maximum(1, lengths - 1), out=offsets[1:])
    return Ragged(numbers[inverse], offsets)


def _rows(strings: GrowingStrings, rows: Sequence[Sequence[str]]) -> Ragged:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([*map(len, rows)], out=offsets[1:])
    return Ragged(strings.add(list(chain.from_iterable(rows))).astype(np.int32), offsets)
