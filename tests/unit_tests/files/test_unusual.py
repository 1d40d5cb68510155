"""What real files have beside plain text: formats of numbers, comments, notes, odd bytes. All is found, or named."""

from __future__ import annotations

import datetime
import io
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("docx")
pytest.importorskip("hwpx")
pytest.importorskip("openpyxl")
pytest.importorskip("pptx")
pytest.importorskip("reportlab")
pytest.importorskip("unhwp")
pytest.importorskip("xlsxwriter")

from langchain_klue_rerank.files import load_documents, load_folder
from langchain_klue_rerank.files.encodings import decode, decode_text
from langchain_klue_rerank.files.formats.number_formats import shown

TEXT = "근무 규칙은 이렇습니다. “따옴표”와 漢字도 있습니다."


def texts(path: Path) -> str:
    return "\n".join(one.page_content for one in load_documents(path))


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf16_without_a_mark(order: str) -> None:
    assert decode(TEXT.encode(f"utf-16-{order}")) == TEXT
    assert decode("plain English, too\n".encode(f"utf-16-{order}")) == "plain English, too\n"
    assert decode("빈칸없는글".encode(f"utf-16-{order}")) == "빈칸없는글"
    assert decode(TEXT.encode(f"utf-16-{order}") + b"\n") == TEXT  # an odd byte at the end


def test_rare_characters_and_marks_in_the_middle() -> None:
    rare = "똠방각하 쀍 뷁 ㈜한국 ① ㎡ ￦ €"
    assert decode(rare.encode("cp949")) == rare
    assert decode("앞\ufeff뒤".encode()) == "앞뒤"
    assert decode("\ufeff첫 파일\n".encode() + "\ufeff둘째 파일".encode()) == "첫 파일\n둘째 파일"
    assert decode("근무 규칙".encode("iso2022_kr")) == "근무 규칙"


def test_a_damaged_character_costs_itself_alone() -> None:
    line = "안녕하세요, 안내문입니다.\n"
    for encoding in ("utf-8", "cp949"):
        content = (line * 5).encode(encoding) + b"\xff" + (line * 5).encode(encoding)
        assert decode_text(content) == (line * 5 + "\ufffd" + line * 5, 6)
        assert decode_text((line * 3 + "끝").encode(encoding)[:-1])[1] == 4
    user_made = line.encode("cp949") + b"\xc9\xa1" + (line * 5).encode("cp949")
    assert decode(user_made).count(line.strip()) == 6
    with pytest.raises(UnicodeError):
        decode(bytes(range(128, 256)) * 4)
    with pytest.raises(UnicodeError):
        decode(b"\xff\xfe\x00\x81\xff")


@pytest.mark.parametrize(
    ("number_format", "value", "seen"),
    [
        ('#,##0"원"', 12500, "12,500원"),
        ("[$₩-412]#,##0", 7000, "₩7,000"),
        ('_-"₩"* #,##0_-;-"₩"* #,##0_-;_-"₩"* "-"_-;_-@_-', -5000, "-₩5,000"),
        ("0.0%", 0.125, "12.5%"),
        ("#,##0;[Red]-#,##0", -1500, "-1,500"),
        ('#,##0,"천원"', 12345678, "12,346천원"),
        ("000", 7, "007"),
        ("000-0000-0000", 1012345678, "010-1234-5678"),
        ("General", 0.1 + 0.2, "0.3"),
        ("0.00", 3.14159, "3.14"),
        ('General"명"', 3, "3명"),
        ("# ?/?", 0.5, "0.5"),
        ('yyyy"년" m"월" d"일" (aaa)', datetime.datetime(2026, 3, 2), "2026년 3월 2일 (월)"),
        ("yyyy\\.\\ m\\.\\ d\\.", datetime.date(2026, 3, 2), "2026. 3. 2."),
        ("mm-dd-yy", datetime.datetime(2026, 3, 2), "2026-03-02"),
        ("yyyy/m/d h:mm;@", datetime.datetime(2026, 3, 2, 14, 5), "2026/3/2 14:05"),
        ("[$-412]AM/PM h:mm;@", datetime.time(14, 5), "오후 2:05"),
        ("[h]:mm", datetime.timedelta(hours=30), "30:00"),
        ("#" * 1000, 5, "5"),
        ("", True, "TRUE"),
    ],
)
def test_values_are_written_as_excel_shows_them(number_format: str, value: object, seen: str) -> None:
    assert shown(value, number_format) == seen


