"""Where text becomes words, morphemes and character bigrams.

The unit is the word: a run of letters and digits. Kiwi analyses every distinct word once, on its own, and each
text is kept as a sequence of word numbers. Measured on KLUE-MRC contexts this is more than twice as fast as analysing
whole sentences, and BM25 over the morphemes of single words is *better* (a word becomes the same morphemes in the
question and in the passage, whatever stands around it).
"""

from __future__ import annotations

import logging
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

logger = logging.getLogger(__name__)

#: Longest word handed to the analyser, in characters. Longer runs (a megabyte without a space) are cut into pieces.
MAX_WORD_LENGTH = 32


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
