"""Tables of PDF pages, found by their ruled lines: which cell a letter stands in."""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: Shapes and lines of a page that are read, lines and cells of a table, and shapes within shapes, at most.
_MOST_SHAPES, _MOST_LINES, _MOST_CELLS, _DEPTH = 4_000, 600, 5_000, 3
#: In points: lines nearer than the first are one, ends nearer than the second meet, shorter lines are none, and lines
#: that stick out further have an edge of a table that is not drawn.
_SAME, _MEET, _SHORT, _EDGE = 2.5, 4.0, 4.0, 12.0

#: A line: where it is on one axis, and from where to where on the other.
_Rule = tuple[float, float, float]
#: How a shape lies on the page: the six numbers of PDF's matrices.
_Matrix = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class RuledTable:
    """A table of a page, in points from the lower left corner.

    Attributes:
        edges: Where its columns begin and end, from the left.
        heights: Where its rows begin and end, from below.
        origins: For each row, from above, and column: the row and column where its cell, which may span some, begins.
    """

    edges: tuple[float, ...]
    heights: tuple[float, ...]
    origins: dict[tuple[int, int], tuple[int, int]]

    def cell_at(self, x: float, y: float) -> tuple[int, int] | None:
        """Return the row, from above, and the column of the cell at a place; None outside the table."""
        column, height = bisect_right(self.edges, x) - 1, bisect_right(self.heights, y) - 1
        if not (0 <= column < len(self.edges) - 1 and 0 <= height < len(self.heights) - 1):
            return None
        return self.origins[len(self.heights) - 2 - height, column]

    def spans(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return how many rows and columns each cell spans, by where it begins."""
        spans: dict[tuple[int, int], tuple[int, int]] = {}
        for (row, column), origin in self.origins.items():
            rows, columns = spans.get(origin, (1, 1))
            spans[origin] = max(rows, row - origin[0] + 1), max(columns, column - origin[1] + 1)
        return spans

    @property
    def size(self) -> tuple[int, int]:
        """How many rows and columns it has."""
        return len(self.heights) - 1, len(self.edges) - 1

    @property
    def area(self) -> float:
        """How large it is."""
        return (self.edges[-1] - self.edges[0]) * (self.heights[-1] - self.heights[0])


def ruled_tables(page: Any) -> list[RuledTable]:
    """Return the tables of a page of pypdfium2 that have lines between their rows and columns, small ones first."""
    across: list[_Rule] = []  # y, from x to x
    down: list[_Rule] = []  # x, from y to y
    for (x0, y0), (x1, y1) in _strokes(page):
        if abs(y1 - y0) <= 1 and abs(x1 - x0) >= _SHORT:
            across.append(((y0 + y1) / 2, min(x0, x1), max(x0, x1)))
        elif abs(x1 - x0) <= 1 and abs(y1 - y0) >= _SHORT:
            down.append(((x0 + x1) / 2, min(y0, y1), max(y0, y1)))
    across, down = _joined(across), _joined(down)
    if len(across) < 2 or len(down) < 2 or len(across) + len(down) > _MOST_LINES:
        return []
    found = (_table(*group) for group in _groups(across, down))
    return sorted((table for table in found if table is not None), key=lambda table: table.area)


def _strokes(page: Any) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Yield the straight parts of the shapes of a page, in its own units."""
    from pypdfium2 import raw

    left = _MOST_SHAPES
    todo: list[tuple[Any, _Matrix, int]] = [
        (raw.FPDFPage_GetObject(page, place), (1.0, 0.0, 0.0, 1.0, 0.0, 0.0), 0)
        for place in range(min(left, raw.FPDFPage_CountObjects(page)))
    ]
    x, y, matrix = ctypes.c_float(), ctypes.c_float(), raw.FS_MATRIX()
    while todo and left > 0:
        shape, outer, depth = todo.pop()
        kind = raw.FPDFPageObj_GetType(shape)
        if kind not in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_FORM) or not raw.FPDFPageObj_GetMatrix(shape, matrix):
            continue
        left -= 1
        place = _within((matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f), outer)
        if kind == raw.FPDF_PAGEOBJ_FORM:
            if depth < _DEPTH:
                count = min(left, max(0, raw.FPDFFormObj_CountObjects(shape)))
                todo += [(raw.FPDFFormObj_GetObject(shape, number), place, depth + 1) for number in range(count)]
            continue
        start = last = (0.0, 0.0)
        for number in range(min(left, max(0, raw.FPDFPath_CountSegments(shape)))):
            segment = raw.FPDFPath_GetPathSegment(shape, number)
            if not raw.FPDFPathSegment_GetPoint(segment, x, y):
                continue
            left -= number > 4
            point = _moved(x.value, y.value, place)
            step = raw.FPDFPathSegment_GetType(segment)
            if step == raw.FPDF_SEGMENT_MOVETO:
                start = point
            elif step == raw.FPDF_SEGMENT_LINETO:
                yield last, point
            last = point
            if raw.FPDFPathSegment_GetClose(segment):
                yield last, start


