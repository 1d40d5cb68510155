"""Files of every kind, made by the programs and libraries that make them elsewhere."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TABLE = [["구분", "요금", "비고"], ["어른", "5,000원", "5,000원"], ["어린이", "2,500원", "보호자 동반"]]


def fill(table: Any, rows: Sequence[Sequence[str]]) -> None:
    """Write the texts of cells into a table of python-docx, python-pptx or python-hwpx."""
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            table.cell(row, column).text = cell


def write_docx(path: Path, heading: str, text: str) -> None:
    """A Word file with a heading, a table with merged cells, a link, a header, and text in a content control."""
    import docx

    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "머리글 사내 한정"
    document.add_heading(heading, level=1)
    document.add_paragraph(text)
    table = document.add_table(4, 3)
    fill(table, TABLE)
    merged = table.cell(3, 0).merge(table.cell(3, 2))
    merged.text = "단체는 전화로 문의"
    document.save(str(path))


def write_xlsx(path: Path, heading: str, text: str) -> None:
    """An Excel file of two sheets, with numbers, a date, a share and merged cells."""
    import datetime

    import openpyxl

    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.title = heading
    sheet.append(["항목", "금액", "날짜", "비율"])
    sheet.append([text, 12500, datetime.datetime(2026, 3, 2), 0.15])
    sheet["B2"].number_format = "#,##0"
    sheet["D2"].number_format = "0%"
    sheet.append([])
    sheet.append(["합친 칸 안내"])
    sheet.merge_cells("A4:D4")
    other = workbook.create_sheet("연락처")
    for row in [["이름", "전화"], ["홍길동", "02-123-4567"]]:
        other.append(row)
    workbook.save(path)


def write_pptx(path: Path, heading: str, text: str) -> None:
    """A presentation with a title, text, a table, a group of shapes, a chart and notes."""
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = heading
    slide.placeholders[1].text = text
    slide.notes_slide.notes_text_frame.text = "발표자 메모입니다"
    second = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = second.shapes.add_table(3, 3, Inches(1), Inches(1), Inches(5), Inches(2)).table
    fill(table, TABLE)
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(2), Inches(1)).text_frame.text = "묶은 도형 속 글"
    chart = CategoryChartData()
    chart.categories = ["상반기", "하반기"]
    chart.add_series("이용객", (120, 340))
    second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, Inches(3), Inches(3), chart)
    presentation.save(str(path))


def write_pdf(path: Path, heading: str, text: str) -> None:
    """A PDF of two pages by ReportLab, in a Korean font."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen import canvas

    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    drawn = canvas.Canvas(str(path))
    for lines in ([heading, text], ["둘째 쪽", *(" ".join(row) for row in TABLE)]):
        drawn.setFont("HYSMyeongJo-Medium", 10)
        for place, line in enumerate(lines):
            drawn.drawString(60, 780 - 20 * place, line)
        drawn.showPage()
    drawn.save()


def write_hwpx(path: Path, heading: str, text: str) -> None:
    """A Hangul file in the open format by python-hwpx, with a table of merged cells."""
    from hwpx import HwpxDocument

    document = HwpxDocument.new()
    document.add_paragraph(heading)
    document.add_paragraph(text)
    table = document.add_table(3, 3)
    fill(table, TABLE)
    table.merge_cells(2, 1, 2, 2)
    path.write_bytes(bytes(document.to_bytes()))


def write_hwp(path: Path, heading: str, text: str) -> None:
    """A Hangul file in the binary format."""
    from hwp_converter_ai import HwpWriter

    rows = "\n".join(f"| {' | '.join(row)} |" for row in [TABLE[0], ["---"] * 3, *TABLE[1:]])
    HwpWriter().from_markdown(f"# {heading}\n\n{text}\n\n{rows}\n", path)


def write_html(path: Path, heading: str, text: str) -> None:
    """A web page in CP949 that says so, as older Korean sites do."""
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in TABLE)
    path.write_bytes(
        f"<html><head><meta charset='euc-kr'><title>누리집</title><style>p {{color: red}}</style></head><body>"
        f"<h1>{heading}</h1><p>{text.replace(' ', ' <b></b>', 1)}</p><script>var hidden = '안 보임';</script>"
        f"<table>{rows}</table><ul><li>첫째 항목<li>둘째 항목</ul><pre>  들여 쓴\n    코드</pre></body></html>".encode(
            "cp949"
        )
    )


def write_csv(path: Path, heading: str, text: str, *, delimiter: str = ",", encoding: str = "utf-8-sig") -> None:
    """A table as Excel saves it."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows(
        [["질문", "답변"], [heading, text], ["줄이\n나뉜 질문", "둘째 답변"]]
    )
    path.write_bytes(out.getvalue().encode(encoding))


def write_json(path: Path, heading: str, text: str) -> None:
    """Documents as LangChain writes them."""
    from langchain_core.documents import Document
    from langchain_core.load import dumps

    path.write_text(dumps([Document(text, metadata={"title": heading})], ensure_ascii=False), encoding="utf-8")


def write_jsonl(path: Path, heading: str, text: str) -> None:
    """A row for each line."""
    path.write_text(json.dumps({"제목": heading, "내용": text}, ensure_ascii=False) + "\n", encoding="utf-8")


#: Ending -> writer, and the words beside heading and text that a person can read in the file.
WRITERS: dict[str, tuple[Callable[[Path, str, str], None], str]] = {
    ".txt": (lambda path, heading, text: path.write_text(f"{heading}\n\n{text}", encoding="utf-16") and None, ""),
    ".md": (
        lambda path, heading, text: path.write_text(f"# {heading}\n\n{text}\n", encoding="utf-8") and None,
        "",
    ),
    ".html": (write_html, "어른 5,000원 보호자 동반 첫째 항목 둘째 들여 쓴 코드"),
    ".pdf": (write_pdf, "둘째 쪽 어른 5,000원 2,500원"),
    ".docx": (write_docx, "머리글 사내 한정 어른 5,000원 단체는 전화로 문의"),
    ".xlsx": (write_xlsx, "항목 12,500 2026-03-02 15% 합친 칸 안내 홍길동 02-123-4567"),
    ".pptx": (write_pptx, "어른 5,000원 보호자 동반 발표자 메모입니다 묶은 도형 속 글 상반기 이용객"),
    ".hwpx": (write_hwpx, "어른 5,000원 어린이 2,500원"),
    ".hwp": (write_hwp, "어른 5,000원 어린이 보호자 동반"),
    ".csv": (write_csv, "나뉜 둘째 답변"),
    ".tsv": (lambda path, heading, text: write_csv(path, heading, text, delimiter="\t", encoding="cp949"), "둘째"),
    ".json": (write_json, ""),
    ".jsonl": (write_jsonl, ""),
}