def test_what_lies_over_the_cells_of_a_sheet_is_read(tmp_path: Path) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as book:
        sheet = book.add_worksheet("요금")
        won = book.add_format({"num_format": '#,##0"원"'})
        day = book.add_format({"num_format": 'm"월" d"일"'})
        sheet.write_row(0, 0, ["항목", "값"])
        sheet.write(1, 0, "수강료")
        sheet.write(1, 1, 35000, won)
        sheet.write(2, 0, "개강일")
        sheet.write_datetime(2, 1, datetime.datetime(2026, 3, 2), day)
        sheet.write(3, 0, "합계")
        sheet.write_formula(3, 1, "=B2*2", won, 70000)
        sheet.merge_range("A6:B6", "합친 칸 안내")
        sheet.insert_textbox("D2", "상자 속 글")
        sheet.write_comment("A2", "메모 속 글")
        chart = book.add_chart({"type": "column"})
        chart.add_series({"name": "분기 이용객", "categories": "=요금!$A$2:$A$4", "values": "=요금!$B$2:$B$4"})
        chart.set_title({"name": "차트 이름"})
        sheet.insert_chart("F2", chart)
        book.add_worksheet("내부용").hide()
    text = texts(tmp_path / "a.xlsx")
    for seen in ("값: 35,000원", "값: 3월 2일", "값: 70,000원", "상자 속 글", "메모 속 글", "분기 이용객", "차트 이름"):
        assert text.count(seen) == 1, seen
    assert text.count("합친 칸 안내") == 1


def test_notes_headers_and_boxes_of_word_and_powerpoint(tmp_path: Path) -> None:
    import docx
    import pptx
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.opc.packuri import PackURI
    from docx.opc.part import Part

    names = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "머리글"
    document.sections[0].footer.paragraphs[0].text = "바닥글"
    document.add_comment(document.add_paragraph("본문").runs, "검토 의견", "나")
    notes = (
        f'<w:footnotes {names}><w:footnote w:id="2"><w:p><w:r><w:t>각주 글</w:t></w:r></w:p></w:footnote></w:footnotes>'
    )
    part = Part(PackURI("/word/footnotes.xml"), "application/xml", notes.encode(), document.part.package)
    document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
    document.save(str(tmp_path / "a.docx"))
    assert sorted(filter(None, texts(tmp_path / "a.docx").split("\n"))) == sorted(
        ["본문", "머리글", "바닥글", "검토 의견", "각주 글"]
    )
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "제목"
    slide.notes_slide.notes_text_frame.text = "발표자 메모"
    presentation.save(str(tmp_path / "a.pptx"))
    assert "발표자 메모" in texts(tmp_path / "a.pptx")


def test_notes_of_hangul_files_are_words_of_their_own(tmp_path: Path) -> None:
    from hwpx import HwpxDocument

    document = HwpxDocument.new()
    document.add_paragraph("본문 글").add_footnote("각주 말")
    document.add_paragraph("다음 문단")
    (tmp_path / "a.hwpx").write_bytes(bytes(document.to_bytes()))
    assert {"본문", "글", "각주", "말", "다음", "문단"} <= set(texts(tmp_path / "a.hwpx").split())


def test_hangul_files_without_deleted_text_and_with_what_controls_say(tmp_path: Path) -> None:
    from hwpx import HwpxDocument

    document = HwpxDocument.new()
    paragraph = document.add_paragraph("앞말 지운말 뒷말")
    document.tracking.delete(paragraph, match="지운말")
    document.tracking.insert(paragraph, "넣은말")
    document.shapes.add_equation("속도 over 시간")
    document.fields.add_check_box("개인정보 동의")
    document.page.set_header(text="머리글")
    document.page.set_footer(text="꼬리글")
    (tmp_path / "a.hwpx").write_bytes(bytes(document.to_bytes()))
    lines = [line.strip() for line in texts(tmp_path / "a.hwpx").split("\n") if line]
    assert lines == ["머리글", "앞말  뒷말넣은말", "속도 over 시간", "개인정보 동의", "꼬리글"]


