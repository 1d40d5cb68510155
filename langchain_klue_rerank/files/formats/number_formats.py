"""Excel's number formats: a value as the sheet shows it, with its unit, its decimals and its way to write dates."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from itertools import accumulate, pairwise

#: A format's parts: quoted or escaped text, a currency, colours and conditions, space and filling, elapsed time,
#: placeholders of digits, parts of dates.
_PARTS = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|\[\$(?P<currency>[^\]-]*)[^\]]*\]|\[(?P<elapsed>h+|m+|s+)\]|(?P<nothing>\[[^\]]*\]|_.|\*.)'
    r"|(?P<digits>(?:\.?[0#?][0#?,]*)(?:\.[0#?]*)?|\.[0#?]+)|(?P<half>am/pm|a/p|오전/오후)"
    r"|(?P<date>y+|m+|d+|a{3,4}|h+|s+(?:\.0+)?)|(?P<percent>%)|(?P<general>general|@)|(?P<other>.)",
    re.I | re.S,
)
#: Formats of dates that Excel shows as the country writes them, and those that programs use by default.
_LOCAL_DATES = frozenset({"", "general", "mm-dd-yy", "m/d/yy h:mm", "yyyy-mm-dd h:mm:ss", "yyyy-mm-dd hh:mm:ss"})
_WEEKDAYS = "월화수목금토일"
#: The longest format that is followed; a longer one is no format.
_LONGEST = 300

Moment = datetime.datetime | datetime.date | datetime.time


def shown(value: object, number_format: str) -> str:
    """Write the value of a cell as Excel shows it.

    Args:
        value: What openpyxl read: text, a number, a date, a time, a duration, or None.
        number_format: The cell's format. One that is not understood shows the plain value.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if len(number_format) > _LONGEST:
        number_format = ""
    if isinstance(value, datetime.timedelta):
        return _duration(value, number_format)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return _moment(value, number_format)
    if isinstance(value, int | float):
        return _number(value, number_format)
    return " ".join(str(value).split())


def _sections(number_format: str) -> list[str]:
    """Split a format at the semicolons outside of quotes: for positive and negative numbers, zero, and text."""
    found = re.findall(r'(?:"[^"]*"|\\.|[^;"\\])+|(?<=;)(?=;|$)|^(?=;)', number_format, re.S)
    return found or [""]


def _parts(section: str) -> Iterator[tuple[str, str]]:
    for match in _PARTS.finditer(section):
        yield match.lastgroup or "other", match[match.lastgroup or 0] or ""


def _number(value: float, number_format: str) -> str:
    if not math.isfinite(value):
        return str(value)
    sections = _sections(number_format)
    section, is_negative = sections[0], value < 0
    if is_negative and len(sections) > 1:
        section, value, is_negative = sections[1], -value, False
    elif value == 0 and len(sections) > 2:
        section = sections[2]
    parts = list(_parts(section))
    kinds = [kind for kind, _ in parts]
    patterns = [text for kind, text in parts if kind == "digits"]
    if "date" in kinds or "elapsed" in kinds or re.search(r"[0#?] ?(?:/|E[+-])[ 0#?]", section):  # fractions, exponents
        return _general(-value if is_negative else value)
    number = Decimal(repr(abs(value))) * 100 ** kinds.count("percent")
    numbers = iter(_spread(number, patterns))
    written = "".join(
        next(numbers)
        if kind == "digits"
        else _general(abs(value))
        if kind == "general"
        else ""
        if kind == "nothing"
        else text
        for kind, text in parts
    )
    if not written.strip():
        written = _general(abs(value))
    is_negative = is_negative and re.search("[1-9]", written) is not None
    return " ".join((f"-{written}" if is_negative else written).split())


def _general(value: float) -> str:
    number = int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
    return f"{number:.15g}" if isinstance(number, float) else str(number)


def _spread(number: Decimal, patterns: list[str]) -> list[str]:
    """Write a number into one pattern, or its digits from the right into several, as in telephone numbers."""
    if len(patterns) < 2:
        return [_digits(number, pattern) for pattern in patterns]
    sizes = [len(pattern) for pattern in patterns]
    digits = str(int(number.quantize(Decimal(1), ROUND_HALF_UP))).rjust(sum(sizes), "0")
    ends = list(accumulate(sizes, initial=len(digits) - sum(sizes)))
    return [digits[(start if place else 0) : end] for place, (start, end) in enumerate(pairwise(ends))]


def _digits(number: Decimal, pattern: str) -> str:
    whole, _, decimals = pattern.partition(".")
    thousands = len(whole) - len(whole.rstrip(","))
    number = (number / 1000**thousands).quantize(Decimal(1).scaleb(-len(decimals)), ROUND_HALF_UP)
    written = f"{number:,f}" if "," in whole.rstrip(",") else f"{number:f}"
    before, _, after = written.partition(".")
    after = after[: decimals.count("0")] + after[decimals.count("0") :].rstrip("0")
    if before == "0" and "0" not in whole:
        before = ""
    before = before.rjust(whole.count("0"), "0")
    return f"{before}.{after}" if after else before


def _moment(value: Moment, number_format: str) -> str:
    section = _sections(number_format)[0]
    parts = list(_parts(section))
    kinds = [kind for kind, _ in parts]
    if section.lower() in _LOCAL_DATES or "date" not in kinds:
        return _iso(value)
    half = "half" in kinds
    written, is_time = [], False
    for place, (kind, text) in enumerate(parts):
        if kind == "date":
            letters = text.lower()
            after = next((own.lower() for own_kind, own in parts[place + 1 :] if own_kind == "date"), "")
            is_minute = letters in ("m", "mm") and (is_time or after.startswith("s"))
            written.append(_field(value, "n" * len(letters) if is_minute else letters, half))
            is_time = letters[0] in "hs" or is_minute
        elif kind == "half":
            afternoon = isinstance(value, datetime.datetime | datetime.time) and value.hour >= 12
            korean = "412" in section or "오전" in text
            written.append((("AM", "PM"), ("오전", "오후"))[korean][afternoon])
        elif kind not in ("nothing", "general"):
            written.append(text)
    return " ".join("".join(written).split()) or _iso(value)


def _field(value: Moment, letters: str, half: bool) -> str:
    kind, width = letters[0], len(letters)
    if kind in "hns":
        if not isinstance(value, datetime.datetime | datetime.time):
            return "0".rjust(min(width, 2), "0")
        number = {"h": (value.hour - 1) % 12 + 1 if half else value.hour, "n": value.minute, "s": value.second}[kind]
    else:
        if isinstance(value, datetime.time):
            return ""
        if kind == "y":
            return f"{value.year:04}" if width > 2 else f"{value.year % 100:02}"
        if kind == "a":
            return _WEEKDAYS[value.weekday()] + ("요일" if width > 3 else "")
        if width > 2:
            return value.strftime({"m": "%b", "d": "%a"}[kind] if width == 3 else {"m": "%B", "d": "%A"}[kind])
        number = value.month if kind == "m" else value.day
    return str(number).rjust(min(width, 2), "0")


def _iso(value: Moment) -> str:
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ", "minutes")
    return value.isoformat("minutes") if isinstance(value, datetime.time) else value.isoformat()


def _duration(value: datetime.timedelta, number_format: str) -> str:
    seconds = round(value.total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    written = f"{hours}:{minutes:02}"
    if "s" in number_format.lower():
        written += f":{abs(seconds) % 60:02}"
    return f"-{written}" if seconds < 0 else written
