"""Files as sites and programs elsewhere write them: the content is read in its place, and what frames it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("docx")
pytest.importorskip("hwpx")
pytest.importorskip("lxml")
pytest.importorskip("pptx")
pytest.importorskip("pypdfium2")
pytest.importorskip("reportlab")
pytest.importorskip("unhwp")
pytest.importorskip("xlsxwriter")

from langchain_klue_rerank.files import load_documents
from tests.unit_tests.files.writers import fill

PAGE = """<!DOCTYPE html><html lang="ko"><head><meta charset="utf-8"><title>여권 안내</title></head><body>
<div id="skipNavigation"><a href="#content">본문 바로가기</a></div>
<div class="cookie-consent"><p>쿠키를 씁니다. 계속 보시면 동의로 봅니다.</p><button>동의</button></div>
<header><h1 class="logo"><a href="/"><img src="l.png" alt="한빛구청"></a></h1>
<div id="gnb"><ul><li><a href="/a">종합민원</a></li><li><a href="/b">구정 소식</a></li></ul></div>
<form role="search"><button type="submit">통합검색</button></form></header>
<aside class="lnb"><h2>민원 차림</h2><ul><li><a href="/c">여권 재발급</a></li><li><a href="/d">국제면허</a></li></ul>
</aside><div id="content"><div class="location"><a href="/">처음</a> &gt; <a href="/a">민원</a> &gt; 여권</div>
<h2>준비물<a class="headerlink" href="#n">¶</a></h2><div class="sns"><button>공유</button><a href="/f">보내기</a></div>
<p>사진 한 장과 신분증을 가져오세요.<a href="#fn1" id="r1"><sup>1</sup></a></p>
<h3><button class="accordion-button">사진은 언제 것이어야 하나요?</button></h3><p>여섯 달 안에 찍은 것입니다.</p>
<nav><a href="/e">다음 쪽</a></nav><section class="footnotes"><p>어린이는 부모가 대신 냅니다.</p></section></div>
<footer><ul><li><a href="/p">개인정보처리방침</a></li></ul><address>새벽로 12 대표전화 02-123-0000</address></footer>
</body></html>"""


def test_of_a_web_page_the_content_is_read_and_its_menus_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(PAGE, encoding="utf-8")
    assert [(one.metadata["title"], one.page_content) for one in load_documents(path)] == [
        ("여권 안내 > 준비물", "사진 한 장과 신분증을 가져오세요. [1]"),
        ("여권 안내 > 준비물 > 사진은 언제 것이어야 하나요?", "여섯 달 안에 찍은 것입니다."),
        ("여권 안내", "한빛구청\n어린이는 부모가 대신 냅니다.\n새벽로 12 대표전화 02-123-0000"),
    ]


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ('<nav><a href="/a">차림</a></nav>', "차림"),  # all that there is
        ("<header><h1>모임 안내</h1></header><p>매주 금요일에 모입니다.</p>", "매주 금요일에 모입니다."),
        ("<main><h2>서식</h2><ul><li><a href='/a.hwp'>휴가 신청서</a></li></ul></main>", "- 휴가 신청서"),
        ('<div class="menu"><h2>점심</h2><p>비빔밥과 미역국입니다.</p></div>', "비빔밥과 미역국입니다."),
        ('<div class="cookie-recipe"><p>버터를 녹여 밀가루에 섞습니다.</p></div>', "버터를 녹여 밀가루에 섞습니다."),
        ("<aside>바닥이 미끄러우니 뛰지 마세요.</aside>", "바닥이 미끄러우니 뛰지 마세요."),
        ("<article><header><p>지은이 김하늘</p></header><p>글입니다.</p></article>", "지은이 김하늘\n글입니다."),
    ],
)
def test_content_that_looks_like_a_frame_is_read(tmp_path: Path, body: str, seen: str) -> None:
    path = tmp_path / "a.html"
    path.write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
    assert load_documents(path)[0].page_content == seen


LEAVE = [["구분", "대상", "일수"], ["결혼", "본인", "5일"], ["", "자녀", "1일"], ["사망", "부모", "5일"]]


def write_docx(path: Path) -> None:
    import docx

    document = docx.Document()
    table = document.add_table(4, 3)
    fill(table, LEAVE)
    table.cell(1, 0).merge(table.cell(2, 0)).text = "결혼"
    document.save(str(path))


def write_pptx(path: Path) -> None:
    import pptx
    from pptx.util import Inches

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = slide.shapes.add_table(4, 3, Inches(1), Inches(1), Inches(5), Inches(2)).table
    fill(table, LEAVE)
    table.cell(1, 0).merge(table.cell(2, 0))
    presentation.save(str(path))


def write_hwpx(path: Path) -> None:
    from hwpx import HwpxDocument

    document = HwpxDocument.new()
    table = document.add_table(4, 3)
    fill(table, LEAVE)
    table.merge_cells(1, 0, 2, 0)
    path.write_bytes(bytes(document.to_bytes()))


def write_html(path: Path) -> None:
    path.write_text(
        "<table><tr><th>구분<th>대상<th>일수<tr><td rowspan=2>결혼<td>본인<td>5일<tr><td>자녀<td>1일"
        "<tr><td>사망<td>부모<td>5일</table>",
        encoding="utf-8",
    )


@pytest.mark.parametrize("write", [write_docx, write_html, write_hwpx, write_pptx])
def test_the_name_of_a_group_of_rows_stands_in_each_of_them(tmp_path: Path, write) -> None:
    path = tmp_path / f"a.{write.__name__.removeprefix('write_')}"
    write(path)
    [document] = load_documents(path)
    assert document.page_content.splitlines() == [
        "구분 | 대상 | 일수",
        "결혼 | 본인 | 5일",
        "결혼 | 자녀 | 1일",
        "사망 | 부모 | 5일",
    ]


def test_notes_of_word_follow_their_paragraph_and_contents_are_left_out(tmp_path: Path) -> None:
    import docx
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    document = docx.Document()
    document.element.body.insert(
        0,
        parse_xml(
            f"<w:sdt {nsdecls('w')}><w:sdtPr><w:docPartObj><w:docPartGallery w:val='Table of Contents'/></w:docPartObj>"
            "</w:sdtPr><w:sdtContent><w:p><w:r><w:t>출장 ........ 3</w:t></w:r></w:p></w:sdtContent></w:sdt>"
        ),
    )
    document.add_heading("출장", 1)
    paragraph = document.add_paragraph("숙박비는 실비로 드립니다.")
    document.add_comment(paragraph.runs, "서울은 9만 원까지입니다.", "총무팀")
    document.add_heading("장비", 1)
    document.add_paragraph("노트북은 4년마다 바꿉니다.")
    footer = document.sections[0].footer.paragraphs[0]
    footer.text = "- 3 -"
    document.save(str(tmp_path / "a.docx"))
    assert [(one.metadata["title"], one.page_content.split("\n\n")) for one in load_documents(tmp_path / "a.docx")] == [
        ("출장", ["숙박비는 실비로 드립니다.", "서울은 9만 원까지입니다."]),
        ("장비", ["노트북은 4년마다 바꿉니다."]),
    ]


def pieces(path: Path) -> list[tuple[str, list[str]]]:
    return [(one.metadata["title"], one.page_content.splitlines()) for one in load_documents(path)]


def test_tables_of_a_sheet_stay_apart_and_each_row_has_the_names_of_its_columns(tmp_path: Path) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as book:
        sheet = book.add_worksheet("예산")
        sheet.merge_range("A1:F1", "2026년 부서별 예산")
        sheet.write("F2", "(단위: 만 원)")
        for cells, text in {"A3:A4": "부서", "B3:C3": "상반기", "D3:E3": "하반기", "F3:F4": "비고"}.items():
            sheet.merge_range(cells, text)
        sheet.write_row("B4", ["인건비", "운영비", "인건비", "운영비"])
        sheet.write_row("A5", ["영업부", 120, 35, 125, 30])
        sheet.write_row("A6", ["개발부", 310, 52, 330, 48, "증원"])
        sheet.write_comment("C6", "서버 임차료가\n들어 있습니다.")
        sheet.write("A9", "담당자")
        sheet.write_row("A10", ["부서", "이름", "내선"])
        sheet.write_row("A11", ["영업부", "김하늘", "1201"])
        sheet.write("H9", "결재")
        sheet.write_row("H10", ["금액", "결재권자"])
        sheet.write_row("H11", ["백만 원 미만", "팀장"])
        sheet.write_row("A13", ["개발부", "이도윤", "1305"])
        sheet.write("A15", "※ 바뀐 내용은 기획팀에 알립니다.")
        sheet.write_comment("B20", "빈 칸에 단 메모")
    assert pieces(tmp_path / "a.xlsx") == [
        (
            "예산 > 2026년 부서별 예산",
            [
                "(단위: 만 원)",
                "부서: 영업부 | 상반기 인건비: 120 | 상반기 운영비: 35 | 하반기 인건비: 125 | 하반기 운영비: 30",
                "부서: 개발부 | 상반기 인건비: 310 | 상반기 운영비: 52 (서버 임차료가 들어 있습니다.)"
                " | 하반기 인건비: 330 | 하반기 운영비: 48 | 비고: 증원",
            ],
        ),
        ("예산 > 담당자", ["부서: 영업부 | 이름: 김하늘 | 내선: 1201"]),
        ("예산 > 결재", ["금액: 백만 원 미만 | 결재권자: 팀장"]),
        ("예산", ["부서: 개발부 | 이름: 이도윤 | 내선: 1305", "※ 바뀐 내용은 기획팀에 알립니다."]),
        ("예산", ["빈 칸에 단 메모"]),
    ]


def test_questions_and_answers_in_a_sheet_are_passages_with_the_question_as_title(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "자주 묻는 질문"
    for row in [
        ["분류", "질문", "답변"],
        ["주차", "어디에 세우나요?", "지하 2층입니다."],
        ["식당", "언제 여나요?", "11시 반입니다."],
        ["식당", "채식도 있나요?", None],
    ]:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert pieces(tmp_path / "a.xlsx") == [
        ("자주 묻는 질문 > 어디에 세우나요?", ["지하 2층입니다.", "분류: 주차"]),
        ("자주 묻는 질문 > 언제 여나요?", ["11시 반입니다.", "분류: 식당"]),
        ("자주 묻는 질문", ["분류: 식당 | 질문: 채식도 있나요?"]),
    ]


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([["구분", 2025, 2026], ["매출", 20, 30]], ["구분: 매출 | 2025: 20 | 2026: 30"]),
        ([["", "품목", "값"], [0, "사과", 1500]], ["0 | 품목: 사과 | 값: 1500"]),  # the index of pandas
        (
            [["부서", "상반기", "", "하반기", ""], ["", "신청", "선정", "신청", "선정"], ["창업", 120, 31, 98, 27]],
            ["부서: 창업 | 상반기 신청: 120 | 상반기 선정: 31 | 하반기 신청: 98 | 하반기 선정: 27"],
        ),
        (
            [["품목", "값", "수량"], ["사무용품"], ["복사지", 4500, 2], ["※ 부가세 별도"]],
            ["사무용품", "품목: 복사지 | 값: 4500 | 수량: 2", "※ 부가세 별도"],
        ),
        (
            [["품목", "값"], [], ["토너", 89000], [], ["잉크", 9000]],
            ["품목 | 값", "품목: 토너 | 값: 89000", "품목: 잉크 | 값: 9000"],
        ),
        ([[10, 20], [30, 40]], ["10 | 20", "30 | 40"]),  # no names
    ],
)
def test_names_of_columns_are_found_as_people_write_them(
    tmp_path: Path, rows: list[list[object]], lines: list[str]
) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(tmp_path / "실적.xlsx")) as book:
        sheet = book.add_worksheet("Sheet1")
        for place, row in enumerate(rows):
            sheet.write_row(place, 0, row)
    found = pieces(tmp_path / "실적.xlsx")
    assert {title for title, _ in found} == {"실적"}
    assert [line for _, own in found for line in own] == lines


def test_tables_of_a_pdf_are_rows_with_whole_cells(tmp_path: Path) -> None:
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table

    font = "HYSMyeongJo-Medium"
    pdfmetrics.registerFont(UnicodeCIDFont(font))
    style = ParagraphStyle("글", fontName=font, fontSize=10, leading=15, wordWrap="CJK")
    paragraph = (
        "구청은 올해 세 가지 사업을 새로 엽니다. 신청은 주민센터나 누리집에서 하며, 서류가 모자라면 채워 내시면 됩니다."
    )
    ruled = Table(
        [
            ["구분", "상반기", "", "기한"],
            ["", "대상", "내용", ""],
            ["월세", Paragraph("만 19세부터 34세까지 따로 사는 무주택 청년", style), "20만 원까지", "12월 31일"],
            ["난방비", "노인이 있는 집", Paragraph("겨울철 석 달 동안 난방비를 30만 원까지 드립니다", style), "수시"],
        ],
        colWidths=[50, 110, 120, 70],
    )
    grid = ("GRID", (0, 0), (-1, -1), 0.5, colors.black)
    spans = [("SPAN", (0, 0), (0, 1)), ("SPAN", (1, 0), (2, 0)), ("SPAN", (3, 0), (3, 1))]
    ruled.setStyle([("FONT", (0, 0), (-1, -1), font, 10), ("VALIGN", (0, 0), (-1, -1), "MIDDLE"), grid, *spans])
    plain = Table(
        [["품목", "사는 곳", "값"], ["복사지", "한빛 문구", "4,500원"], ["토너", "새별 상사", "89,000원"]],
        colWidths=[110] * 3,
    )
    plain.setStyle([("FONT", (0, 0), (-1, -1), font, 10)])

    def number(canvas, document) -> None:
        canvas.drawCentredString(300, 30, f"- {document.page} -")

    story = [Paragraph(paragraph, style), Spacer(1, 12), ruled, Spacer(1, 24), plain, Spacer(1, 24)]
    story.append(Paragraph("문의는 복지과로 하십시오.", style))
    SimpleDocTemplate(str(tmp_path / "안내.pdf")).build(story, onFirstPage=number)
    [document] = load_documents(tmp_path / "안내.pdf")
    assert document.page_content.splitlines() == [
        paragraph,
        "구분 | 상반기 | 기한",
        "구분 | 대상 | 내용 | 기한",
        "월세 | 만 19세부터 34세까지 따로 사는 무주택 청년 | 20만 원까지 | 12월 31일",
        "난방비 | 노인이 있는 집 | 겨울철 석 달 동안 난방비를 30만 원까지 드립니다 | 수시",
        "품목 | 사는 곳 | 값",
        "복사지 | 한빛 문구 | 4,500원",
        "토너 | 새별 상사 | 89,000원",
        "문의는 복지과로 하십시오.",
    ]
