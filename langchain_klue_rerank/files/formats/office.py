"""Word and PowerPoint. What these readers return is made of plain values, since they run in another process."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_klue_rerank.files.content import Cell, Piece, sections, spanned_rows, table_rows
from langchain_klue_rerank.files.formats.word_numbers import Numbers, numbers_of, written
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

#: How Office files with a password, and the older formats, begin.
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
#: Parts of a Word file beside its body that people read, and what in the body refers to those that are notes to it.
_ASIDE = ("header", "footer", "footnotes", "endnotes", "comments")
_REFERENCES = {
    f"{_W}footnoteReference": "footnotes",
    f"{_W}endnoteReference": "endnotes",
    f"{_W}commentReference": "comments",
}
#: Names of the styles of a table of contents, whose lines repeat headings.
_CONTENTS = re.compile(r"(?:toc|목차|contents)(?: ?\d| heading)?", re.I)
#: Elements that repeat what stands elsewhere, or that nobody sees.
_UNSEEN = {f"{_W}del", f"{_W}moveFrom", f"{_W}delText", f"{_W}instrText", f"{_MC}Fallback", f"{_W}rPr", f"{_W}pPr"}
#: How PowerPoint's automatic numbers begin, and Word's name for the same.
_SLIDE_NUMBERS = {
    "arabic": "decimal",
    "alphaLc": "lowerLetter",
    "alphaUc": "upperLetter",
    "romanLc": "lowerRoman",
    "romanUc": "upperRoman",
    "circleNum": "decimalEnclosedCircle",
    "ea1": "japaneseCounting",
}


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
    numbers = numbers_of(document)
    asides = {}
    for relation in document.part.rels.values():
        name = relation.reltype.rsplit("/", 1)[-1]
        if relation.is_external or name not in _ASIDE:
            continue
        element = getattr(relation.target_part, "element", None)
        if element is None:
            from lxml import etree

            element = etree.fromstring(relation.target_part.blob, etree.XMLParser(resolve_entities=False))
        asides[relation.rId] = (name, element)
    word = _Word(_heading_levels(document), _contents_styles(document), numbers, _notes(asides.values()))
    pieces = list(sections(word.blocks(document.element.body)))
    for name, element in asides.values():
        plain = _Word({}, frozenset(), numbers, {})
        aside = "\n".join(text for _, text in plain.blocks(element, word.noted) if text.strip())
        is_number = not any(letter.isalpha() for letter in aside)  # of the page
        if not is_number and aside not in (piece.text for piece in pieces):
            pieces.append(Piece(aside, {"part": name}))
    return pieces


def _notes(parts: Iterable[tuple[str, Any]]) -> dict[tuple[str, str], Any]:
    """Return footnotes, endnotes and comments by their part and number."""
    return {
        (name, note.get(f"{_W}id", "")): note
        for name, part in parts
        for note in part
        if name in _REFERENCES.values() and isinstance(note.tag, str)
    }


def _contents_styles(document: Any) -> frozenset[str]:
    """Return the styles of the lines of a table of contents."""
    names = {style.get(f"{_W}styleId"): style.find(f"{_W}name") for style in document.styles.element.iter(f"{_W}style")}
    return frozenset(
        identifier or ""
        for identifier, name in names.items()
        if name is not None and _CONTENTS.fullmatch(name.get(f"{_W}val", ""))
    )


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


@dataclass
class _Word:
    """Reads the paragraphs and tables of a Word file, each note after the paragraph that refers to it.

    Attributes:
        levels: The level of each style that is a heading.
        contents: Styles of a table of contents, which is left out.
        numbers: The numbers of the paragraphs.
        notes: Notes and comments by their part and number.
        noted: Those that were read.
    """

    levels: dict[str, int]
    contents: frozenset[str]
    numbers: Numbers
    notes: dict[tuple[str, str], Any]
    noted: set[Any] = field(default_factory=set)

    def blocks(self, parent: Any, skipped: Collection[Any] = ()) -> Iterator[tuple[int, str]]:
        """Yield levels and texts of paragraphs and table rows in order, through content controls and insertions."""
        for element in parent.iterchildren(tag=None):
            if element in skipped:
                continue
            if element.tag == f"{_W}p":
                yield from self._paragraph(element)
            elif element.tag == f"{_W}tbl":
                yield 0, "\n".join(table_rows(spanned_rows(self._rows(element)))) + "\n"
            elif isinstance(element.tag, str) and element.tag not in _UNSEEN and not _is_contents(element):
                yield from self.blocks(element)

    def _paragraph(self, element: Any) -> Iterator[tuple[int, str]]:
        text = _word_text(element)
        style = element.find(f"{_W}pPr/{_W}pStyle")
        name = style.get(f"{_W}val") if style is not None else ""
        level = self.levels.get(name, 0)
        number = self.numbers.before(element)
        if text.strip() and name not in self.contents:
            text = number + text
            yield level, text if level else f"{text}\n"
        for box in _boxes(element):
            yield from _Word({}, frozenset(), self.numbers, self.notes, self.noted).blocks(box)
        for reference in element.iter(*_REFERENCES):
            note = self.notes.get((_REFERENCES[reference.tag], reference.get(f"{_W}id", "")))
            if note is not None and note not in self.noted:
                self.noted.add(note)
                yield 0, f"{self._text(note)}\n"

    def _text(self, part: Any) -> str:
        plain = _Word({}, frozenset(), self.numbers, self.notes, self.noted)
        return " ".join(text.strip() for _, text in plain.blocks(part))

    def _rows(self, table: Any) -> Iterator[list[Cell]]:
        """Yield the cells of each row; what goes on from the row above is left to `spanned_rows`."""
        rows = [
            row
            for row in table.iter(f"{_W}tr")
            # those of a table in a cell come with their cell
            if next(row.iterancestors(f"{_W}tbl")) is table and row.find(f"{_W}trPr/{_W}del") is None
        ]
        begun: dict[int, Cell] = {}  # the last cell of each column that begins a span of rows
        grid: list[list[Cell]] = []
        for row in rows:
            cells: list[Cell] = []
            place = _whole(_value(row.find(f"{_W}trPr/{_W}gridBefore")), 0)
            if place:
                cells.append(Cell("", place))
            for element in row.iter(f"{_W}tc"):
                if next(element.iterancestors(f"{_W}tr")) is not row:
                    continue
                columns = _whole(_value(element.find(f"{_W}tcPr/{_W}gridSpan")), 1)
                span = element.find(f"{_W}tcPr/{_W}vMerge")
                if span is not None and _value(span) != "restart" and place in begun:
                    begun[place].rows += 1
                else:
                    begun.pop(place, None)
                    cells.append(Cell(self._text(element), columns))
                    if span is not None:
                        begun[place] = cells[-1]
                place += columns
            grid.append(cells)
        yield from grid


def _is_contents(element: Any) -> bool:
    """Return whether a content control holds a table of contents."""
    gallery = element.find(f"{_W}sdtPr/{_W}docPartObj/{_W}docPartGallery")
    return _value(gallery) == "Table of Contents"


def _value(element: Any | None) -> str:
    return str(element.get(f"{_W}val", "")) if element is not None else ""


def _whole(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else default


def _word_text(element: Any) -> str:
    """Return the text of a paragraph as it is read: insertions, links and fields with it, deletions without."""
    parts: list[str] = []
    todo = [iter(element)]
    while todo:
        child = next(todo[-1], None)
        if child is None:
            todo.pop()
        elif child.tag in (f"{_W}t", f"{_M}t"):
            parts.append(child.text or "")
        elif child.tag == f"{_W}tab":
            parts.append("\t")
        elif child.tag in (f"{_W}br", f"{_W}cr"):
            parts.append("\n")
        elif child.tag == f"{_W}noBreakHyphen":
            parts.append("-")
        elif not (_is_unseen(child) or child.tag == f"{_W}txbxContent"):
            todo.append(iter(child))
    return "".join(parts)


def _is_unseen(element: Any) -> bool:
    """Return whether Word does not show an element, or a run of hidden text."""
    if not isinstance(element.tag, str) or element.tag in _UNSEEN:
        return True
    mark = element.find(f"{_W}rPr/{_W}vanish")
    return mark is not None and mark.get(f"{_W}val", "1") not in ("0", "false", "off")


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
        skipped = title._element if title is not None else None
        # not slide.shapes: it leaves out the text boxes with an equation, which stand in an alternative
        lines = [text for shape in slide.shapes._spTree if shape is not skipped for text in _slide_lines(shape)]
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
        yield from table_rows(spanned_rows([*_slide_cells(row)] for row in element.iter(f"{_A}tr")))
    elif element.tag not in (f"{_MC}Fallback", f"{_A}p"):
        counts: dict[int, int] = {}
        for child in element:
            if child.tag == f"{_A}p":
                yield _slide_number(child, counts) + _drawn(child)
            elif isinstance(child.tag, str):
                yield from _slide_lines(child)


def _slide_cells(row: Any) -> Iterator[Cell]:
    """Yield the cells that begin in a row."""
    for cell in row.iter(f"{_A}tc"):
        if cell.get("hMerge", "0") == "0" and cell.get("vMerge", "0") == "0":
            text = " ".join(_drawn(paragraph) for paragraph in cell.iter(f"{_A}p"))
            yield Cell(text, _whole(cell.get("gridSpan", ""), 1), _whole(cell.get("rowSpan", ""), 1))


def _drawn(paragraph: Any) -> str:
    kinds = (f"{_A}t", f"{_M}t", f"{_A}br")
    return "".join("\n" if one.tag == f"{_A}br" else one.text or "" for one in paragraph.iter(*kinds))


def _slide_number(paragraph: Any, counts: dict[int, int]) -> str:
    """Return the number that PowerPoint writes before a paragraph, and count it.

    Args:
        paragraph: The element ``a:p``.
        counts: The last number of each level so far, in the same text box.
    """
    own = paragraph.find(f"{_A}pPr")
    level = own.get("lvl", "0") if own is not None else "0"
    place = int(level) if level in set("012345678") else 0
    if not _drawn(paragraph).strip():
        return ""
    for deeper in [one for one in counts if one > place]:
        del counts[deeper]
    number = own.find(f"{_A}buAutoNum") if own is not None else None
    if number is None:
        counts.pop(place, None)
        return ""
    first = number.get("startAt", "1")
    count = counts[place] + 1 if place in counts else int(first) if first.isascii() and first.isdigit() else 1
    counts[place] = count
    kind = number.get("type", "")
    form = next((form for start, form in _SLIDE_NUMBERS.items() if kind.startswith(start)), "decimal")
    text = written(count, form)
    if kind.endswith("ParenBoth"):
        return f"({text}) "
    return f"{text}{')' if kind.endswith('ParenR') else '.' if kind.endswith('Period') else ''} "


def _charts(slide: Any) -> Iterator[list[str]]:
    """Yield what charts and diagrams of a slide say: names of series and categories, values, texts."""
    for relation in slide.part.rels.values():
        if relation.is_external or not relation.reltype.endswith(("/chart", "/diagramData")):
            continue
        from lxml import etree

        element = etree.fromstring(relation.target_part.blob, etree.XMLParser(resolve_entities=False))
        found = [one.text for one in element.iter("{*}v", f"{_A}t") if one.text]
        yield [" | ".join(dict.fromkeys(found))] if relation.reltype.endswith("/chart") else found
