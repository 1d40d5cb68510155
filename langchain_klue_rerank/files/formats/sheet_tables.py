"""The tables of a sheet: where each begins and ends, the names of its columns, and its rows as lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from langchain_klue_rerank.files.formats.rows import QUESTION_COLUMNS, TEXT_COLUMNS, TITLE_COLUMNS

#: Kinds of cells: a text; a whole number that may name a column, such as a year; any other value; none; and one that
#: a merged cell on its left covers.
TEXT, YEAR, VALUE, NONE, COVERED = "t", "y", "v", " ", "h"
_NAMES = frozenset({TEXT, YEAR, COVERED})
#: Rows of a header at most, and longest title of a table.
_MOST_HEADER_ROWS, _LONGEST_TITLE = 3, 60
#: Longest text of a merged cell that is repeated in each row that it spans, and cells that merging may fill in a sheet.
_LONGEST_LABEL, _MOST_MERGED = 40, 1_000_000


@dataclass(slots=True)
class Row:
    """A row with something in it.

    Attributes:
        number: Its place in the sheet, counted from 1.
        texts: Its cells from column A on, as they are shown.
        kinds: The kind of each cell, as many as texts.
    """

    number: int
    texts: list[str]
    kinds: list[str]

    def filled(self, columns: range) -> list[int]:
        """Return which of some columns have text."""
        return [column for column in columns if column < len(self.texts) and self.texts[column]]

    def kind(self, column: int) -> str:
        """Return the kind of a cell."""
        return self.kinds[column] if column < len(self.kinds) else NONE


@dataclass(slots=True)
class Table:
    """A part of a sheet that stands apart.

    Attributes:
        lines: Its rows as lines.
        title: The line above its columns, "" without one.
        is_table: Whether it has rows of several cells.
    """

    lines: list[str]
    title: str = ""
    is_table: bool = False


@dataclass
class _Names:
    """The names of the columns of a table."""

    of: dict[int, str] = field(default_factory=dict)


def merge(rows: Sequence[Row], merged: Iterable[tuple[int, int, int, int]]) -> None:
    """Write merged cells into the rows that they span: short texts in each row, and what they cover.

    Args:
        rows: The rows, which change.
        merged: First row, first column, last row and last column of each, counted from 1.
    """
    by_number = {row.number: row for row in rows}
    width = max((len(row.texts) for row in rows), default=0)
    filled = 0
    for first_row, first, last_row, last in merged:
        top = by_number.get(first_row)
        if top is None or not 1 <= first <= len(top.texts):
            continue
        last = min(last, width + 1)
        text = top.texts[first - 1]
        for row in rows if last_row - first_row > len(rows) else map(by_number.get, range(first_row, last_row + 1)):
            if row is None or not first_row <= row.number <= last_row:
                continue
            filled += last - first + 1
            if filled > _MOST_MERGED:
                return
            missing = last - len(row.texts)
            row.texts += [""] * missing
            row.kinds += [NONE] * missing
            if row is not top and text and len(text) <= _LONGEST_LABEL and not row.texts[first - 1]:
                row.texts[first - 1], row.kinds[first - 1] = text, top.kinds[first - 1]
            for column in range(first, last):
                if not row.texts[column]:
                    row.kinds[column] = COVERED


def tables(rows: Sequence[Row], notes: dict[tuple[int, int], str]) -> Iterator[Table]:
    """Yield the parts of a sheet, from above, and from the left where they stand side by side.

    Args:
        rows: The rows in order, after `merge`.
        notes: Comments by row and column, counted from 1; each is taken out and stands behind its cell, in parentheses.
    """
    width = max((len(row.texts) for row in rows), default=0)
    known: dict[range, _Names] = {}  # by columns: those of the last table there
    for part, columns in _parts(rows, range(width)):
        yield from _table(part, columns, notes, known)


def _parts(rows: Sequence[Row], columns: range) -> Iterator[tuple[list[Row], range]]:
    """Cut at empty rows and columns until there are none."""
    groups: list[list[Row]] = []
    for row in rows:
        if all(row.kind(column) == NONE for column in columns):
            continue
        if groups and row.number == groups[-1][-1].number + 1:
            groups[-1].append(row)
        else:
            groups.append([row])
    for group in groups:
        sides = _sides(group, columns)
        if len(sides) == 1:
            yield group, sides[0]
        else:
            for side in sides:
                yield from _parts(group, side)


def _used(rows: Iterable[Row], columns: range) -> list[int]:
    used: set[int] = set()
    for row in rows:
        if len(used) == len(columns):
            break
        used.update(column for column in columns if column not in used and row.kind(column) != NONE)
    return sorted(used)


def _sides(rows: Sequence[Row], columns: range) -> list[range]:
    """Cut at empty columns: at two and more, or between parts of two columns and more."""
    used = _used(rows, columns)
    sides = [range(used[0], used[0] + 1)]
    for column in used[1:]:
        if column == sides[-1].stop:
            sides[-1] = range(sides[-1].start, column + 1)
        else:
            sides.append(range(column, column + 1))
    joined = [sides[0]]
    for side in sides[1:]:
        is_apart = side.start - joined[-1].stop > 1 or min(len(side), len(joined[-1])) > 1
        if is_apart:
            joined.append(side)
        else:
            joined[-1] = range(joined[-1].start, side.stop)
    return joined


def _table(
    rows: list[Row], columns: range, notes: dict[tuple[int, int], str], known: dict[range, _Names]
) -> Iterator[Table]:
    """Write a part of a sheet, under the names of its columns: its own, or those of the table that it goes on.

    Of questions and answers, and of other rows with a title and a text, each is a part by itself.
    """
    above = next((place for place, row in enumerate(rows) if len(row.filled(columns)) > 1), len(rows))
    lines = [_plain(row, columns, notes) for row in rows[:above]]
    if above == len(rows):
        yield Table([line for line in lines if line])
        return
    depth, names = _header(rows[above:], columns)
    before = known.get(columns)
    if before is not None and not above and (not depth or not _has_values(rows[depth:], columns)):
        depth, names = 0, before
    elif names.of:
        known[columns] = names
        names = names if depth else _Names()  # a line of names alone is for the rows after a gap
    title = lines.pop(0) if depth and lines and len(lines[0]) <= _LONGEST_TITLE else ""
    header = rows[above : above + depth]
    lines += [f"{row.texts[column]} ({note})" for row in header for column, note in _notes(row, columns, notes)]
    body = rows[above + depth :]
    heading, text = (_column_of(names, kinds) for kinds in (TITLE_COLUMNS + QUESTION_COLUMNS, TEXT_COLUMNS))
    if heading is None or text is None:
        lines += [_named(row, columns, names, notes) for row in body]
        yield Table([line for line in lines if line], title, True)
        return
    if lines:
        yield Table([line for line in lines if line], title, True)
    for row in body:
        cells = _cells(row, columns, notes)
        if heading in cells and text in cells:
            own = " > ".join(filter(None, [title, cells.pop(heading)]))
            yield Table([cells.pop(text), *filter(None, [_joined(cells, names)])], own, True)
        else:
            yield Table([_joined(cells, names)], title, True)


def _column_of(names: _Names, kinds: Sequence[str]) -> int | None:
    """Return the first column with one of some names."""
    lower = {name.lower(): column for column, name in names.of.items()}
    return next((lower[kind] for kind in kinds if kind in lower), None)


def _header(rows: Sequence[Row], columns: range) -> tuple[int, _Names]:
    """Return how many rows name the columns, 0 if none do, and the names."""
    depth = 0
    while depth < min(_MOST_HEADER_ROWS, len(rows) - 1) and _may_name(rows[depth], columns):
        depth += 1
        if not _is_group(rows[depth - 1], rows[depth:], columns):
            break
    names = _Names()
    none = 0, _Names()
    if not depth:
        if len(rows) == 1 and _may_name(rows[0], columns) and len(rows[0].filled(columns)) == len(columns):
            names.of = {column: _name(rows, 0, column, columns) for column in columns}  # of the rows after a gap
        return 0, names
    for column in columns:
        parts = dict.fromkeys(filter(None, (_name(rows[:depth], place, column, columns) for place in range(depth))))
        if parts:
            names.of[column] = " ".join(parts)
    is_full = len(names.of) == len(columns)
    if len(names.of) < 2 or len(set(names.of.values())) < len(names.of):
        return none
    if not is_full and not _has_values(rows[depth:], columns):
        return none
    index = rows[depth].filled(columns)
    if columns.start not in names.of and index == [columns.start] and depth < len(rows) - 1:
        names.of[columns.start] = rows[depth].texts[columns.start]  # as pandas writes the name of an index
        depth += 1
    return depth, names


def _may_name(row: Row, columns: range) -> bool:
    filled = row.filled(columns)
    if any(row.kind(column) not in _NAMES for column in filled):
        return False
    return bool(filled) and not (filled[0] == columns.start and row.kind(columns.start) == YEAR)


def _is_group(row: Row, following: Sequence[Row], columns: range) -> bool:
    """Return whether the row after one of a header belongs to it: merged cells reach into it, or their parts do."""
    after = following[0]
    if not _may_name(after, columns) or len(following) < 2:
        return False
    if any(row.kind(column) == COVERED and after.kind(column) == TEXT for column in columns):
        return True
    gaps = [column for column in columns[1:] if row.kind(column) == NONE]
    if not gaps or any(row.kind(column) != NONE and column + 1 not in gaps for column in columns[1:]):
        return False
    return all(after.kind(column) == TEXT for column in columns[1:]) and _has_values(following[1:2], columns)


def _name(header: Sequence[Row], place: int, column: int, columns: range) -> str:
    """Return the part of a column's name that a row of the header has: its own, or that of the group on its left."""
    row = header[place]
    while column > columns.start and (
        row.kind(column) == COVERED or (row.kind(column) == NONE and place < len(header) - 1)
    ):
        column -= 1
    return " ".join(row.texts[column].split()) if row.kind(column) in _NAMES and column < len(row.texts) else ""


