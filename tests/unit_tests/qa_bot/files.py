"""Small files of every kind that the bot reads, made here."""

from __future__ import annotations

import base64
import io


def pdf(*pages: list[str]) -> bytes:
    """A PDF in Korean without an embedded font, a list of lines for each page."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        3: b"<</Type/Font/Subtype/Type0/BaseFont/HYSMyeongJo-Medium/Encoding/UniKS-UCS2-H/DescendantFonts[4 0 R]>>",
        4: b"<</Type/Font/Subtype/CIDFontType0/BaseFont/HYSMyeongJo-Medium"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(Korea1)/Supplement 1>>/DW 1000/FontDescriptor 5 0 R>>",
        5: b"<</Type/FontDescriptor/FontName/HYSMyeongJo-Medium/Flags 6/FontBBox[0 -200 1000 900]/ItalicAngle 0"
        b"/Ascent 800/Descent -200/CapHeight 700/StemV 60>>",
    }
    kids = []
    for number, lines in enumerate(pages):
        shown = b" ".join(
            b"BT /F1 12 Tf 60 %d Td <%s> Tj ET" % (760 - 20 * row, line.encode("utf-16-be").hex().encode())
            for row, line in enumerate(lines)
        )
        page, content = 6 + 2 * number, 7 + 2 * number
        kids.append(b"%d 0 R" % page)
        objects[page] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % content
        )
        objects[content] = b"<</Length %d>>stream\n%s\nendstream" % (len(shown), shown)
    objects[2] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(kids), len(kids))
    out, places = io.BytesIO(), {}
    out.write(b"%PDF-1.5\n")
    for number in sorted(objects):
        places[number] = out.tell()
        out.write(b"%d 0 obj%s endobj\n" % (number, objects[number]))
    start = out.tell()
    rows = b"".join(b"%010d 00000 n \n" % places[number] for number in sorted(objects))
    size = len(objects) + 1
    out.write(b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, rows))
    out.write(b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, start))
    return out.getvalue()


def docx(*paragraphs: str, table: list[list[str]] | None = None) -> bytes:
    """A Word file of paragraphs and, after them, a table."""
    import docx as python_docx

    document = python_docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if table:
        grid = document.add_table(len(table), len(table[0]))
        for row, cells in enumerate(table):
            for column, text in enumerate(cells):
                grid.cell(row, column).text = text
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def hwpx(*paragraphs: str) -> bytes:
    """A Hangul file of paragraphs."""
    from hwpx import HwpxDocument

    document = HwpxDocument.new()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    return bytes(document.to_bytes())


#: A PDF that opens with the password "secret" only.
LOCKED_PDF = base64.b64decode(
    "JVBERi0xLjMKJeLjz9MKMiAwIG9iago8PAovVHlwZSAvUGFnZXMKL0NvdW50IDEKL0tpZHMgWyA0IDAgUiBdCj4+CmVuZG9iagozIDAgb2JqCj"
    "w8Ci9UeXBlIC9DYXRhbG9nCi9QYWdlcyAyIDAgUgo+PgplbmRvYmoKNCAwIG9iago8PAovVHlwZSAvUGFnZQovUmVzb3VyY2VzIDw8Cj4+Ci9N"
    "ZWRpYUJveCBbIDAuMCAwLjAgNzIgNzIgXQovUGFyZW50IDIgMCBSCj4+CmVuZG9iago1IDAgb2JqCjw8Ci9WIDEKL1IgMgovTGVuZ3RoIDQwCi"
    "9QIDQyOTQ5NjcyOTIKL0ZpbHRlciAvU3RhbmRhcmQKL08gPGU1YThkMjY4N2JkOWQwY2ZmOTQ2YjdhYzU1ZjUxMDgxZGNmMGQxMTY1NTRjNGJm"
    "Y2IwYTVlNDQ2ZjY5ZWE0OGE+Ci9VIDxhOTBiMzMzNjQ3NDVkODY1NzZkZGY5MWJjYWU4YzQ1OTg1ZTVmYWE5ZDFjYjk2NTUzZGNmNWVmNDM3ZD"
    "gyNTQ5Pgo+PgplbmRvYmoKeHJlZgowIDYKMDAwMDAwMDAwMSA2NTUzNSBmIAowMDAwMDAwMDAwIDAwMDAxIGYgCjAwMDAwMDAwMTUgMDAwMDAg"
    "biAKMDAwMDAwMDA3NCAwMDAwMCBuIAowMDAwMDAwMTIzIDAwMDAwIG4gCjAwMDAwMDAyMTUgMDAwMDAgbiAKdHJhaWxlcgo8PAovU2l6ZSA2Ci"
    "9Sb290IDMgMCBSCi9JRCBbIDw2MDk1OGM2NzEyZGI1ZWMwMWQ0NTZlYmE0YzVhNmFlMz4gPDYwOTU4YzY3MTJkYjVlYzAxZDQ1NmViYTRjNWE2"
    "YWUzPiBdCi9FbmNyeXB0IDUgMCBSCj4+CnN0YXJ0eHJlZgo0MjkKJSVFT0YK"
)
