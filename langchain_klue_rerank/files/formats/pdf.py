"""PDF: the lines of each page, which `tokenized.unwrap` makes paragraphs of again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from langchain_klue_rerank.files.content import ROW, WITHIN_CELL, Cell, Piece, spanned_rows, table_rows
from langchain_klue_rerank.files.formats.ruled_tables import RuledTable, ruled_tables
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

#: How the items of lists and the articles of rules begin.
_ITEM = re.compile(
    r"[•●○◦▪■□◆◇※▶▷☞·\-–—*](?=\s|[가-힣])|\(?(?:\d{1,2}|[가나다라마바사아자차카타파하])[.)](?=\s|[가-힣])|[①-⑳]|제\s?\d+\s?[조장절관항]"
)
_MARK = re.compile(r"\W|\(?(?:\d{1,3}|[가-하a-zA-Z])[.)]|[①-⑳]|[ivxIVX]{1,4}[.)]")
#: Shares of the size of a line's letters: more between two words parts the cells of a table, more between two lines
#: parts paragraphs, more space than the next word takes means that the line has ended by itself.
_CELLS, _PARAGRAPHS, _SPACE = 2.5, 1.5, 0.8
#: Where there are several spaces, narrower ones part cells, if the widest is that many times as wide as most.
_UNLIKE_CELLS, _UNLIKE = 1.2, 1.5
#: Where Korean letters meet Latin ones or figures, word processors leave a gap that is no space ("15 일의"): shares of
#: the size up to which a space that only the gap stands for, and any before a comma or full stop, is dropped.
_AUTOSPACE = 0.28
_MEETING = re.compile(r"(?<=[가-힣]) (?=[0-9A-Za-z])|(?<=[0-9A-Za-z%]) (?=[가-힣])|(?<=\S) (?=[.,])")
#: Letters of another size, as of a heading.
_OTHER_SIZE = 1.2
#: Width of the strips between the columns of a table, in sizes.
_STRIP = 0.7
#: Numbers of pages, which stand alone above or below all other lines.
_PAGE_NUMBER = re.compile(r"[-–—·\s]*(?:p\.? ?)?\d{1,4}(?: ?/ ?\d{1,4})?[-–—·\s]*(?:쪽|페이지)?")
#: How far away lines of one column are looked for, in lines, and how much deeper some begin, in sizes.
_NEAR, _INDENT = 20, 3.0


def read_pdf(path: str, content: bytes) -> list[Piece]:
    """Read a PDF: a piece for each page with text, its lines as they stand.

    Where the layout says that a line does not go on in the next one, as in lists and before headings, an empty line
    stands between them. Rows of tables are lines that begin with `ROW`, with bars between the cells and `WITHIN_CELL`
    where the width of a cell broke its text. Numbers of pages are left out.

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
                text = _page_text(page.get_textpage(), ruled_tables(page))
            except pypdfium2.PdfiumError as error:
                if len(document) == 1:
                    raise UnreadableFileError(Problem(path, "damaged", 0, f"page {number + 1}")) from error
                continue
            if text.strip():
                pieces.append(Piece(text, {"page": number + 1}))
            page.close()
    return pieces


#: Where a part of a line stands: a table's place among those of its page and a cell of it; None outside of tables.
_Place = tuple[int, tuple[int, int]] | None


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


#: Cells of a table and what stands in them, part by part.
_Cells = dict[tuple[int, int], list[tuple[_Line | None, str]]]


def _page_text(page: Any, tables: Sequence[RuledTable]) -> str:
    """Return the text of a page of pypdfium2, an empty line after each line that ends by itself."""
    text: str = page.get_text_range()
    if len(text) != page.count_chars():  # letters and boxes could not be matched
        return text
    lines: list[_Line | None] = []
    shown: list[tuple[int, str]] = []
    cells: list[_Cells] = [{} for _ in tables]
    begun: dict[int, list[int]] = {}  # tables by the line before which their rows belong
    for found in re.finditer(r"[^\r\n]+", text):
        for at, start, end in _runs(page, tables, found.start(), found.group().rstrip()):
            run = text[start:end]
            line = _measured(page, start + len(run) - len(run.lstrip()), run.strip())
            if at is None:
                lines.append(line)
                shown.append((start, run))
                continue
            if not cells[at[0]]:
                begun.setdefault(len(lines), []).append(at[0])
            cells[at[0]].setdefault(at[1], []).append((line, _without_autospace(page, start, run).strip()))
    rows = dict(_aligned(page, lines, shown))
    parts: list[str] = []
    for place, (start, run) in enumerate(shown):
        for number in begun.get(place, ()):
            parts += ["", *_rows(tables[number], cells[number]), ""]
        if place in rows:
            parts += ["", ROW + rows[place], ""]
            continue
        line = lines[place]
        if line is not None and _PAGE_NUMBER.fullmatch(line.text) and _is_at_edge(line, lines):
            continue
        parts.append(_without_autospace(page, start, run))
        if place + 1 < len(lines) and _ends(page, lines, place):
            parts.append("")
    for number in begun.get(len(shown), ()):
        parts += ["", *_rows(tables[number], cells[number])]
    return "\n".join(parts)