def _within(inner: _Matrix, outer: _Matrix) -> _Matrix:
    """Return the matrix that moves by one and then by the other."""
    (a, b, c, d, e, f), (g, h, i, j, k, m) = inner, outer
    return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m


def _moved(x: float, y: float, matrix: _Matrix) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _joined(rules: list[_Rule]) -> list[_Rule]:
    """Join what is drawn in parts, as the edges of each cell or both sides of a thick line."""
    rows: list[list[_Rule]] = []
    for rule in sorted(rules):
        if rows and rule[0] - rows[-1][0][0] <= _SAME:
            rows[-1].append(rule)
        else:
            rows.append([rule])
    joined: list[_Rule] = []
    for row in rows:
        place = sum(rule[0] for rule in row) / len(row)
        parts: list[list[float]] = []
        for _, start, end in sorted(row, key=lambda rule: rule[1]):
            if parts and start <= parts[-1][1] + _MEET:
                parts[-1][1] = max(parts[-1][1], end)
            else:
                parts.append([start, end])
        joined += [(place, start, end) for start, end in parts]
    return joined


def _groups(across: Sequence[_Rule], down: Sequence[_Rule]) -> Iterator[tuple[list[_Rule], list[_Rule]]]:
    """Yield the lines that meet, directly or by way of others."""
    group = list(range(len(across) + len(down)))

    def root(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    for first, (y, left, right) in enumerate(across):
        for second, (x, bottom, top) in enumerate(down, len(across)):
            if left - _MEET <= x <= right + _MEET and bottom - _MEET <= y <= top + _MEET:
                group[root(first)] = root(second)
    members: dict[int, tuple[list[_Rule], list[_Rule]]] = {}
    for number in range(len(group)):
        is_down = number >= len(across)
        own = members.setdefault(root(number), ([], []))
        own[is_down].append(down[number - len(across)] if is_down else across[number])
    yield from members.values()


def _table(across: list[_Rule], down: list[_Rule]) -> RuledTable | None:
    """Make a table of lines that meet; None if they make less than two columns or no row."""
    if len(across) < 2 or not down:
        return None
    left, right = min(rule[1] for rule in across), max(rule[2] for rule in across)
    edges, heights = sorted({rule[0] for rule in down}), sorted({rule[0] for rule in across})
    edges = [*([left] if edges[0] - left > _EDGE else []), *edges, *([right] if right - edges[-1] > _EDGE else [])]
    rows, columns = len(heights) - 1, len(edges) - 1
    if columns < 2 or not 0 < rows * columns <= _MOST_CELLS:
        return None
    origins = {(row, column): (row, column) for row in range(rows) for column in range(columns)}

    def root(place: tuple[int, int]) -> tuple[int, int]:
        while origins[place] != place:
            place = origins[place]
        return place

    def join(one: tuple[int, int], other: tuple[int, int]) -> None:
        first, second = sorted((root(one), root(other)))
        origins[second] = first

    for row in range(rows):
        middle_y = (heights[rows - row - 1] + heights[rows - row]) / 2
        for column in range(columns):
            middle_x = (edges[column] + edges[column + 1]) / 2
            if column + 1 < columns and not _is_drawn(down, edges[column + 1], middle_y):
                join((row, column), (row, column + 1))
            if row + 1 < rows and not _is_drawn(across, heights[rows - row - 1], middle_x):
                join((row, column), (row + 1, column))
    table = {place: root(place) for place in origins}
    if len(set(table.values())) < 2 or len({column for _, column in table.values()}) < 2:
        return None
    return RuledTable(tuple(edges), tuple(heights), table)


def _is_drawn(rules: Sequence[_Rule], place: float, at: float) -> bool:
    return any(abs(rule[0] - place) < 0.01 and rule[1] - 1 <= at <= rule[2] + 1 for rule in rules)
