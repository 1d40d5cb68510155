"""Hangul files, the older hwp and the open hwpx, read by unhwp."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from langchain_klue_rerank.files.content import Cell, Piece, sections, spanned_rows, table_rows
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

_MANIFEST = "META-INF/manifest.xml"
_SECTION = re.compile(r"Contents/section\d+\.xml")
#: Elements of hwpx files that unhwp reads wrongly or not at all.
_REPAIRED = (
    b"footNote", b"endNote", b"deleteBegin", b":equation", b"checkBtn", b"radioBtn", b":header ", b":footer ",
)  # fmt: skip
#: What describes text and is none.
_NO_TEXT = frozenset(
    {"style", "alignment", "vertical_alignment", "background_color", "font_name", "color", "id", "kind"}
)


def read_hangul(path: str, content: bytes) -> list[Piece]:
    """Read a Hangul file: a piece for each heading, with tables, notes, headers and footers.

    Raises:
        UnreadableFileError: If it wants a password, is a distribution document, or is damaged.
    """
    import unhwp

    if content.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if _MANIFEST in archive.namelist() and b"encryption-data" in archive.open(_MANIFEST).read(1 << 20):
                raise UnreadableFileError(Problem(path, "password"))
            content = _repaired(archive) or content
    try:
        with unhwp.parse_bytes(content) as result:
            document = json.loads(result.json)
    except unhwp.UnhwpError as error:
        kinds = unhwp.ErrorKind
        reasons = {kinds.ENCRYPTED: "password", kinds.DISTRIBUTION_RESTRICTED: "restricted"}
        raise UnreadableFileError(Problem(path, reasons.get(error.kind, "damaged"), 0, str(error)[:200])) from error
    blocks = [
        block
        for section in document.get("sections", ())
        for group in ("header", "content", "footer")
        for block in _blocks(section.get(group))
    ]
    return list(sections(blocks))


def _repaired(archive: zipfile.ZipFile) -> bytes | None:
    """Return an hwpx file of which unhwp reads what a person reads; None if there is nothing to change.

    Without it, unhwp glues notes to the words before, reads text whose deletion is tracked, leaves out equations and
    the captions of buttons, and reads some headers and footers twice and others not at all.
    """
    from lxml import etree

    changed: dict[str, bytes] = {}
    for name in archive.namelist():
        if not _SECTION.fullmatch(name) or not any(kind in (xml := archive.read(name)) for kind in _REPAIRED):
            continue
        root = etree.fromstring(xml, etree.XMLParser(resolve_entities=False))
        _remove_deleted(root)
        _place_headers(root)
        for note in root.iter("{*}footNote", "{*}endNote"):
            for text in note.iter("{*}t"):
                text.text = f" {text.text or ''}"
            for last in list(note.iter("{*}t"))[-1:]:
                if len(last):
                    last[-1].tail = f"{last[-1].tail or ''} "
                else:
                    last.text = f"{last.text} "
        for shown in list(root.iter("{*}equation", "{*}checkBtn", "{*}radioBtn")):
            caption = shown.get("caption") or shown.findtext("{*}script")
            if caption:
                text = etree.Element(f"{{{etree.QName(shown).namespace}}}t")
                text.text = f" {caption} "
                shown.addnext(text)
        changed[name] = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    if not changed:
        return None
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as copy:
        for entry in archive.infolist():
            copy.writestr(entry, changed.get(entry.filename) or archive.read(entry))
    return out.getvalue()


def _place_headers(root: Any) -> None:
    """Make the paragraphs of headers the first ones of a section, and those of footers the last ones."""
    for kind in ("header", "footer"):
        places = (f".//{{*}}ctrl/{{*}}{kind}", f".//{{*}}secPr/{{*}}{kind}")  # some writers fill both
        found = [one for place in places for one in root.iterfind(place)]
        known: set[str] = set()
        paragraphs = []
        for part in found:
            if part.get("id") not in known:
                paragraphs += list(part.iterfind("{*}subList/{*}p"))
            known.add(part.get("id", ""))
            part.getparent().remove(part)
        for place, paragraph in enumerate(paragraphs):
            root.insert(place if kind == "header" else len(root), paragraph)


def _remove_deleted(root: Any) -> None:
    """Remove text whose deletion is tracked: it stands between two marks, which may be in different paragraphs."""
    deletions: set[str] = set()
    for text in root.iter("{*}t"):
        if deletions:
            text.text = ""
        for mark in text:
            kind = mark.tag.rsplit("}", 1)[-1] if isinstance(mark.tag, str) else ""
            if kind == "deleteBegin":
                deletions.add(mark.get("TcId", ""))
            elif kind == "deleteEnd":
                deletions.discard(mark.get("TcId", ""))
            if deletions:
                mark.tail = ""


def _blocks(value: Any) -> Iterator[tuple[int, str]]:
    if isinstance(value, list):
        for one in value:
            yield from _blocks(one)
    elif isinstance(value, dict):
        for kind, block in value.items():
            if kind == "Paragraph":
                text = _text(block.get("content"))
                level = block.get("style", {}).get("heading_level") or 0
                if text.strip():
                    yield level, text if level else f"{text}\n"
            elif kind == "Table":
                yield 0, "\n".join(_table(block)) + "\n"
            else:
                text = _text(block)
                if text.strip():
                    yield 0, f"{text}\n"


def _table(block: dict[str, Any]) -> Iterator[str]:
    rows = (
        [Cell(_cell(one), one.get("colspan", 1), one.get("rowspan", 1)) for one in row["cells"]]
        for row in block["rows"]
    )
    return table_rows(spanned_rows(rows))


def _cell(cell: dict[str, Any]) -> str:
    texts = [_text(cell.get("content"))]
    texts += [_text(value) for key, value in cell.items() if key != "content" and isinstance(value, list)]
    return "\n".join(text for text in texts if text)


def _text(value: Any) -> str:
    """Return all text in a part of a document, whatever it is made of."""
    if isinstance(value, str):
        return {"LineBreak": "\n", "Tab": "\t", "PageBreak": "\n"}.get(value, "")
    if isinstance(value, list):
        paragraphs = bool(value) and all(isinstance(one, dict) and "style" in one for one in value)
        return ("\n" if paragraphs else "").join(map(_text, value))
    if not isinstance(value, dict):
        return ""
    parts = []
    for key, one in value.items():
        if key in ("text", "script", "latex", "alt_text") and isinstance(one, str):
            parts.append(one)
        elif key == "Table" and isinstance(one, dict):
            parts.append("\n".join(_table(one)))
        elif key not in _NO_TEXT:
            parts.append(_text(one))
    return "".join(parts)
