"""Excel: the cells of each sheet as they are shown, its text boxes, charts and comments."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_klue_rerank.files.content import Content, Piece, table_rows
from langchain_klue_rerank.files.formats.number_formats import shown
from langchain_klue_rerank.files.formats.office import check_zip
from langchain_klue_rerank.files.reasons import Problem

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
#: A cell with a formula and no value: the program that wrote it did not compute it.
_UNCOMPUTED = re.compile(rb"(?:/>|</f>)(?:<v ?/>|<v></v>)?</c>")
_FORMULA = re.compile(rb"<f[ >/]")


def read_xlsx(path: str, content: bytes) -> Content:
    """Read an Excel file: a piece for each sheet, rows as ``column: value`` under the names of the first row.

    Text boxes, charts and comments come after the rows. Hidden sheets are not read: nobody sees them. They are named,
    and so are sheets with formulas of which the file has no values.
    """
    import openpyxl

    check_zip(path, content)
    workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    pieces, problems = [], []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for sheet in workbook.worksheets:
            if sheet.sheet_state != "visible":
                problems.append(Problem(path, "hidden sheet", 0, sheet.title))
                continue
            sheet.reset_dimensions()  # what the file says about its size need not be true
            rows = [row for row in (_row(cells) for cells in sheet.iter_rows()) if any(row)]
            part = sheet._worksheet_path.lstrip("/")
            text = "\n".join([*_named_rows(rows), *_beside(archive, part)])
            if text:
                pieces.append(Piece(text, {"title": sheet.title, "sheet": sheet.title}))
            xml = archive.read(part)
            if _FORMULA.search(xml) and _UNCOMPUTED.search(xml):
                problems.append(Problem(path, "formulas", 0, sheet.title))
    return Content(pieces, problems)


def _row(cells: Sequence[Any]) -> list[str]:
    row = [shown(cell.value, getattr(cell, "number_format", "") or "") for cell in cells]
    while row and not row[-1]:
        row.pop()
    return row


def _named_rows(rows: list[list[str]]) -> Iterator[str]:
    """Write rows under the column names of the first one that is as wide as the table, if its cells are names."""
    width = max(map(len, rows), default=0)
    head = next((n for n, row in enumerate(rows) if len(row) == width and all(row)), None)
    if width < 2 or head is None or head == len(rows) - 1 or len(set(rows[head])) < width:
        yield from table_rows(rows)
        return
    names = rows[head]
    yield from table_rows(rows[:head])
    for row in rows[head + 1 :]:
        yield " | ".join(f"{name}: {cell}" for name, cell in zip(names, row, strict=False) if cell)


def _beside(archive: zipfile.ZipFile, part: str) -> Iterator[str]:
    """Yield what lies over the cells of a sheet: text boxes, names in charts, comments."""
    parts = _related(archive, part)
    if parts.get("threadedComment"):  # the older ones repeat them
        parts.pop("comments", None)
    for name in parts.get("drawing", ()):
        yield from _paragraphs(archive, name, f"{_A}p")
        for chart in _related(archive, name).get("chart", ()):
            texts = [one.text.strip() for one in _xml(archive, chart).iter("{*}v", f"{_A}t") if one.text]
            yield " | ".join(dict.fromkeys(text for text in texts if text))
    for kind, tag in (("comments", "{*}comment"), ("threadedComment", "{*}threadedComment")):
        for name in parts.get(kind, ()):
            yield from _paragraphs(archive, name, tag)


def _paragraphs(archive: zipfile.ZipFile, name: str, tag: str) -> Iterator[str]:
    for paragraph in _xml(archive, name).iter(tag):
        text = "".join(one.text or "" for one in paragraph.iter("{*}t", "{*}text")).strip()
        if text:
            yield text


def _related(archive: zipfile.ZipFile, part: str) -> dict[str, list[str]]:
    """Return the parts that a part of the file refers to, by kind."""
    folder, name = posixpath.split(part)
    found: dict[str, list[str]] = {}
    try:
        relations = _xml(archive, f"{folder}/_rels/{name}.rels")
    except KeyError:
        return found
    for relation in relations:
        target = posixpath.normpath(posixpath.join("/", folder, relation.get("Target", ""))).lstrip("/")
        if relation.get("TargetMode") != "External" and target in archive.NameToInfo:
            found.setdefault(relation.get("Type", "").rsplit("/", 1)[-1], []).append(target)
    return found


def _xml(archive: zipfile.ZipFile, name: str) -> Any:
    from lxml import etree

    return etree.fromstring(archive.read(name), etree.XMLParser(resolve_entities=False))