def _has_values(rows: Sequence[Row], columns: range) -> bool:
    return any(row.kind(column) in (VALUE, YEAR) for row in rows[:20] for column in columns)


def _notes(row: Row, columns: range, notes: dict[tuple[int, int], str]) -> Iterator[tuple[int, str]]:
    if notes:
        for column in columns:
            if (note := notes.pop((row.number, column + 1), None)) is not None:
                yield column, note


def _cells(row: Row, columns: range, notes: dict[tuple[int, int], str]) -> dict[int, str]:
    cells = {column: " ".join(row.texts[column].split()) for column in row.filled(columns)}
    for column, note in _notes(row, columns, notes):
        cells[column] = f"{cells.get(column, '')} ({note})".strip()
    return cells


def _plain(row: Row, columns: range, notes: dict[tuple[int, int], str]) -> str:
    return " | ".join(cell for _, cell in sorted(_cells(row, columns, notes).items()))


def _named(row: Row, columns: range, names: _Names, notes: dict[tuple[int, int], str]) -> str:
    cells = _cells(row, columns, notes)
    if len(cells) == 1 and (len(columns) > 2 or row.kind(columns.start + 1) == COVERED):
        return next(iter(cells.values()))  # a remark, or the name of the rows below
    return _joined(cells, names)


def _joined(cells: dict[int, str], names: _Names) -> str:
    return " | ".join(
        f"{names.of[column]}: {cell}" if column in names.of else cell for column, cell in sorted(cells.items())
    )
