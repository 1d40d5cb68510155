"""Numbers that Word writes before paragraphs by itself: they stand in no text of the file, but everybody reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_LEVELS = 9
#: Deepest chain of styles, each based on the next, that is followed: a file may have circles.
_MOST_STYLES = 32
#: Numbers beyond are written in digits: nobody counts in letters so far.
_MOST_LETTERS = 780
#: Characters of a pattern such as "제%1조" that are read.
_LONGEST = 200

_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_REPEATED = {
    "upperLetter": _LATIN,
    "lowerLetter": _LATIN.lower(),
    "ganada": "가나다라마바사아자차카타파하",
    "chosung": "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ",
}
#: Digits of systems that say ten, hundred and thousand, with these; and of those that write digit after digit.
_COUNTED = {
    "koreanCounting": ("영일이삼사오육칠팔구", "십백천"),
    "japaneseCounting": ("〇一二三四五六七八九", "十百千"),
}
_DIGITS = {
    "koreanDigital": "영일이삼사오육칠팔구",
    "koreanDigital2": "零一二三四五六七八九",
    "ideographDigital": "〇一二三四五六七八九",
}
#: Other names of the same.
_ALIKE = {
    "chineseCounting": "japaneseCounting",
    "chineseCountingThousand": "japaneseCounting",
    "taiwaneseCounting": "japaneseCounting",
    "taiwaneseCountingThousand": "japaneseCounting",
    "taiwaneseDigital": "ideographDigital",
    "japaneseDigitalTenThousand": "ideographDigital",
    "decimalEnclosedCircleChinese": "decimalEnclosedCircle",
}
_NATIVE = ("", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
#: First character and how many there are.
_ENCLOSED = {
    "decimalEnclosedCircle": ("①", 20),
    "decimalEnclosedParen": ("⑴", 20),
    "decimalEnclosedFullstop": ("⒈", 20),
}
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"),
    (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


def written(number: int, form: str) -> str:
    """Write a number as Word does.

    Args:
        number: From 0.
        form: The name of a format in ECMA-376 (``ST_NumberFormat``), such as ``ganada``; digits for one unknown here.
    """
    form = _ALIKE.get(form, form)
    if form == "none":
        return ""
    if form in _REPEATED and 0 < number <= _MOST_LETTERS:
        letters = _REPEATED[form]
        return letters[(number - 1) % len(letters)] * ((number - 1) // len(letters) + 1)
    if form in ("upperRoman", "lowerRoman") and 0 < number < 4000:
        found = ""
        for value, letters in _ROMAN:
            found += letters * (number // value)
            number %= value
        return found.upper() if form == "upperRoman" else found
    if form in _COUNTED and number < 10_000:
        return _counted(number, *_COUNTED[form])
    if form in _DIGITS:
        return "".join(_DIGITS[form][int(figure)] for figure in str(number))
    if form == "koreanLegal" and 0 < number < 100:
        return _NATIVE_TENS[number // 10] + _NATIVE[number % 10]
    if form in _ENCLOSED and 0 < number <= _ENCLOSED[form][1]:
        return chr(ord(_ENCLOSED[form][0]) + number - 1)
    if form == "decimalZero":
        return f"{number:02}"
    return str(number)


def _counted(number: int, digits: str, tens: str) -> str:
    if not number:
        return digits[0]
    found = ""
    for place, figure in enumerate(reversed(str(number))):
        if figure != "0":
            name = digits[int(figure)] if figure != "1" or not place else ""
            found = name + (tens[place - 1] if place else "") + found
    return found


@dataclass
class _Level:
    start: int = 1
    form: str = "decimal"
    text: str = ""
    is_legal: bool = False
    joint: str = " "
    restart: int | None = None


@dataclass
class _List:
    """A numbering instance: which list's counters it uses, its levels, and where it starts anew."""

    counters: str
    levels: dict[int, _Level]
    overrides: dict[int, int]
    used: set[int] = field(default_factory=set)


