"""Tokenized texts: sequences of word numbers, the form in which the engine reads text.

Texts from PDF files have words split by line breaks, and syllables separated by spaces or lines. Of texts that somebody
gives, only the words that are searched are mended (`mend`), those of questions and passages; the text itself stays as
it is. Pages that we read ourselves become paragraphs again (`unwrap`).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.text.kiwi import Analyzer
from langchain_klue_rerank.engine.text.words import clean, split_words
from langchain_klue_rerank.engine.threads import gently, give_way

#: Characters, a millisecond's work, after which a search in another thread may go first.
_CHARACTERS = 1000
#: Characters, some tenths of a second's work, that are tokenized while those before are embedded.
PART = 1 << 18


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Several texts as sequences of word numbers.

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

    @classmethod
    def join(cls, parts: Sequence[TokenizedTexts]) -> TokenizedTexts:
        """Return the texts of all parts, at least one, as if they had been tokenized together."""
        if len(parts) == 1:
            return parts[0]
        numbers: dict[str, int] = {}
        morphemes: list[tuple[str, ...]] = []
        ids = []
        for part in parts:
            every = gently(part.words, 4096)
            own = np.asarray([numbers.setdefault(word, len(numbers)) for word in every], np.int32)
            morphemes += [part.morphemes[place] for place in np.flatnonzero(own >= len(morphemes)).tolist()]
            ids.append(own[part.word_ids] if len(own) else part.word_ids)
        offsets = np.cumsum(np.concatenate([[0], *(part.lengths() for part in parts)]), dtype=np.int64)
        return cls([*numbers], morphemes, np.concatenate(ids), offsets)

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of words of each text."""
        return np.diff(self.offsets)

    def words_of(self, row: int) -> list[str]:
        """Return the words of one text, in order."""
        return [self.words[number] for number in self.word_ids[self.offsets[row] : self.offsets[row + 1]].tolist()]

    def take(self, rows: NDArray[np.integer]) -> TokenizedTexts:
        """Return some of the texts, numbered among themselves; a text may be taken twice."""
        if len(rows) == len(self) and bool((rows == np.arange(len(self))).all()):
            return self
        texts = Ragged(self.word_ids, self.offsets).take(rows)
        used, local = np.unique(texts.values, return_inverse=True)
        return TokenizedTexts(
            words=[self.words[number] for number in gently(used.tolist(), 4096)],
            morphemes=[self.morphemes[number] for number in gently(used.tolist(), 4096)],
            word_ids=local.astype(np.int32),
            offsets=texts.offsets,
        )


def parts_of(texts: Sequence[str]) -> list[slice]:
    """Cut texts into runs of about `PART` characters, at least one text each."""
    places, read = [0], 0
    for place, text in enumerate(gently(texts, 4096)):
        if read >= PART:
            places.append(place)
            read = 0
        read += len(text)
    return [slice(start, end) for start, end in pairwise([*places, len(texts)])]


def tokenize(texts: Iterable[str], analyzer: Analyzer | None) -> TokenizedTexts:
    """Turn texts into word numbers, and each distinct word into morphemes.

    Args:
        texts: Any strings.
        analyzer: The analyser that makes the morphemes, or None for words (and so bigrams) alone. It also joins words
            that a page's layout has split (`mend`).

    Returns:
        The tokenized texts, in order.
    """
    vocabulary: dict[str, int] = {}
    ids = array("i")  # made into NumPy's without a step for each
    offsets = [0]
    read = 0
    for text in texts:
        if read >= _CHARACTERS:
            give_way()
            read = 0
        read += len(text)
        if isinstance(analyzer, Analyzer):
            text = mend(text, analyzer)
        ids.extend([vocabulary.setdefault(word, len(vocabulary)) for word in split_words(text)])
        offsets.append(len(ids))
    words = list(vocabulary)
    return TokenizedTexts(
        words=words,
        morphemes=analyzer.morphemes(words) if analyzer is not None else [()] * len(words),
        word_ids=np.asarray(ids, dtype=np.int32),
        offsets=np.asarray(offsets, dtype=np.int64),
    )


