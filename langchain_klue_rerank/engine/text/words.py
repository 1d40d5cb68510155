"""Text to words and character bigrams; numbers written one way; the parts of a text that must match exactly.

The unit is the word: a run of letters and digits. Kiwi analyses every distinct word once, on its own, and each
text is kept as a sequence of word numbers. Measured on KLUE-MRC contexts this is more than twice as fast as analysing
whole sentences, and BM25 over the morphemes of single words is *better* (a word becomes the same morphemes in the
question and in the passage, whatever stands around it).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from langchain_klue_rerank.engine.threads import give_way

#: Changes whenever the same text gives other words or morphemes; saved with an index.
ANALYSIS_VERSION = 4

#: Longest word handed to the analyser, in characters. Longer runs (a megabyte without a space) are cut into pieces.
MAX_WORD_LENGTH = 32

#: Characters read at a time: a few milliseconds.
_AT_ONCE = MAX_WORD_LENGTH * 1024
#: Words whose bigrams are made between two pauses for searches.
_WORDS_AT_ONCE = 1024

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
#: Most texts consist of these characters alone, which normalization leaves as they are; nor is one of them invisible,
#: a compatibility form or a combining mark. Looking is ten times as fast as normalizing.
_UNUSUAL = re.compile(
    r"[^\t\n\r -~\xa0-\xa9\xab\xac\xae-\xb1\xb4-\xb8\xbb-\xff\u2010-\u2027\u2030-\u205e\u2190-\u22ff\u2500-\u26ff"
    r"\u3000-\u3029\u3041-\u3096\u30a1-\u30fa\u3131-\u3163\u4e00-\u9fff가-힣]"
)
#: Of those, after `str.lower`, the letters and digits: what `_WORD` finds where no word may have a sign.
_USUAL_WORD = re.compile(
    r"[0-9a-z\xb5\xba\xbc-\xbe\xdf-\xf6\xf8-\xff\u3005-\u3007\u3021-\u3029\u3041-\u3096\u30a1-\u30fa\u3131-\u3163"
    r"\u4e00-\u9fff가-힣]+"
)
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
    if text.isascii() or not _unusual(text):
        return text
    # bounded again: one mark may become two (U+0344)
    return _bounded("".join(map(_normalized, pieces(_bounded(text)))))


def _unusual(text: str) -> bool:
    return any(_UNUSUAL.search(text, start, start + _AT_ONCE) for start in range(0, len(text), _AT_ONCE))


def encodable(text: str) -> str:
    """Return text that UTF-8 can say: the same, with a question mark for every half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


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
    `plain_numbers`): "10,000" and "10000" are one word, "101,102동" are two, "만원" is "1만원".

    Args:
        text: Any string; need not be normalised.

    Returns:
        The words in order, none longer than `MAX_WORD_LENGTH` characters; an empty list for text without any letter or
        digit.
    """
    words: list[str] = []
    unusual = _unusual(text)
    for piece in pieces(_bounded(text) if unusual else text):
        if unusual:
            piece = _INVISIBLE.sub("", _WIDE_FILLER.sub(" ", _normalized(piece)))
            piece = _COMPATIBILITY.sub(_compatible, piece)
        piece = plain_numbers(piece.lower())
        signs = "-" in piece or "+" in piece or "#" in piece
        found = (_WORD if unusual or signs else _USUAL_WORD).findall(piece)
        if max(map(len, found), default=0) <= MAX_WORD_LENGTH:
            words += found
        else:
            words += [word[i : i + MAX_WORD_LENGTH] for word in found for i in range(0, len(word), MAX_WORD_LENGTH)]
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


def bigrams_of(words: Sequence[str]) -> list[list[str]]:
    """Return the character bigrams of each word."""
    found: list[list[str]] = []
    for start in range(0, len(words), _WORDS_AT_ONCE):
        if start:
            give_way()
        found += [bigrams(word) for word in words[start : start + _WORDS_AT_ONCE]]
    return found


# Numbers in Korean text: thousands or lists, signs, sums of money in words.

#: Numbers with commas between them.
_COMMAS = re.compile(r"(?<![\d,])\d+(?:,\d+)+(?!\d)")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
#: What is numbered, not counted: "101,102동" are two buildings, "101,102원" is one sum.
_NUMBERED = re.compile(r"\s?(?:동|호|층|반|쪽|면|항|페이지|번지|번 출구|강의실|교실)")
_COUNTED = re.compile(
    r"\s?(?:원|달러|엔|유로|위안|명|개|건|대|권|부|장|채|가구|세대|톤|평|주|표|㎞|km|kg|㎏|m|t|㎡|%|[십백천만억조])"
)
#: Largest step between neighbours of a list.
_STEP = 20

#: A date in figures, its separator the same twice; "2024. 3. 5." is one, and a longer chain of numbers is none.
_DATE = re.compile(
    r"(?<![\d.\-/])((?:19|20)\d\d)([.\-/]) ?(0?[1-9]|1[0-2])\2 ?(0?[1-9]|[12]\d|3[01])(?!\d|[.\-/]\d)(?:\.(?=\s|$))?"
)
#: A month or a day with a zero before it.
_ZERO = re.compile(r"(?<!\d)0(?=[1-9]\s?[월일](?!\d))")

#: A sign stands after a space or an opening mark; at the beginning of a line it may also begin an item of a list, so
#: that there a unit has to follow.
_SIGN = re.compile(r"(?:(?<=[ \t(\[{~:/,])|^(?=.\d+(?:\.\d+)?\s?(?:°|도|%|[cf](?![a-z]))))[-\u2212]", re.MULTILINE)
_HYPHEN = re.compile(r"[-\u2212](?=\d)")

_DIGITS = {digit: number for number, digit in enumerate("일이삼사오육칠팔구", 1)}
_UNITS = {"십": 10, "백": 100, "천": 1000}
_MYRIADS = {"만": 10_000, "억": 100_000_000}
#: A sum of money in digits, words or both, with a space before 원 or without; what may follow are particles, no other
#: word. A lone digit in words is none: "이 원고".
_SUM = re.compile(
    r"(?<![^\W_])(?<!\d\.)"
    r"(\d{4,12}|(?:\d{1,4}|[일이삼사오육칠팔구])?[십백천만억](?:\s?(?:\d{1,4}|[일이삼사오육칠팔구])?[십백천만억]|\d{1,4}|[일이삼사오육칠팔구]){0,9})"
    r"(?=\s?원"
    r"(?:[은을이의에과도만씩]|으로|부터|까지|에서|짜리|이나|이면|이고|이며|입니다|이다|이에요|정|권|대|어치|가량|쯤)?(?![^\W_]))"
)
#: What such a sum ends with; cheaper to look for.
_END_OF_SUM = re.compile(r"[\d십백천만억일이삼사오육칠팔구]\s?원")
_PART = re.compile(r"\d+|[^\W\d]")
_DIGIT = re.compile(r"\d")


def plain_numbers(text: str) -> str:
    """Normalise numbers, so that equal numbers become the same word.

    Commas between thousands go: three digits each, after one to three. In a list of numbers ("101,102,103동") they
    become spaces; whether it is one, what follows tells (동 is numbered, 원 is counted), and where nothing does, that
    the numbers rise in small steps. A minus sign stays where it is one, so that "-5℃" is not "5℃"; other hyphens before
    digits become spaces. Sums of money are written one way: "만원" becomes "1만원", and "35,000원", "3만 5천원" and
    "삼만오천원" become "3만5천원". Dates are written one way, too: "2024.03.05" and "2024-3-5" become "2024년 3월 5일".

    Args:
        text: Text in lower case, in NFC.
    """
    # looking for a character takes a small part of the time of an expression that finds nothing
    if _DIGIT.search(text):
        if "19" in text or "20" in text:
            text = _DATE.sub(lambda match: f"{match[1]}년 {int(match[3])}월 {int(match[4])}일", text)
        if "0" in text:
            text = _ZERO.sub("", text)
        if "," in text:
            text = _COMMAS.sub(_without_commas, text)
        if "-" in text or "\u2212" in text:
            text = _HYPHEN.sub(lambda match: " -" if _SIGN.match(match.string, match.start()) else " ", text)
    if _END_OF_SUM.search(text):
        text = _SUM.sub(lambda match: _written(_value(match.group(1))), text)
    return text


def _without_commas(match: re.Match[str]) -> str:
    written = match.group()
    if not _THOUSANDS.fullmatch(written) or _is_list(written.split(","), match.string, match.end()):
        return written.replace(",", " ")
    return written.replace(",", "")


def _is_list(parts: list[str], text: str, end: int) -> bool:
    if len(parts[0]) < 3 or _COUNTED.match(text, end):
        return False
    if _NUMBERED.match(text, end):
        return True
    numbers = [int(part) for part in parts]
    return all(0 < after - before <= _STEP for before, after in pairwise(numbers))


def _value(written: str) -> int:
    """Return the value of a number in digits and words: 15000 for "만오천", "1만5천", "15000"."""
    total = group = digit = 0
    for part in _PART.findall(written):
        if part.isdigit():
            digit = int(part)
        elif part in _DIGITS:
            digit = _DIGITS[part]
        elif part in _UNITS:
            group, digit = group + (digit or 1) * _UNITS[part], 0
        else:
            total, group, digit = total + (group + digit or 1) * _MYRIADS[part], 0, 0
    return total + group + digit


def _written(value: int) -> str:
    """Write a number with 억, 만 and, where nothing is left over, 천: "3만5천", "1만2500"."""
    parts = []
    for unit, size in (("억", 100_000_000), ("만", 10_000)):
        count, value = divmod(value, size)
        if count:
            parts.append(f"{count}{unit}")
    if value:
        parts.append(f"{value // 1000}천" if value % 1000 == 0 else str(value))
    return "".join(parts) or "0"


# Exact parts of a text: quoted forms, numbers and codes.

_QUOTED = re.compile(
    r"'([^']{1,60})'|\"([^\"]{1,60})\"|‘([^‘’]{1,60})’|“([^“”]{1,60})”|「([^」]{1,60})」|『([^』]{1,60})』|`([^`]{1,60})`"
)


def quoted_forms(text: str) -> list[tuple[str, ...]]:
    """Return what stands in quotation marks, each as words; only around something short they quote a form.

    Args:
        text: Any string.

    Returns:
        The distinct forms in order, none empty.
    """
    forms = (tuple(split_words("".join(groups))) for groups in _QUOTED.findall(text))
    return list(dict.fromkeys(form for form in forms if form))


def exact_share(text: str, words: Sequence[str] | None = None) -> float:
    """Return the share of a query that must match exactly: of its letters, those in numbers and quotes.

    No vector tells "제12조" from "제21조", or "-던" from "-든". Fusion gives vectors so much less weight; on kinds of
    questions without such things it loses nothing (see docs/failures.md).

    Args:
        text: The query.
        words: Its words in order, if the caller has them.

    Returns:
        0..1; 0 for a query without words.
    """
    if words is None:
        words = split_words(text)
    quoted = {word for form in quoted_forms(text) for word in form}
    exact = sum(len(word) for word in words if word in quoted or _DIGIT.search(word))
    return exact / max(sum(map(len, words)), 1)