class Numbers:
    """The numbers of a document's paragraphs, which must be asked for in order.

    Args:
        numbering: The root of ``numbering.xml``; None where there is none.
        styles: The root of ``styles.xml``.
    """

    def __init__(self, numbering: Any | None, styles: Any) -> None:
        self._lists: dict[str, _List] = {}
        self._styles: dict[str, tuple[str, int]] = {}
        self._counts: dict[str, list[int | None]] = {}
        if numbering is None:
            return
        abstract = {_value(one, "abstractNumId"): one for one in numbering.iter(f"{_W}abstractNum")}
        linked = {
            link.get(f"{_W}val"): one for one in abstract.values() if (link := one.find(f"{_W}styleLink")) is not None
        }
        style_of_level: dict[tuple[str, str], int] = {}
        for one in numbering.iter(f"{_W}num"):
            number, reference = _value(one, "numId"), one.find(f"{_W}abstractNumId")
            own = abstract.get(reference.get(f"{_W}val")) if reference is not None else None
            if own is not None and (link := own.find(f"{_W}numStyleLink")) is not None:
                own = linked.get(link.get(f"{_W}val"), own)
            if own is None:
                continue
            levels = {}
            for level in own.iter(f"{_W}lvl"):
                place = _number(_value(level, "ilvl"))
                levels[place] = _level(level)
                if (style := level.find(f"{_W}pStyle")) is not None:
                    style_of_level[number, style.get(f"{_W}val", "")] = place
            overrides = {}
            for override in one.iter(f"{_W}lvlOverride"):
                place = _number(_value(override, "ilvl"))
                if (level := override.find(f"{_W}lvl")) is not None:
                    levels[place] = _level(level)
                if (start := override.find(f"{_W}startOverride")) is not None:
                    overrides[place] = _number(start.get(f"{_W}val"))
            self._lists[number] = _List(_value(own, "abstractNumId"), levels, overrides)
        self._read_styles(styles, style_of_level)

    def _read_styles(self, styles: Any, style_of_level: dict[tuple[str, str], int]) -> None:
        known = {_value(one, "styleId"): one for one in styles.iter(f"{_W}style")}
        for name in known:
            current: str | None = name
            place: int | None = None
            for _ in range(_MOST_STYLES):
                style = known.get(current or "")
                if style is None or current is None:
                    break
                number, own_place = _numbering_of(style)
                place = own_place if place is None else place
                if number is not None:
                    found = style_of_level.get((number, current), 0) if place is None else place
                    self._styles[name] = (number, found)
                    break
                based = style.find(f"{_W}basedOn")
                current = based.get(f"{_W}val") if based is not None else None

    def before(self, paragraph: Any) -> str:
        """Return what Word writes before a paragraph, with the space after it, and count it.

        Args:
            paragraph: The element ``w:p``.
        """
        if not self._lists:
            return ""
        number, place = _numbering_of(paragraph)
        style = paragraph.find(f"{_W}pPr/{_W}pStyle")
        if style is not None and (number is None or place is None):
            style_number, style_place = self._styles.get(style.get(f"{_W}val", ""), (None, 0))
            place = style_place if place is None and (number is None or number == style_number) else place
            number = style_number if number is None else number
        found = self._lists.get(number or "")
        place = min(max(place or 0, 0), _LEVELS - 1)
        if found is None or place not in found.levels:
            return ""
        counts = self._count(found, place)
        level = found.levels[place]
        if level.form == "bullet":
            return ""
        text = level.text
        for other in range(place, -1, -1):
            own = found.levels.get(other, _Level())
            form = "decimal" if level.is_legal else own.form
            count = counts[other]
            text = text.replace(f"%{other + 1}", written(own.start if count is None else count, form))
        return f"{text}{level.joint}" if text.strip() else ""

    def _count(self, found: _List, place: int) -> list[int | None]:
        counts = self._counts.setdefault(found.counters, [None] * _LEVELS)
        if place in found.overrides and place not in found.used:
            counts[place] = found.overrides[place]
        else:
            before = counts[place]
            counts[place] = found.levels[place].start if before is None else before + 1
        found.used.add(place)
        for deeper in range(place + 1, _LEVELS):
            restart = found.levels.get(deeper, _Level()).restart
            # 0 never starts again; n starts again only after a level of that place or above
            if restart is None or place < restart:
                counts[deeper] = None
        return counts


def _numbering_of(element: Any) -> tuple[str | None, int | None]:
    """Return the list that a paragraph or a style names itself, and the level."""
    own = element.find(f"{_W}pPr/{_W}numPr")
    if own is None:
        return None, None
    number, place = own.find(f"{_W}numId"), own.find(f"{_W}ilvl")
    return (
        number.get(f"{_W}val") if number is not None else None,
        _number(place.get(f"{_W}val")) if place is not None else None,
    )


def _level(element: Any) -> _Level:
    values = {
        name: element.find(f"{_W}{name}") for name in ("start", "numFmt", "lvlText", "suff", "lvlRestart", "isLgl")
    }
    given = {name: one.get(f"{_W}val") for name, one in values.items() if one is not None}
    form = given.get("numFmt") or "decimal"
    if values["numFmt"] is None:  # newer formats stand in an alternative, with a plain one beside it
        form = next((one.get(f"{_W}val", "decimal") for one in element.iter(f"{_W}numFmt")), "decimal")
    return _Level(
        start=_number(given.get("start"), 0 if "start" not in given else 1),
        form=form,
        text=(given.get("lvlText") or "")[:_LONGEST],
        is_legal="isLgl" in given and given["isLgl"] not in ("0", "false"),
        joint="" if given.get("suff") == "nothing" else " ",
        restart=_number(given["lvlRestart"]) if "lvlRestart" in given else None,
    )


def _value(element: Any, name: str) -> str:
    return str(element.get(f"{_W}{name}", ""))


def _number(text: str | None, default: int = 0) -> int:
    """Read a small number; files may hold anything."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 7 else default


def numbers_of(document: Any) -> Numbers:
    """Return the numbers of a document of python-docx."""
    parts: Iterator[Any] = (
        one.target_part for one in document.part.rels.values() if one.reltype.endswith("/numbering")
    )
    part = next(parts, None)
    return Numbers(getattr(part, "element", None), document.styles.element)