def _is_at_edge(line: _Line, lines: Sequence[_Line | None]) -> bool:
    """Return whether all other lines of the page are above, or all below."""
    others = [one.bottom - line.bottom for one in lines if one is not None and one is not line]
    return bool(others) and (min(others) > 0 or max(others) < 0)


def _aligned(page: Any, lines: Sequence[_Line | None], shown: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the rows of tables without ruled lines, with bars between their cells, and their places among the lines.

    They follow one another, each with cells far apart, and there are strips from the first to the last in which none
    has a letter.
    """
    group: list[int] = []
    for place in range(len(lines) + 1):
        line = lines[place] if place < len(lines) else None
        is_below = line is not None and (not group or _is_below(line, lines[group[-1]]))
        if line is not None and is_below and (" " not in line.text or _is_row(page, line)):
            group.append(place)
            continue
        yield from _columns(page, list(group), lines, shown)
        group = [place] if line is not None and _is_row(page, line) else []


def _is_below(line: _Line, before: _Line | None) -> bool:
    return (
        before is not None
        and line.bottom < before.bottom
        and max(line.size, before.size) < 2 * min(line.size, before.size)
    )


def _columns(
    page: Any, group: list[int], lines: Sequence[_Line | None], shown: Sequence[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    """Yield the rows of a group of lines, if they have columns."""
    while group and " " not in shown[group[0]][1].strip():
        group = group[1:]
    while group and " " not in shown[group[-1]][1].strip():
        group = group[:-1]
    words = {place: list(_words(page, *shown[place])) for place in group}
    if sum(len(own) > 1 for own in words.values()) < 2:
        return
    size = max(line.size for place in group if (line := lines[place]) is not None)
    columns: list[tuple[float, float]] = []
    for left, right in sorted((left, right) for own in words.values() for _, _, left, right in own):
        if columns and left - columns[-1][1] < _STRIP * size:
            columns[-1] = columns[-1][0], max(columns[-1][1], right)
        else:
            columns.append((left, right))
    if len(columns) < 2:
        return
    if len(columns) == 2 and all(
        _MARK.fullmatch(shown[place][1][own[0][0] : own[0][1]]) for place, own in words.items()
    ):
        return  # items of a list
    for place, own in words.items():
        cells: dict[int, list[int]] = {}
        for start, end, left, _ in own:
            column = next(number for number, (_, edge) in enumerate(columns) if left <= edge)
            cells[column] = [cells.get(column, [start])[0], end]
        start, run = shown[place]
        yield place, " | ".join(_without_autospace(page, start + a, run[a:b]) for _, (a, b) in sorted(cells.items()))


def _words(page: Any, first: int, line: str) -> Iterator[tuple[int, int, float, float]]:
    """Yield where each word of a line begins and ends in it, and on the page."""
    for word in re.finditer(r"\S+", line):
        left, _, _, _ = page.get_charbox(first + word.start(), loose=True)
        _, _, right, _ = page.get_charbox(first + word.end() - 1, loose=True)
        yield word.start(), word.end(), left, right


def _runs(page: Any, tables: Sequence[RuledTable], first: int, line: str) -> Iterator[tuple[_Place, int, int]]:
    """Cut a line where it passes from one cell to another, or in or out of a table."""
    if not tables:
        if line.strip():
            yield None, first, first + len(line)
        return
    start, place, is_begun = first, None, False
    for number, letter in enumerate(line, first):
        if letter.isspace():
            continue
        own = _place(page, tables, number)
        if is_begun and own != place:
            yield place, start, number
            start = number
        place, is_begun = own, True
    if is_begun:
        yield place, start, first + len(line)


def _place(page: Any, tables: Sequence[RuledTable], number: int) -> _Place:
    left, bottom, right, top = page.get_charbox(number, loose=True)
    for place, table in enumerate(tables):
        cell = table.cell_at((left + right) / 2, (bottom + top) / 2)
        if cell is not None:
            return place, cell
    return None


def _rows(table: RuledTable, cells: _Cells) -> list[str]:
    """Write the rows of a table."""
    rows: list[list[Cell]] = [[] for _ in range(table.size[0])]
    for (row, column), (height, width) in sorted(table.spans().items()):
        rows[row].append(Cell(_cell_text(cells.get((row, column), [])), width, height))
    return [ROW + row for row in table_rows(spanned_rows(rows))]


def _cell_text(parts: Sequence[tuple[_Line | None, str]]) -> str:
    """Join the parts of a cell: those on one line by a space."""
    text, before = "", None
    for line, part in parts:
        if text:
            is_same = line is not None and before is not None and abs(line.bottom - before.bottom) < line.size / 2
            text += " " if is_same else WITHIN_CELL
        text, before = text + part, line
    return text


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
        return " " if after - before > _AUTOSPACE * (top - bottom) else ""

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
    widest = max(gaps, default=0.0)
    is_unlike = len(gaps) > 1 and widest > max(_UNLIKE_CELLS, _UNLIKE * median_low(gaps))
    return widest > _CELLS or is_unlike