def test_hidden_and_deleted_text_of_word_is_not_read_but_equations_are(tmp_path: Path) -> None:
    import docx
    from docx.oxml import parse_xml

    names = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    )
    document = docx.Document()
    paragraph = document.add_paragraph("면적은 ")
    paragraph.add_run("숨긴 글").font.hidden = True
    paragraph.add_run("보인 글 ").font.hidden = False
    paragraph._p.append(parse_xml(f"<m:oMath {names}><m:r><m:t>가로×세로</m:t></m:r></m:oMath>"))
    table = document.add_table(2, 1)
    table.cell(0, 0).text, table.cell(1, 0).text = "남은 행", "지운 행"
    table.rows[1]._tr.get_or_add_trPr().append(parse_xml(f'<w:del {names} w:id="1" w:author="나"/>'))
    document.save(str(tmp_path / "a.docx"))
    assert texts(tmp_path / "a.docx").split("\n") == ["면적은 보인 글 가로×세로", "", "남은 행"]


def test_numbers_and_equations_on_slides(tmp_path: Path) -> None:
    import pptx
    from pptx.oxml import parse_xml

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "신청 순서"
    frame = slide.placeholders[1].text_frame
    steps = [("접수", 0, "arabicPeriod"), ("서류", 1, "alphaLcParenR"), ("사진", 1, "alphaLcParenR")]
    steps += [("심사", 0, "arabicPeriod"), ("쉬는 글", 0, ""), ("다시", 0, "arabicParenBoth")]
    drawing = "http://schemas.openxmlformats.org/drawingml/2006/main"
    for place, (text, level, kind) in enumerate(steps):
        paragraph = frame.paragraphs[0] if not place else frame.add_paragraph()
        paragraph.text, paragraph.level = text, level
        if kind:
            paragraph._p.get_or_add_pPr().append(parse_xml(f'<a:buAutoNum xmlns:a="{drawing}" type="{kind}"/>'))
    box = slide.shapes.add_textbox(0, 0, 100, 100)
    box.text_frame.text = "넓이는 "
    # PowerPoint puts a text box with an equation into an alternative
    math = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    box.text_frame.paragraphs[0]._p.append(
        parse_xml(f'<m:oMath xmlns:m="{math}"><m:r><m:t>가로×세로</m:t></m:r></m:oMath>')
    )
    alternatives = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    wrapped = parse_xml(
        f'<mc:AlternateContent xmlns:mc="{alternatives}"><mc:Choice Requires="a14"/></mc:AlternateContent>'
    )
    box._element.addprevious(wrapped)
    wrapped[0].append(box._element)
    presentation.save(str(tmp_path / "a.pptx"))
    lines = ["1. 접수", "a) 서류", "b) 사진", "2. 심사", "쉬는 글", "(1) 다시", "넓이는 가로×세로"]
    assert texts(tmp_path / "a.pptx").split("\n") == lines


def test_lists_of_web_pages_have_their_numbers_and_hidden_elements_are_left_out(tmp_path: Path) -> None:
    page = (
        "<ol start=3><li>접수<li><p>심사</p><ol type=a><li>서류</ol><li value=9>통보</ol><ul><li><p>문의</ul>"
        "<p style='color:red; display: none'>숨긴 글</p><div hidden>숨긴 글</div><p style='display:block'>끝"
    )
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    assert texts(tmp_path / "a.html").split("\n") == ["3. 접수", "4. 심사", "a. 서류", "9. 통보", "- 문의", "끝"]


