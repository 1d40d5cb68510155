"""Web pages: the text that a browser would show, under its headings."""

from __future__ import annotations

import re
from typing import Any

from langchain_klue_rerank.files.content import Cell, Piece, sections, spanned_rows, table_rows
from langchain_klue_rerank.files.encodings import decode
from langchain_klue_rerank.files.formats.page_frame import MOSTLY_LINKS, PageFrame, share_of_links
from langchain_klue_rerank.files.formats.word_numbers import written
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_-]{1,40})", re.I)
_UNSEEN = frozenset({"script", "style", "template", "head", "title", "noscript", "svg", "math", "datalist"})
_INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins"}
    | {"kbd", "label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup"}
    | {"time", "tt", "u", "var", "wbr", "img"}
)

#: Styles of elements that a browser does not show.
_NOT_SHOWN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
#: Types of numbered lists, and Word's name for the same.
_NUMBERED = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}

#: Elements within elements that are read; browsers, too, stop somewhere.
_DEPTH = 500


def read_html(path: str, content: bytes) -> list[Piece]:
    """Read a web page: a piece for each heading; table rows as lines, scripts, styles and menus left out.

    What stands around the content, such as the address in the footer, is the last piece. A page that has nothing but
    menus is read with them.

    Raises:
        UnreadableFileError: If it is no text.
    """
    from lxml import html

    declared = _CHARSET.search(content[:4096])
    try:
        text = decode(content, declared[1].decode() if declared else None)
    except UnicodeError as error:
        raise UnreadableFileError(Problem(path, "encoding")) from error
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1)
    if not text.strip():
        return []
    root = html.document_fromstring(text, parser=html.HTMLParser(encoding=None, huge_tree=False, no_network=True))
    title = root.find(".//title")
    name = " ".join((title.text_content() if title is not None else "").split())
    name = name or _document_title(root)
    pieces: list[Piece] = []
    for frame in (PageFrame(root), None):
        writer = _Writer(frame)
        writer.walk(root, 0)
        writer.flush()
        pieces = list(sections(writer.blocks, name))
        if pieces:
            around = [text for text in writer.around if text != name and not text.isdigit()]
            pieces += [Piece("\n".join(around), {"title": name} if name else {})] if around else []
            break
    return pieces or ([Piece(name, {"title": name})] if name else [])


class _Writer:
    """Gathers lines: inline elements run on, others begin a line.

    Args:
        frame: What tells the content from the rest; None to take all for content.
    """

    def __init__(self, frame: PageFrame | None = None) -> None:
        self.blocks: list[tuple[int, str]] = []
        self.around: list[str] = []
        self._frame = frame
        self._is_around = False
        self._is_in_heading = False
        self._line: list[str] = []
        self._mark = ""  # of the item of a list that has no text yet

    def flush(self, level: int = 0) -> None:
        text = "".join(self._line).strip()
        self._line = []
        if text:
            mark = "" if self._mark and text.startswith(self._mark) else self._mark
            self.blocks.append((level, f"{mark} {text}" if mark else text))
            self._mark = ""

    def walk(self, element: Any, depth: int, mark: str = "-") -> None:
        tag = element.tag
        if not isinstance(tag, str) or tag in _UNSEEN or "hidden" in element.attrib or depth > _DEPTH:
            return
        if _NOT_SHOWN.search(element.get("style", "")):
            return
        place = self._frame.place_of(element) if self._frame is not None else "content"
        if place == "nowhere":
            return
        if self._is_around:
            if tag in ("ul", "ol", "p", "div") and share_of_links(element) >= MOSTLY_LINKS:
                return
        elif place == "around":
            self._walk_around(element, depth)
            return
        is_heading = re.fullmatch(r"h[1-6]", tag) is not None
        is_inline = tag in _INLINE or self._is_in_heading
        if tag == "br":
            self._line.append("\n")
            return
        if not is_inline:
            self.flush()
        if tag == "table" and element.find(".//table") is None:
            self.blocks.append((0, "\n".join(table_rows(_rows(element))) + "\n"))
            return
        if tag == "a" and _is_note(element):
            self._line.append(f" [{element.text_content().strip()}] ")
            return
        if tag == "img" and element.get("alt"):
            self._line.append(f" {element.get('alt')} ")
        if tag == "li":
            self._mark = mark
        if tag in ("pre", "textarea"):
            self.blocks.append((0, element.text_content()))
            return
        self._is_in_heading = self._is_in_heading or is_heading
        self._add(element.text)
        number = _whole(element.get("start"), 1)
        for child in element:
            if tag == "ol" and child.tag == "li":
                number = _whole(child.get("value"), number)
                self.walk(child, depth + 1, f"{written(number, _NUMBERED.get(element.get('type', ''), 'decimal'))}.")
                number += 1
            else:
                self.walk(child, depth + 1)
            self._add(child.tail)
        if not is_inline:
            self._is_in_heading = False
            self.flush(int(tag[1]) if is_heading else 0)
        if tag == "li":
            self._mark = ""

    def _walk_around(self, element: Any, depth: int) -> None:
        """Gather what stands around the content, without headings and lists of links."""
        self.flush()
        content, self.blocks, self._mark, self._is_around = self.blocks, [], "", True
        self._add(element.text)
        for child in element:
            self.walk(child, depth + 1)
            self._add(child.tail)
        self.flush()
        self.around += [text for _, text in self.blocks]
        self.blocks, self._is_around = content, False

    def _add(self, text: str | None) -> None:
        if text:
            self._line.append(re.sub(r"[ \t\r\n\f]+", " ", text))


def _is_note(link: Any) -> bool:
    """Return whether a link says only the number of a note, which else would stand at the end of a word."""
    if not link.get("href", "").startswith("#") or link.get("role") == "doc-backlink":
        return False
    return re.fullmatch(r"\s*[0-9]{1,3}\s*", link.text_content()) is not None


def _document_title(root: Any) -> str:
    """Return the title that Google Docs writes as a paragraph."""
    body = root.find("body")
    if body is None or "doc-content" not in body.get("class", "").split():
        return ""
    titles = (one for one in body.iter("p") if "title" in one.get("class", "").split())
    return " ".join(next((one.text_content() for one in titles), "").split())


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,6}", text) else default


def _rows(table: Any) -> list[list[str]]:
    captions = [[element.text_content() for element in table.iter("caption")]]
    rows = []
    for row in table.iter("tr"):
        cells = []
        for cell in row.iter("td", "th"):
            writer = _Writer()
            writer.walk(cell, 0)
            writer.flush()
            text = " ".join(text for _, text in writer.blocks)
            cells.append(Cell(text, _whole(cell.get("colspan"), 1), _whole(cell.get("rowspan"), 1)))
        rows.append(cells)
    return [*captions, *spanned_rows(rows)]
