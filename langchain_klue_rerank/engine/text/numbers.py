"""Numbers in Korean text: thousands or lists, signs, sums of money in words."""

from __future__ import annotations

import re
from itertools import pairwise

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
_PART = re.compile(r"\d+|[^\W\d]")


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
    text = _DATE.sub(lambda match: f"{match[1]}년 {int(match[3])}월 {int(match[4])}일", text)
    text = _COMMAS.sub(_without_commas, _ZERO.sub("", text))
    text = _HYPHEN.sub(lambda match: " -" if _SIGN.match(match.string, match.start()) else " ", text)
    return _SUM.sub(lambda match: _written(_value(match.group(1))), text)


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