def test_every_file_that_is_not_read_is_named_with_its_reason(tmp_path: Path) -> None:
    import openpyxl
    from hwpx import HwpxDocument
    from reportlab.pdfgen import canvas

    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("안.txt", TEXT)
    for name in ("묶음.zip", "묶음.docx", "묶음.xlsx", "묶음.hwpx"):  # an archive, whatever it calls itself
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("안.zip", inner.getvalue())
    drawn = canvas.Canvas(str(tmp_path / "잠긴.pdf"), encrypt="비밀")
    drawn.drawString(60, 700, "secret")
    drawn.save()
    (tmp_path / "잠긴.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"))
    for name in ("빈.txt", "빈.pdf", "빈.docx", "빈.csv"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "훼손.txt").write_bytes(TEXT.encode() + b"\n" + b"\xff" + TEXT.encode())
    book = openpyxl.Workbook()
    book.active.append(["글", "=1+1"])
    book.create_sheet("내부용").append(["남의 눈에 안 보이는 글"])
    book["내부용"].sheet_state = "hidden"
    book.save(tmp_path / "수식.xlsx")
    document = HwpxDocument.new()
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "담당", "홍길동"
    (tmp_path / "표.hwpx").write_bytes(bytes(document.to_bytes()))
    (tmp_path / "표.html").write_text(
        "<table><tr><th rowspan=2>구분<th colspan=2>요금<tr><td>어른<td><table><tr><td>안쪽 표</table></table>",
        encoding="utf-8",
    )
    documents, problems = load_folder(tmp_path)
    named = {(Path(one.path).name, one.reason) for one in problems}
    assert {
        ("묶음.zip", "archive"),
        ("묶음.docx", "damaged"),
        ("묶음.xlsx", "damaged"),
        ("묶음.hwpx", "damaged"),
        ("잠긴.pdf", "password"),
        ("잠긴.xlsx", "password"),
        ("빈.txt", "empty"),
        ("빈.pdf", "empty"),
        ("빈.docx", "empty"),
        ("빈.csv", "empty"),
        ("훼손.txt", "letters"),
        ("수식.xlsx", "hidden sheet"),
        ("수식.xlsx", "formulas"),
    } == named
    text = "\n".join(one.page_content for one in documents)
    assert "담당 | 홍길동" in text
    assert all(word in text for word in ("구분", "요금", "어른", "안쪽 표"))
    assert "안 보이는" not in text
    assert all(one.sentence(korean=True) != one.sentence() for one in problems)


@pytest.mark.parametrize("above", ["공영 주차장 현황\n", "공영 주차장 현황,,\n기준: 2026년,,\n\n"])
def test_lines_above_a_table_in_csv_are_no_header(tmp_path: Path, above: str) -> None:
    (tmp_path / "a.csv").write_text(f"{above}구분,주소,면수\n노상,큰길 1,30\n지하,역 앞,\n", encoding="cp949")
    lines = [line.split(",")[0] for line in above.splitlines() if line]
    rows = ["구분: 노상 | 주소: 큰길 1 | 면수: 30", "구분: 지하 | 주소: 역 앞"]
    assert texts(tmp_path / "a.csv").split("\n") == [*lines, *rows]


@pytest.mark.parametrize("text", ["내용\n안녕, 하세요\n또, 만나요\n", "메모\n한 줄\n두 줄\n", "번호,내용\n1,글\n"])
def test_a_header_of_csv_stays_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert text.split("\n")[0] not in texts(tmp_path / "a.csv").split("\n")


def test_lines_of_a_pdf_are_joined_in_paragraphs_but_not_in_tables_and_lists(tmp_path: Path) -> None:
    from reportlab.lib.enums import TA_JUSTIFY
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Table

    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    style = ParagraphStyle("body", fontName="HYSMyeongJo-Medium", fontSize=10, leading=14, alignment=TA_JUSTIFY)
    head = ParagraphStyle("head", style, fontSize=14, leading=20)
    rule = (
        "이용자는 예약한 시간에 맞추어 와야 하며 늦을 때에는 담당 부서에 미리 알려야 하고 "
        "알리지 않으면 다음 달 예약이 제한될 수 있다."
    )
    cells = [["어른 요금", "5,000원", "단체 할인"], ["어린이 요금", "2,500원", "보호자 동반"]]
    SimpleDocTemplate(str(tmp_path / "a.pdf")).build(
        [
            Paragraph("회의실 이용 규칙", head),
            *(Paragraph(text, style) for text in (rule, "1. 회원증", "2. 신청서")),
            Table(cells, style=[("FONT", (0, 0), (-1, -1), "HYSMyeongJo-Medium")]),
        ]
    )
    lines = ["회의실 이용 규칙", rule, "1. 회원증", "2. 신청서", *(" | ".join(row) for row in cells)]
    assert texts(tmp_path / "a.pdf").split("\n") == lines