#: Single syllables, each on its own, with spaces or ends of lines between them: a heading, a narrow column.
_APART = re.compile(r"(?<!\S)[가-힣](?:[ \t]{0,2}[ \n][ \t]{0,2}[가-힣]){2,29}(?!\S)")
#: Three of them, the first after a space: cheaper to look for.
_MAYBE_APART = re.compile(r"\s[가-힣](?:[ \t]{0,2}[ \n][ \t]{0,2}[가-힣]){2}")
#: Syllables that a morpheme of such a word has on average, at least: what is read one by one, such as the days of the
#: week, has one.
_SYLLABLES = 1.5
#: A word that may go on in the next line.
_BREAK = re.compile(r"([가-힣]{1,12})\n(?=([가-힣]{1,12}))")
#: A line was broken by the page's width if it fills this share of the longest, or of a column; others are titles and
#: items. Texts of short lines tell nothing.
_FULL, _COLUMN, _SHORT = 0.6, 40, 20
#: Minimum gain in log-likelihood for joining two words. Of words that a space parts in running text 0.4% are
#: joined, of words cut anywhere 89%.
_GAIN = 4.0
#: The same for pages, whose lines do not say whether they ended in a space: the likelier of both.
_GAIN_OF_PAGES = 0.0
#: A line of a page that fills this share of the longest one was wrapped, a shorter one has ended by itself.
_FULL_LINE = 0.75
#: Longest part of a word at the end of a line that Kiwi is asked about.
_WORD = 32
_LAST_SYLLABLES, _FIRST_SYLLABLES = re.compile(r"[가-힣]{1,12}$"), re.compile(r"[가-힣]{1,12}")
#: Ends of lines looked at in a text; each takes Kiwi a fraction of a millisecond.
_MOST = 2000


def count_words(texts: Iterable[str], analyzer: Analyzer) -> list[int]:
    """Return how many words `tokenize` makes of each text."""
    return [len(split_words(mend(text, analyzer))) if text else 0 for text in gently(texts)]


def mend(text: str, analyzer: Analyzer) -> str:
    """Join words that a page's layout has split.

    Args:
        text: Any text.
        analyzer: Tells likely words from unlikely ones.
    """
    text = clean(text)
    if _MAYBE_APART.search(f" {text}"):
        text = _APART.sub(lambda match: _together(match.group(), analyzer), text)
    if "\n" not in text:
        return text
    longest = max(map(len, text.split("\n")))
    full = 0 if longest <= _SHORT else _FULL * min(longest, _COLUMN)
    asked = 0

    def joined(match: re.Match[str]) -> str:
        nonlocal asked
        if asked == _MOST or match.end(1) - text.rfind("\n", 0, match.start()) - 1 < full:
            return match.group()
        asked += 1
        return match[1] if analyzer.gain_of_joining(match[1], match[2]) > _GAIN else match.group()

    return _BREAK.sub(joined, text)


def _together(apart: str, analyzer: Analyzer) -> str:
    word = "".join(apart.split())
    if "\n" not in apart and len(word) < 4:
        return apart
    return word if len(word) >= _SYLLABLES * analyzer.count(word) else apart


def unwrap(lines: list[str], analyzer: Analyzer) -> list[str]:
    """Join lines that a page's width has broken, in the middle of a word too.

    Args:
        lines: The lines of one page.
        analyzer: Tells likely words from unlikely ones.

    Returns:
        The paragraphs: PDF files keep neither them nor the spaces at the ends of lines.
    """
    longest = max(map(len, lines), default=0)
    paragraphs: list[list[str]] = []
    last = ""  # the line that another one may continue
    for line in lines:
        if last and line:
            paragraphs[-1] += (_between(last, line, analyzer), line)
        else:
            paragraphs.append([line])
        last = line if len(line) >= _FULL_LINE * longest and not re.search(r"[.!?:]$", line) else ""
    return ["".join(parts) for parts in paragraphs]


def _between(before: str, after: str, analyzer: Analyzer) -> str:
    """Return what stood between two lines, nothing or a space."""
    left, right = before[-4 * _WORD :].split()[-1][-_WORD:], after[: 4 * _WORD].split()[0][:_WORD]
    if re.match(r"[.,!?)\]]", right) or (left[-1].isdigit() and not right[0].isdigit()):
        return ""
    cut, rest = _LAST_SYLLABLES.search(left), _FIRST_SYLLABLES.match(right)
    if cut and rest:
        left, right = cut.group(), rest.group()
    return "" if analyzer.gain_of_joining(left, right) > _GAIN_OF_PAGES else " "
