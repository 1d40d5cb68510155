"""PDF: the lines of each page, which `tokenized.unwrap` makes paragraphs of again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from langchain_klue_rerank.files.content import Piece
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

#: How the items of lists and the articles of rules begin.
_ITEM = re.compile(
    r"[•●○◦▪■□◆◇※▶▷☞·\-–—*](?=\s|[가-힣])|\(?(?:\d{1,2}|[가나다라마바사아자차카타파하])[.)](?=\s|[가-힣])|[①-⑳]|제\s?\d+\s?[조장절관항]"
)
#: Shares of the size of a line's letters: more between two words parts the cells of a table, more between two lines
#: parts paragraphs, more space than the next word takes means that the line has ended by itself.
_CELLS, _PARAGRAPHS, _SPACE = 2.5, 1.5, 0.8
#: Where there are several spaces, narrower ones part cells, if the widest is that many times as wide as most.
_UNLIKE_CELLS, _UNLIKE = 1.2, 1.5
#: Where Korean letters meet Latin ones or figures, word processors leave a gap that is no space ("15 일의"): shares of
#: the size up to which a space that only the gap stands for, and one before a full stop without room, are dropped.
_AUTOSPACE, _NO_ROOM = 0.26, 0.05
_MEETING = re.compile(r"(?<=[가-힣]) (?=[0-9A-Za-z])|(?<=[0-9A-Za-z%]) (?=[가-힣])|(?<=\S) (?=[.,])")
#: Letters of another size, as of a heading.
_OTHER_SIZE = 1.2
#: How far away lines of one column are looked for, in lines, and how much deeper some begin, in sizes.
_NEAR, _INDENT = 20, 3.0


def read_pdf(path: str, content: bytes) -> list[Piece]:
    """Read a PDF: a piece for each page with text, its lines as they stand.

    Where the layout says that a line does not go on in the next one, as in tables and lists and before headings, an
    empty line stands between them.

    Raises:
        UnreadableFileError: If it wants a password or is damaged.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        raise UnreadableFileError(
            Problem(path, "password" if "password" in str(error).lower() else "damaged")
        ) from error
    pieces = []
    with document:
        for number in range(len(document)):
            try:
                page = document[number]
                text = _page_text(page.get_textpage())
            except pypdfium2.PdfiumError as error:
                if len(document) == 1:
                    raise UnreadableFileError(Problem(path, "damaged", 0, f"page {number + 1}")) from error
                continue
            if text.strip():
                pieces.append(Piece(text, {"page": number + 1}))
            page.close()
    return pieces


@dataclass(slots=True)
class _Line:
    """A line of a page, in points from the lower left corner.

    Attributes:
        first: The index of its first letter.
        text: What it says.
        left: Where it begins.
        right: Where it ends.
        bottom: Its lower edge.
        size: The height of its letters.
    """

    first: int
    text: str
    left: float
    right: float
    bottom: float
    size: float


def _page_text(page: Any) -> str:
    """Return the text of a page of pypdfium2, an empty line after each line that ends by itself."""
    text: str = page.get_text_range()
    if len(text) != page.count_chars():  # letters and boxes could not be matched
        return text
    lines: list[_Line | None] = []
    shown: list[str] = []
    for found in re.finditer(r"[^\r\n]+", text):
        line = found.group().rstrip()
        if line.strip():
            lines.append(_measured(page, found.start() + len(line) - len(line.lstrip()), line.strip()))
            shown.append(_without_autospace(page, found.start(), line))
    parts: list[str] = []
    for place, line in enumerate(shown):
        parts.append(line)
        if place + 1 < len(lines) and _ends(page, lines, place):
            parts.append("")
    return "\n".join(parts)


def _without_autospace(page: Any, first: int, line: str) -> str:
    """Return a line without the spaces that its letters do not have; see `_AUTOSPACE`."""
    from pypdfium2.raw import FPDFText_IsGenerated

    def kept(found: re.Match[str]) -> str:
        place = first + found.start()
        _, bottom, before, top = page.get_charbox(place - 1, loose=True)
        after, _, _, _ = page.get_charbox(place + 1, loose=True)
        is_stop = line[found.end()] in ".,"
        if not is_stop and not FPDFText_IsGenerated(page, place):
            return " "
        return " " if after - before > (_NO_ROOM if is_stop else _AUTOSPACE) * (top - bottom) else ""

    return _MEETING.sub(kept, line)


def _measured(page: Any, first: int, text: str) -> _Line | None:
    """Return a line with its place; None if it does not run from left to right."""
    left, bottom, _, top = page.get_charbox(first, loose=True)
    last_left, last_bottom, right, _ = page.get_charbox(first + len(text) - 1, loose=True)
    size = top - bottom
    if size <= 0 or last_left < left or abs(last_bottom - bottom) > size:
        return None
    return _Line(first, text, left, right, bottom, size)


def _ends(page: Any, lines: Sequence[_Line | None], place: int) -> bool:
    """Return whether a line surely does not go on in the next one."""
    line, following = lines[place], lines[place + 1]
    if following is not None and _ITEM.match(following.text):
        return True
    if line is None or following is None:
        return False
    if max(line.size, following.size) > _OTHER_SIZE * min(line.size, following.size):
        return True
    if following.bottom > line.bottom:  # the next column
        return False
    if line.bottom - following.bottom - following.size > _PARAGRAPHS * line.size:
        return True
    column = [
        one
        for one in lines[max(0, place - _NEAR) : place + _NEAR]
        if one is not None and abs(one.left - line.left) < _INDENT * line.size and one.size < _OTHER_SIZE * line.size
    ]
    word = following.text.split()[0]
    left, _, _, _ = page.get_charbox(following.first, loose=True)
    _, _, right, _ = page.get_charbox(following.first + len(word) - 1, loose=True)
    if max(one.right for one in column) - line.right > right - left + _SPACE * line.size:
        return True
    return _is_row(page, line) or _is_row(page, following)


def _is_row(page: Any, line: _Line) -> bool:
    """Return whether a line has cells far apart: the spaces of a justified line are wide, too, but alike."""
    gaps: list[float] = []
    for space in re.finditer(r" +", line.text):
        _, _, before, _ = page.get_charbox(line.first + space.start() - 1, loose=True)
        after, _, _, _ = page.get_charbox(line.first + space.end(), loose=True)
        gaps.append((after - before) / line.size)
    if len(gaps) == 1:
        return gaps[0] > _CELLS
    return bool(gaps) and max(gaps) > max(_UNLIKE_CELLS, _UNLIKE * median_low(gaps))
