"""The text of PDF, Word and Hangul (hwpx) files. Each reader returns rows as a jsonl file would have them."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from langchain_klue_rerank.engine.text.kiwi import shared_analyzer

if TYPE_CHECKING:
    from docx.document import Document as WordDocument
    from docx.table import Table

#: Largest unpacked size of a zipped file, docx and hwpx: a small file that unpacks to gigabytes is no document.
_MAX_UNPACKED = 1 << 30
#: How Office files with a password, and the older doc and hwp, begin.
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: A line that fills this share of the longest line of its page was wrapped, a shorter one has ended by itself.
_FULL_LINE = 0.75

_PDFIUM = threading.Lock()  # PDFium must not be called by two threads at once


class RefusedError(Exception):
    """A file that cannot be read; the message tells a visitor why."""


PASSWORD = "암호가 걸려 있어 읽을 수 없습니다. 암호를 푼 파일을 올려 주세요."


def read_pdf(content: bytes) -> list[dict[str, Any]]:
    """Read a PDF, a row for each page.

    Raises:
        RefusedError: If it is none, is damaged, wants a password, or has pictures only.
    """
    import pypdfium2

    rows = []
    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(content)
        except pypdfium2.PdfiumError as error:
            raise RefusedError(
                PASSWORD if "password" in str(error) else "PDF 파일이 아니거나 손상되었습니다."
            ) from error
        with document:
            for number in range(len(document)):
                page = document[number]
                lines = page.get_textpage().get_text_range().splitlines()
                rows.append({"text": "\n".join(unwrap([line.strip() for line in lines])), "page": number + 1})
    if not any(row["text"].strip() for row in rows):
        raise RefusedError("글자가 들어 있지 않습니다. 스캔한 문서라면 문자 인식(OCR)을 거쳐 올려 주세요.")
    return [row for row in rows if row["text"].strip()]


def unwrap(lines: list[str]) -> list[str]:
    """Join lines that a page's width has broken, in the middle of a word too.

    Args:
        lines: The lines of one page.

    Returns:
        The paragraphs: PDF files keep neither them nor the spaces at the ends of lines.
    """
    longest = max(map(len, lines), default=0)
    paragraphs: list[str] = []
    open_line = False
    for line in lines:
        if open_line and line:
            paragraphs[-1] += _glue(paragraphs[-1], line) + line
        else:
            paragraphs.append(line)
        open_line = len(line) >= _FULL_LINE * longest and not re.search(r"[.!?:]$", line)
    return paragraphs


def _glue(before: str, after: str) -> str:
    """Return what stood between two lines, nothing or a space: what Kiwi finds likelier."""
    left, right = before.split()[-1], after.split()[0]
    if re.match(r"[.,!?)\]]", right) or (left[-1].isdigit() and not right[0].isdigit()):
        return ""
    kiwi = shared_analyzer().kiwi
    return "" if kiwi.analyze(left + right)[0][1] > kiwi.analyze(f"{left} {right}")[0][1] else " "


def read_docx(content: bytes) -> list[dict[str, Any]]:
    """Read a Word file: its paragraphs and tables in order.

    Raises:
        RefusedError: If it is none, is damaged, or wants a password.
    """
    import docx

    _check_zip(content, "Word(docx)")
    try:
        document = docx.Document(io.BytesIO(content))
    except Exception as error:  # python-docx lets the errors of zip, XML and its own packages through
        raise RefusedError("Word(docx) 파일이 아니거나 손상되었습니다.") from error
    return [{"text": "\n".join(_blocks(document))}]


def _blocks(document: WordDocument) -> Iterator[str]:
    from docx.table import Table

    for block in document.iter_inner_content():
        if isinstance(block, Table):
            yield from _rows(block)
            yield ""
        elif block.text.strip():
            yield block.text + "\n"


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        cells = dict.fromkeys(" ".join(cell.text.split()) for cell in row.cells)  # merged cells come once for each part
        yield " | ".join(text for text in cells if text)


def read_hwpx(content: bytes) -> list[dict[str, Any]]:
    """Read a Hangul file in the open format: its paragraphs and tables in order.

    Raises:
        RefusedError: If it is none, is damaged, or wants a password.
    """
    from hwpx import HwpxDocument

    with _check_zip(content, "한글(hwpx)") as archive:
        names = archive.namelist()
        if "META-INF/manifest.xml" in names and b"encryption-data" in archive.read("META-INF/manifest.xml"):
            raise RefusedError(PASSWORD)
    try:
        text = HwpxDocument.open(io.BytesIO(content)).text.plain()
    except Exception as error:  # zip, XML and the library's own errors alike
        raise RefusedError("한글(hwpx) 파일이 아니거나 손상되었습니다.") from error
    return [{"text": text.replace("\t", " | ")}]


def _check_zip(content: bytes, kind: str) -> zipfile.ZipFile:
    if content.startswith(_OLE):
        raise RefusedError(
            "암호가 걸렸거나 예전 형식(doc, hwp)입니다. 암호를 풀고 docx, hwpx나 PDF로 저장해 올려 주세요."
        )
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise RefusedError(f"{kind} 파일이 아니거나 손상되었습니다.") from error
    if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED:
        raise RefusedError("압축을 풀면 너무 커서 읽지 않습니다.")
    return archive
