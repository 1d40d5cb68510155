"""Files by real writers: each is found by a question about it, and no word that a person can read is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("docx")
pytest.importorskip("hwp_converter_ai")
pytest.importorskip("hwpx")
pytest.importorskip("openpyxl")
pytest.importorskip("pptx")
pytest.importorskip("pypdfium2")
pytest.importorskip("reportlab")
pytest.importorskip("unhwp")

from langchain_klue_rerank.cli.main import main
from langchain_klue_rerank.files import load_documents
from tests.unit_tests.files.writers import TABLE, WRITERS

#: Headings and texts of forty files, and for each a question.
TOPICS = [
    ("구내식당", "구내식당 점심 배식은 열한 시 반에 시작합니다.", "점심 배식은 몇 시에 시작하나요?"),
    ("주차장", "지하 주차장 정기권은 관리실에서 발급합니다.", "정기권은 어디에서 발급하나요?"),
    ("도서관", "도서 대출 기간은 열나흘이며 한 번 연장합니다.", "도서 대출 기간은 얼마나 되나요?"),
    ("수영장", "수영장 물은 매달 첫째 월요일에 갈아 넣습니다.", "수영장 물은 언제 갈아 넣나요?"),
    ("예방접종", "독감 예방접종은 구월 하순부터 무료로 맞습니다.", "독감 예방접종은 언제부터 무료인가요?"),
    ("분리배출", "투명 페트병은 목요일 저녁에만 내놓습니다.", "투명 페트병은 무슨 요일에 내놓나요?"),
    ("반려견", "반려견 등록증을 잃으면 구청에서 다시 받습니다.", "반려견 등록증을 잃으면 어디로 가나요?"),
    ("난방비", "난방비 감면 신청은 주민센터 창구에서 받습니다.", "난방비 감면 신청은 어디에서 받나요?"),
    ("텃밭", "주말 텃밭 분양 추첨은 이월 둘째 토요일입니다.", "텃밭 분양 추첨은 언제인가요?"),
    ("버스", "마을버스 막차는 밤 열한 시 사십 분에 떠납니다.", "마을버스 막차는 몇 시에 떠나나요?"),
    ("박물관", "박물관 해설사 예약은 누리집에서 사흘 앞서 합니다.", "박물관 해설사 예약은 어떻게 하나요?"),
    ("세탁실", "공용 세탁실 건조기는 삼십 분에 천 원입니다.", "세탁실 건조기는 얼마인가요?"),
    ("와이파이", "공용 와이파이 암호는 안내대에 적혀 있습니다.", "와이파이 암호는 어디에 적혀 있나요?"),
]
KINDS = list(WRITERS)
FILES = [
    (f"자료 {number}{KINDS[number % len(KINDS)]}", number % len(TOPICS), number // len(TOPICS)) for number in range(40)
]


def words_of(text: str) -> set[str]:
    return {word.strip(".,:|#-") for word in text.split()} - {""}


def read_words(documents: list[Any]) -> set[str]:
    """Everything that the index has of these documents: texts and metadata."""
    return words_of(
        "\n".join(f"{one.page_content}\n{json.dumps(one.metadata, ensure_ascii=False)}" for one in documents)
        .replace('"', " ")
        .replace("{", " ")
        .replace("}", " ")
    )


@pytest.mark.parametrize("ending", KINDS)
def test_no_word_that_a_person_can_read_is_missing(tmp_path: Path, ending: str) -> None:
    write, more = WRITERS[ending]
    heading, text, _ = TOPICS[0]
    write(tmp_path / f"파일{ending}", heading, text)
    documents = load_documents(tmp_path / f"파일{ending}", strict=True)
    assert words_of(f"{heading} {text} {more}") <= read_words(documents)
    assert "안 보임" not in "".join(one.page_content for one in documents)


@pytest.mark.slow
def test_a_folder_of_forty_files_of_thirteen_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "자료"
    folder.mkdir()
    for number, (name, topic, edition) in enumerate(FILES):
        heading, text, _ = TOPICS[topic]
        WRITERS[Path(name).suffix][0](
            folder / name, f"{heading} {edition}-{number}", f"{text} 문서 번호 {7000 + number}"
        )
    (folder / "사진.png").write_bytes(b"\x89PNG")
    (folder / "망가진.docx").write_bytes(b"PK nothing")
    out = str(tmp_path / "index")
    assert main(["index", str(folder), "--out", out, "--json"]) == 0
    [report] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(Path(one["path"]).name, one["reason"]) for one in report["problems"]} == {
        ("사진.png", "kind"),
        ("망가진.docx", "damaged"),
    }
    questions = [f"{TOPICS[topic][2]} 문서 번호 {7000 + number}" for number, (_, topic, _) in enumerate(FILES)]
    assert main(["search", out, *questions, "-k", "1", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [Path(answer["results"][0]["id"].split("#")[0]).name for answer in answers]
    assert found == [name for name, _, _ in FILES]


@pytest.mark.parametrize("ending", [".docx", ".hwp", ".hwpx", ".html", ".pptx"])
def test_rows_of_tables_are_lines_and_equal_cells_stay(tmp_path: Path, ending: str) -> None:
    WRITERS[ending][0](tmp_path / f"표{ending}", "요금", "요금 안내입니다.")
    lines = [line for one in load_documents(tmp_path / f"표{ending}") for line in one.page_content.splitlines()]
    assert " | ".join(TABLE[1]) in lines


def test_merged_cells_come_once(tmp_path: Path) -> None:
    for ending, cell in ((".docx", "단체는 전화로 문의"), (".xlsx", "합친 칸 안내")):
        WRITERS[ending][0](tmp_path / f"표{ending}", "요금", "요금 안내입니다.")
        text = "\n".join(one.page_content for one in load_documents(tmp_path / f"표{ending}"))
        assert text.count(cell) == 1


def test_headings_are_titles_and_pages_are_numbers(tmp_path: Path) -> None:
    titles = {}
    for ending in (".docx", ".html", ".md", ".pptx", ".xlsx"):
        WRITERS[ending][0](tmp_path / f"파일{ending}", "요금 안내", "본문입니다.")
        titles[ending] = load_documents(tmp_path / f"파일{ending}")[0].metadata["title"]
    assert titles.pop(".html") == "누리집 > 요금 안내"
    assert set(titles.values()) == {"요금 안내"}
    for ending in (".pdf", ".pptx"):
        WRITERS[ending][0](tmp_path / f"쪽{ending}", "첫째", "본문입니다.")
        assert [one.metadata["page"] for one in load_documents(tmp_path / f"쪽{ending}")] == [1, 2]


def test_rows_of_excel_carry_their_column_names(tmp_path: Path) -> None:
    WRITERS[".xlsx"][0](tmp_path / "a.xlsx", "예산", "의자")
    assert load_documents(tmp_path / "a.xlsx")[1].page_content == "이름: 홍길동 | 전화: 02-123-4567"


def test_what_word_keeps_outside_plain_runs_is_read(tmp_path: Path) -> None:
    """Insertions, content controls, text boxes and nested tables; not what is deleted."""
    import docx
    from docx.oxml import parse_xml

    names = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document = docx.Document()
    run = "<w:r><w:t>{}</w:t></w:r>"
    bodies = [
        f"<w:p {names}><w:ins>{run.format('넣은 글')}</w:ins>"
        "<w:del><w:r><w:delText>지운 글</w:delText></w:r></w:del></w:p>",
        f"<w:sdt {names}><w:sdtContent><w:p>{run.format('양식 글')}</w:p></w:sdtContent></w:sdt>",
        f"<w:p {names}><w:r><w:pict><w:txbxContent><w:p>{run.format('상자 글')}</w:p></w:txbxContent></w:pict></w:r>"
        "</w:p>",
        f"<w:p {names}><w:hyperlink>{run.format('링크 글')}</w:hyperlink></w:p>",
    ]
    for body in bodies:
        document.element.body.insert(0, parse_xml(body))
    inner = document.add_table(1, 1).cell(0, 0).add_table(1, 1)
    inner.cell(0, 0).text = "안쪽 표"
    document.save(str(tmp_path / "a.docx"))
    text = "\n".join(one.page_content for one in load_documents(tmp_path / "a.docx"))
    for seen in ("넣은 글", "양식 글", "상자 글", "링크 글", "안쪽 표"):
        assert text.count(seen) == 1
    assert "지운 글" not in text


def test_a_gap_between_scripts_is_no_space(tmp_path: Path) -> None:
    # LibreOffice and Word leave a quarter of an em between Korean letters and figures, and write no space there
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen import canvas

    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    page = canvas.Canvas(str(tmp_path / "연차.pdf"))
    left = 60.0
    for text, font, gap in (
        ("해마다", "HYSMyeongJo-Medium", 0.5),
        ("15", "Helvetica", 0.25),
        ("일의", "HYSMyeongJo-Medium", 0.5),
        ("휴가를", "HYSMyeongJo-Medium", 0.5),
        ("3", "Helvetica", 0.25),
        ("월에", "HYSMyeongJo-Medium", 0.5),
        ("USB", "Helvetica", 0.25),
        ("와", "HYSMyeongJo-Medium", 0.0),
    ):
        page.setFont(font, 12)
        page.drawString(left, 700, text)
        left += pdfmetrics.stringWidth(text, font, 12) + gap * 12
    page.save()
    [document] = load_documents(tmp_path / "연차.pdf")
    assert document.page_content == "해마다 15일의 휴가를 3월에 USB와"
