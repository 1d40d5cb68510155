"""PDF: the lines of each page, and how they become paragraphs again."""

from __future__ import annotations

import re

from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.files.content import Piece
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

#: A line that fills this share of the longest line of its page was wrapped, a shorter one has ended by itself.
_FULL_LINE = 0.75
#: Longest part of a word at the end of a line that Kiwi is asked about.
_WORD = 32


def read_pdf(path: str, content: bytes) -> list[Piece]:
    """Read a PDF: a piece for each page with text, its lines as they stand.

    Raises:
        UnreadableFileError: If it wants a password or is damaged.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        raise UnreadableFileError(
            Problem(path, "password" if "password" in str(error).lower() else "damaged")
        ) from error
    pieces = []
    with document:
        for number in range(len(document)):
            try:
                page = document[number]
                text = page.get_textpage().get_text_range()
            except pypdfium2.PdfiumError as error:
                if len(document) == 1:
                    raise UnreadableFileError(Problem(path, "damaged", 0, f"page {number + 1}")) from error
                continue
            if text.strip():
                pieces.append(Piece(text, {"page": number + 1}))
            page.close()
    return pieces


def unwrap(lines: list[str]) -> list[str]:
    """Join lines that a page's width has broken, in the middle of a word too.

    Args:
        lines: The lines of one page.

    Returns:
        The paragraphs: PDF files keep neither them nor the spaces at the ends of lines.
    """
    longest = max(map(len, lines), default=0)
    paragraphs: list[list[str]] = []
    last = ""  # the line that another one may continue
    for line in lines:
        if last and line:
            paragraphs[-1] += (_glue(last, line), line)
        else:
            paragraphs.append([line])
        last = line if len(line) >= _FULL_LINE * longest and not re.search(r"[.!?:]$", line) else ""
    return ["".join(parts) for parts in paragraphs]


def _glue(before: str, after: str) -> str:
    """Return what stood between two lines, nothing or a space: what Kiwi finds likelier."""
    left, right = before[-4 * _WORD :].split()[-1][-_WORD:], after[: 4 * _WORD].split()[0][:_WORD]
    if re.match(r"[.,!?)\]]", right) or (left[-1].isdigit() and not right[0].isdigit()):
        return ""
    kiwi = shared_analyzer().kiwi
    return "" if kiwi.analyze(left + right)[0][1] > kiwi.analyze(f"{left} {right}")[0][1] else " "
