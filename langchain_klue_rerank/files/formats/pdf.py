"""PDF: the lines of each page, which `mending.unwrap` makes paragraphs of again."""

from __future__ import annotations

from langchain_klue_rerank.files.content import Piece
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError


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
