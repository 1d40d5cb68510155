"""Text to words and character bigrams.

The unit is the word: a run of letters and digits. Kiwi analyses every distinct word once, on its own, and each
text is kept as a sequence of word numbers. Measured on KLUE-MRC contexts this is more than twice as fast as analysing
whole sentences, and BM25 over the morphemes of single words is *better* (a word becomes the same morphemes in the
question and in the passage, whatever stands around it).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from langchain_klue_rerank.engine.priority import gently
from langchain_klue_rerank.engine.text.numbers import plain_numbers

#: Changes whenever the same text gives other words or morphemes; saved with an index.
ANALYSIS_VERSION = 4

#: Longest word handed to the analyser, in characters. Longer runs (a megabyte without a space) are cut into pieces.
MAX_WORD_LENGTH = 32


#: Characters read at a time: a few milliseconds.
_AT_ONCE = MAX_WORD_LENGTH * 1024

_SURROGATE = re.compile("[\ud800-\udfff]")
# Full-width letters, circled numbers, squared units and the like mean the same as their plain form. Jamo such as
# "ㅋㅋ" are left alone: NFKC would turn them into conjoining jamo.
_COMPATIBILITY = re.compile(
    r"[\u00aa\u00b2\u00b3\u00b9\u00ba\u2070-\u209f\u2100-\u214f\u2150-\u218f\u2460-\u24ff"
    r"\u3200-\u33ff\ufb00-\ufb06\uff01-\uff9f\uffe0-\uffef]+"
)
#: Unicode counts Hangul fillers as letters. Of the wide ones, people write spaces; the conjoining ones have no width.
_WIDE_FILLER = re.compile("[\u3164\uffa0]")
_INVISIBLE = re.compile("[\u00ad\u115f\u1160\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
#: A word: letters and digits. The minus that `plain_numbers` leaves is part of it, and so are the signs of names such
#: as C++, C#, A+.
_WORD = re.compile(
    r"(?<!\S)-(?=\d)[^\W_]+"
    r"|(?<![^\W_])(?:[a-z]{1,15}\+\+(?!\+)|[a-z]\#(?![a-z#])|[a-z]\+(?![^\W_]|\+))[^\W_]*"
    r"|[^\W_]+"
)
_LETTER = re.compile(r"[^\W_\u115f\u1160\u3164\uffa0]")
#: Most combining marks on one letter, as in Unicode's stream-safe format; putting longer runs in order is quadratic.
MAX_MARKS = 30
_LETTERS_AND_EMOJI = r"\w\s\u0000-\u02ff\u2010-\u20cf\u2190-\u2bff\u3000-\u3029\U0001f000-\U0001faff"
_MAYBE_MARKS = re.compile(f"(?:[^{_LETTERS_AND_EMOJI}]|[\uff9e\uff9f]){{{MAX_MARKS + 1}}}")


@lru_cache(maxsize=1)
def _too_many_marks() -> re.Pattern[str]:
    """Match runs of too many combining marks, and of what normalization turns into them; the first may stay."""
    marks = [chr(code) for code in range(0x300, 0x20000) if unicodedata.combining(chr(code))]
    kind = "".join(map(re.escape, [*marks, "\u0f73", "\u0f75", "\u0f81", "\uff9e", "\uff9f"]))
    return re.compile(f"([{kind}]{{{MAX_MARKS}}})[{kind}]+")


def clean(text: str) -> str:
    """Make text safe to store and show: NFC, and no lone surrogates.

    Text from macOS arrives decomposed (NFD); halves of a surrogate pair arrive from broken JSON and cannot be
    written as UTF-8. Pairs are joined, single halves become U+FFFD. Of combining marks in a row the first `MAX_MARKS`
    stay.

    Args:
        text: Any string.

    Returns:
        The same text in NFC, encodable as UTF-8.
    """
    if text.isascii():
        return text
    # bounded again: one mark may become two (U+0344)
    return _bounded("".join(map(_normalized, pieces(_bounded(text)))))


def _bounded(text: str) -> str:
    parts = range(0, len(text), _AT_ONCE)
    if any(_MAYBE_MARKS.search(text, start, start + _AT_ONCE + MAX_MARKS) for start in parts):
        return _too_many_marks().sub(r"\1", text)
    return text


def _normalized(text: str) -> str:
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return unicodedata.normalize("NFC", text)


def split_words(text: str) -> list[str]:
    """Split text into lower-case words, the unit of everything that searches.

    Compatibility forms become plain ones, invisible characters vanish, and numbers are written one way (see
    `numbers.plain_numbers`): "10,000" and "10000" are one word, "101,102동" are two, "만원" is "1만원".

    Args:
        text: Any string; need not be normalised.

    Returns:
        The words in order, none longer than `MAX_WORD_LENGTH` characters; an empty list for text without any letter or
        digit.
    """
    words: list[str] = []
    for piece in pieces(_bounded(text)):
        piece = _INVISIBLE.sub("", _WIDE_FILLER.sub(" ", _normalized(piece)))
        piece = _COMPATIBILITY.sub(_compatible, piece).lower()
        for word in _WORD.findall(plain_numbers(piece)):
            if len(word) <= MAX_WORD_LENGTH:
                words.append(word)
            else:
                words += [word[i : i + MAX_WORD_LENGTH] for i in range(0, len(word), MAX_WORD_LENGTH)]
    return words


def has_words(text: str) -> bool:
    """Return whether text has any searchable word."""
    return _LETTER.search(text) is not None or any(split_words(piece) for piece in pieces(text))


def _compatible(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match.group())


def pieces(text: str, size: int = _AT_ONCE) -> Iterator[str]:
    """Cut text into pieces of at most `size` characters: at the end of a line, else at a space, else between letters.

    Regular expressions and normalization hold Python's lock until they return; a piece at a time, no text stops the
    other threads for long.
    """
    start = 0
    while len(text) - start > size:
        last = start + size
        end = text.rfind("\n", start + size // 2, last) + 1 or text.rfind(" ", start + size // 2, last) + 1
        if not end:  # what normalization joins stays together: marks, vowels and final consonants
            joined = (one for one in range(last, last - size // 4, -1) if _begins(text[one]))
            end = next(joined, last)
        yield text[start:end]
        start = end
    yield text[start:]


def _begins(character: str) -> bool:
    return character.isalnum() and not "\u1160" <= character <= "\u11ff" and not "\uff9e" <= character <= "\uff9f"


def bigrams(word: str) -> list[str]:
    """Return the character bigrams of a word; a word of one character is its own."""
    return [word] if len(word) == 1 else [word[i : i + 2] for i in range(len(word) - 1)]


def bigrams_of(words: Iterable[str]) -> list[list[str]]:
    """Return the character bigrams of each word."""
    return [bigrams(word) for word in gently(words, 1024)]
