"""What a reader returns: pieces of text with metadata from the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_klue_rerank.files.reasons import Problem


@dataclass(slots=True)
class Piece:
    """A part of a file: a section, a page, a slide, a sheet or a row.

    Attributes:
        text: Its text.
        metadata: Metadata from the file, such as ``title`` and ``page``.
        line: Where it begins, counted from 1; 0 where lines mean nothing.
    """

    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    line: int = 0


@dataclass
class Content:
    """What a file holds.

    Attributes:
        pieces: Its parts, in order.
        problems: Lines that could not be read.
        notes: What was detected, such as columns, as keys and values.
    """

    pieces: list[Piece]
    problems: list[Problem] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)


def sections(blocks: Iterable[tuple[int, str]], title: str = "") -> Iterator[Piece]:
    """Gather blocks of text under their headings.

    Nothing is dropped: a heading stands in the titles of what is below it, and one with nothing below becomes text. Of
    headings without a body that follow one another on one level, as in lists of questions and answers, the first is
    the title and the others the text, up to the next question.

    Args:
        blocks: Level and text, in order; level 0 for what is no heading.
        title: A title of the whole.

    Yields:
        Sections with ``title`` in their metadata where there is one.
    """
    path: list[tuple[int, str]] = []
    body: list[str] = []
    is_pending = False  # the last heading has no text yet

    def piece() -> Piece:
        names = [name for _, name in path]
        if title and title not in names[:1]:
            names.insert(0, title)
        text = "\n".join(body).strip("\r\n")
        return Piece(text, {"title": " > ".join(names)} if names else {})

    for level, text in blocks:
        if not level:
            body.append(text)
            is_pending = is_pending and not text.strip()
            continue
        name = " ".join(text.split())
        if not name:
            continue
        if is_pending and path and level <= path[-1][0]:
            if level == path[-1][0] and not _asks(name) and _asks(path[-1][1]):
                body.append(name)  # an answer that is a heading, under its question
                is_pending = False
                continue
            yield Piece(path[-1][1], piece().metadata)
        elif any(line.strip() for line in body):
            yield piece()
        body = []
        while path and path[-1][0] >= level:
            path.pop()
        path.append((level, name))
        is_pending = True
    if is_pending and path:
        yield Piece(path[-1][1], piece().metadata)
    elif any(line.strip() for line in body):
        yield piece()


def _asks(heading: str) -> bool:
    return heading.endswith(("?", "？", "까", "나요", "인가요")) or heading.lstrip("*[(# ")[:1] in ("Q", "q", "문")


#: What a line begins with that is a row of a table in a PDF, and what stands in it where a cell's width broke a text:
#: characters that no language uses.
ROW, WITHIN_CELL = "\ue000", "\ue001"
#: Longest text of a cell that is repeated in each of the rows that it spans, and how many of them a row has at most.
_LONGEST_LABEL, _MOST_LABELS = 40, 8


@dataclass(slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it says.
        columns: How many columns it spans.
        rows: How many rows it spans.
    """

    text: str
    columns: int = 1
    rows: int = 1


def spanned_rows(rows: Iterable[Sequence[Cell]]) -> Iterator[list[str]]:
    """Yield the texts of the cells of each row, in order, with those of the cells that reach into it from above.

    A short text, such as the name of a group of rows, is repeated in each of them; a longer one comes once.
    """
    above: dict[int, Cell] = {}
    for row in rows:
        texts: list[str] = []
        following: dict[int, Cell] = {}
        cells = iter(row)
        place = 0
        while True:
            spanning = above.pop(place, None)
            cell = spanning or next(cells, None)
            if cell is None:
                if not above:
                    break
                place = min(above)
                continue
            texts.append(cell.text)
            if cell.rows > 1 and len(following) < _MOST_LABELS:
                label = cell.text if len(cell.text) <= _LONGEST_LABEL else ""
                following[place] = Cell(label, cell.columns, cell.rows - 1)
            place += max(1, cell.columns)
        yield texts
        above = following


def table_rows(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write the rows of a table as lines, cells between bars; equal cells stay, empty ones and empty rows go."""
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        if any(cells):
            yield " | ".join(cell for cell in cells if cell)
