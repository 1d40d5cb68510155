"""Word and PowerPoint. What these readers return is made of plain values, since they run in another process."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from langchain_klue_rerank.files.content import Piece, sections, table_rows
from langchain_klue_rerank.files.formats.word_numbers import Numbers, numbers_of
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

#: How Office files with a password, and the older formats, begin.
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
#: Parts of a Word file beside its body that people read.
_ASIDE = ("header", "footer", "footnotes", "endnotes", "comments")
#: Elements that repeat what stands elsewhere, or that nobody sees.
_UNSEEN = {f"{_W}del", f"{_W}moveFrom", f"{_W}delText", f"{_W}instrText", f"{_MC}Fallback", f"{_W}rPr", f"{_W}pPr"}


def check_zip(path: str, content: bytes) -> None:
    """Check that a file is a zip archive.

    Raises:
        UnreadableFileError: If it is an older format or wants a password, or is something else.
    """
    if content.startswith(OLE):
        is_locked = "EncryptedPackage".encode("utf-16-le") in content
        raise UnreadableFileError(Problem(path, "password" if is_locked else "ole"))
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise UnreadableFileError(Problem(path, "damaged"))


def read_docx(path: str, content: bytes) -> list[Piece]:
    """Read a Word file: a piece for each heading; then headers, footers, notes and comments."""
    import docx

    check_zip(path, content)
    document = docx.Document(io.BytesIO(content))
    levels = _heading_levels(document)
    numbers = numbers_of(document)
    pieces = list(sections(_word_blocks(document.element.body, levels, numbers)))
    for relation in document.part.rels.values():
        name = relation.reltype.rsplit("/", 1)[-1]
        if relation.is_external or name not in _ASIDE:
            continue
        element = getattr(relation.target_part, "element", None)
        if element is None:
            from lxml import etree

            element = etree.fromstring(relation.target_part.blob, etree.XMLParser(resolve_entities=False))
        aside = "\n".join(text for _, text in _word_blocks(element, {}, numbers) if text.strip())
        if aside and aside not in (piece.text for piece in pieces):
            pieces.append(Piece(aside, {"part": name}))
    return pieces


def _heading_levels(document: Any) -> dict[str, int]:
    """Return the level of each style that is a heading."""
    levels = {}
    for style in document.styles.element.iter(f"{_W}style"):
        name = style.find(f"{_W}name")
        outline = style.find(f"{_W}pPr/{_W}outlineLvl")
        known = re.fullmatch(r"(?:heading|제목) ?(\d)", name.get(f"{_W}val", "") if name is not None else "", re.I)
        if name is not None and name.get(f"{_W}val", "").lower() in ("title", "제목"):
            levels[style.get(f"{_W}styleId")] = 1
        elif known:
            levels[style.get(f"{_W}styleId")] = int(known[1]) + 1
        elif outline is not None and (level := outline.get(f"{_W}val", "")).isdigit() and int(level) < 9:
            levels[style.get(f"{_W}styleId")] = int(level) + 2
    return levels


def _word_blocks(parent: Any, levels: dict[str, int], numbers: Numbers) -> Iterator[tuple[int, str]]:
    """Yield levels and texts of paragraphs and table rows in order, through content controls and insertions."""
    for element in parent.iterchildren(tag=None):
        if element.tag == f"{_W}p":
            text = _word_text(element)
            style = element.find(f"{_W}pPr/{_W}pStyle")
            level = levels.get(style.get(f"{_W}val"), 0) if style is not None else 0
            number = numbers.before(element)
            if text.strip():
                text = number + text
                yield level, text if level else f"{text}\n"
            for box in _boxes(element):
                yield from _word_blocks(box, {}, numbers)
        elif element.tag == f"{_W}tbl":
            yield 0, "\n".join(table_rows(_word_rows(element, numbers))) + "\n"
        elif isinstance(element.tag, str) and element.tag not in _UNSEEN:
            yield from _word_blocks(element, levels, numbers)


def _word_rows(table: Any, numbers: Numbers) -> Iterator[list[str]]:
    """Yield the cells of each row: a cell that spans columns or rows stands in the file once, and comes once."""
    for row in table.iter(f"{_W}tr"):
        if next(row.iterancestors(f"{_W}tbl")) is not table:
            continue  # of a table in a cell, which comes with its cell
        cells = (cell for cell in row.iter(f"{_W}tc") if next(cell.iterancestors(f"{_W}tr")) is row)
        yield [" ".join(text for _, text in _word_blocks(cell, {}, numbers)) for cell in cells]


def _word_text(element: Any) -> str:
    """Return the text of a paragraph as it is read: insertions, links and fields with it, deletions without."""
    parts: list[str] = []
    todo = [iter(element)]
    while todo:
        child = next(todo[-1], None)
        if child is None:
            todo.pop()
        elif child.tag == f"{_W}t":
            parts.append(child.text or "")
        elif child.tag == f"{_W}tab":
            parts.append("\t")
        elif child.tag in (f"{_W}br", f"{_W}cr"):
            parts.append("\n")
        elif child.tag == f"{_W}noBreakHyphen":
            parts.append("-")
        elif isinstance(child.tag, str) and child.tag not in _UNSEEN and child.tag != f"{_W}txbxContent":
            todo.append(iter(child))
    return "".join(parts)


def _boxes(paragraph: Any) -> Iterator[Any]:
    for box in paragraph.iter(f"{_W}txbxContent"):
        above = list(box.iterancestors(f"{_MC}Fallback", f"{_W}txbxContent"))
        if not above:
            yield box


def read_pptx(path: str, content: bytes) -> list[Piece]:
    """Read a PowerPoint file: a piece for each slide, its number as ``page``, with tables, charts and notes."""
    import pptx

    check_zip(path, content)
    presentation = pptx.Presentation(io.BytesIO(content))
    pieces = []
    for number, slide in enumerate(presentation.slides, 1):
        title = slide.shapes.title
        name = " ".join(title.text_frame.text.split()) if title is not None else ""
        lines = [text for shape in slide.shapes if shape != title for text in _slide_lines(shape._element)]
        lines += [text for part in _charts(slide) for text in part]
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
            lines.append(notes.text)
        text = "\n".join(line for line in lines if line.strip()) or name
        if text:
            pieces.append(Piece(text, {**({"title": name} if name else {}), "page": number}))
    return pieces


def _slide_lines(element: Any) -> Iterator[str]:
    """Yield the paragraphs and table rows of a shape, or of a group of them."""
    if element.tag == f"{_A}tbl":
        yield from table_rows(
            [" ".join(_drawn(p) for p in cell.iter(f"{_A}p")) for cell in row.iter(f"{_A}tc")]
            for row in element.iter(f"{_A}tr")
        )
    elif element.tag == f"{_A}p":
        yield _drawn(element)
    elif element.tag != f"{_MC}Fallback":
        for child in element:
            if isinstance(child.tag, str):
                yield from _slide_lines(child)


def _drawn(paragraph: Any) -> str:
    return "".join("\n" if one.tag == f"{_A}br" else one.text or "" for one in paragraph.iter(f"{_A}t", f"{_A}br"))


def _charts(slide: Any) -> Iterator[list[str]]:
    """Yield what charts and diagrams of a slide say: names of series and categories, values, texts."""
    for relation in slide.part.rels.values():
        if relation.is_external or not relation.reltype.endswith(("/chart", "/diagramData")):
            continue
        from lxml import etree

        element = etree.fromstring(relation.target_part.blob, etree.XMLParser(resolve_entities=False))
        found = [one.text for one in element.iter("{*}v", f"{_A}t") if one.text]
        yield [" | ".join(dict.fromkeys(found))] if relation.reltype.endswith("/chart") else found
