"""Excel: the cells of each sheet as they are shown, its text boxes, charts and comments."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_klue_rerank.files.content import Content, Piece
from langchain_klue_rerank.files.formats.number_formats import shown
from langchain_klue_rerank.files.formats.office import check_zip
from langchain_klue_rerank.files.formats.sheet_tables import NONE, TEXT, VALUE, YEAR, Row, merge, tables
from langchain_klue_rerank.files.reasons import Problem

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
#: A cell with a formula and no value: the program that wrote it did not compute it.
_UNCOMPUTED = re.compile(rb"(?:/>|</f>)(?:<v ?/>|<v></v>)?</c>")
_FORMULA = re.compile(rb"<f[ >/]")
_MERGED = re.compile(rb'<mergeCell [^>]*ref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"')
_PLACE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
#: Names that programs give to sheets.
_UNNAMED = re.compile(r"(?:sheet|시트) ?\d*", re.I)
#: Numbers that name columns.
_YEARS = range(1900, 2101)


def read_xlsx(path: str, content: bytes) -> Content:
    """Read an Excel file: a piece for each table of a sheet with a line above it, and one for the rest of the sheet.

    Rows are written as ``column: value``, each comment behind its cell; text boxes and charts come after the rows.
    Hidden sheets are not read: nobody sees them. They are named, and so are sheets with formulas of which the file has
    no values.
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
            part = sheet._worksheet_path.lstrip("/")
            xml = archive.read(part)
            rows = [row for number, cells in enumerate(sheet.iter_rows(), 1) if (row := _row(number, cells)).texts]
            merge(rows, map(_merged, _MERGED.findall(xml)))
            notes = dict(_notes(archive, part))
            own = (
                {"sheet": sheet.title}
                if _UNNAMED.fullmatch(sheet.title)
                else {"title": sheet.title, "sheet": sheet.title}
            )
            sheet_pieces = [Piece("", own)]
            for table in tables(rows, notes):
                if table.title:
                    title = " > ".join([*filter(None, [own.get("title")]), table.title])
                    sheet_pieces.append(Piece("", {**own, "title": title}))
                elif table.is_table and len(sheet_pieces) > 1:
                    sheet_pieces.append(Piece("", own))
                sheet_pieces[-1].text += "".join(f"{line}\n" for line in table.lines)
            beside = [*notes.values(), *_beside(archive, part)]
            if beside and len(sheet_pieces) > 1:
                sheet_pieces.append(Piece("", own))
            sheet_pieces[-1].text += "\n".join(beside)
            for piece in sheet_pieces:
                piece.text = piece.text.strip("\n")
                if piece.text or piece is not sheet_pieces[0]:
                    pieces.append(Piece(piece.text or piece.metadata["title"], dict(piece.metadata)))
            if _FORMULA.search(xml) and _UNCOMPUTED.search(xml):
                problems.append(Problem(path, "formulas", 0, sheet.title))
    return Content(pieces, problems)


def _row(number: int, cells: Sequence[Any]) -> Row:
    texts = [shown(cell.value, getattr(cell, "number_format", "") or "") for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return Row(number, texts, [_kind(cell.value) if text else NONE for cell, text in zip(cells, texts, strict=False)])


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return TEXT
    is_year = isinstance(value, int | float) and not isinstance(value, bool) and value in _YEARS
    return YEAR if is_year else VALUE


def _merged(found: tuple[bytes, bytes, bytes, bytes]) -> tuple[int, int, int, int]:
    first, first_row, last, last_row = found
    return int(first_row), _column(first.decode()), int(last_row), _column(last.decode())


def _column(letters: str) -> int:
    """Return the number of a column, 1 for A."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _notes(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield the row and the column of each cell with comments, and what they say."""
    said: dict[str, list[str]] = {}
    for tag, names in _comments(_related(archive, part)):
        for name in names:
            for comment in _xml(archive, name).iter(tag):
                text = " ".join("".join(one.text or "" for one in comment.iter("{*}t", "{*}text")).split())
                if text:
                    said.setdefault(comment.get("ref", ""), []).append(text)
    for place, texts in said.items():
        found = _PLACE.fullmatch(place)
        yield (int(found[2]), _column(found[1])) if found else (0, len(texts)), " / ".join(texts)


def _comments(parts: dict[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the tags and the parts of comments: newer ones alone where there are any, since the older repeat them."""
    kinds = ("threadedComment",) if parts.get("threadedComment") else ("comments",)
    for kind in kinds:
        yield f"{{*}}{kind.removesuffix('s')}", parts.get(kind, [])


def _beside(archive: zipfile.ZipFile, part: str) -> Iterator[str]:
    """Yield what lies over the cells of a sheet: text boxes and names in charts."""
    for name in _related(archive, part).get("drawing", ()):
        yield from _paragraphs(archive, name, f"{_A}p")
        for chart in _related(archive, name).get("chart", ()):
            texts = [one.text.strip() for one in _xml(archive, chart).iter("{*}v", f"{_A}t") if one.text]
            yield " | ".join(dict.fromkeys(text for text in texts if text))


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
