"""Numbers that Word writes by itself are read: they stand in no text of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("docx")

import docx
from docx.oxml import parse_xml

from langchain_klue_rerank.files import load_documents
from langchain_klue_rerank.files.formats.word_numbers import written

NAMES = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def level(place: int, form: str, text: str, start: int = 1, more: str = "") -> str:
    return (
        f'<w:lvl w:ilvl="{place}"><w:start w:val="{start}"/><w:numFmt w:val="{form}"/>{more}'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
    )


def lines_of(
    path: Path, lists: dict[int, list[str]], instances: Sequence[str], paragraphs: Sequence[tuple[str, int, int]]
) -> list[str]:
    document = docx.Document()
    numbering = document.part.numbering_part.element
    for number, levels in lists.items():
        numbering.insert(
            0, parse_xml(f'<w:abstractNum {NAMES} w:abstractNumId="{number}">{"".join(levels)}</w:abstractNum>')
        )
    for instance in instances:
        numbering.append(parse_xml(instance.replace("<w:num ", f"<w:num {NAMES} ", 1)))
    for text, number, place in paragraphs:
        given = f'<w:numPr {NAMES}><w:ilvl w:val="{place}"/><w:numId w:val="{number}"/></w:numPr>'
        document.add_paragraph(text)._p.get_or_add_pPr().append(parse_xml(given))
    document.save(str(path))
    return [line for one in load_documents(path) for line in one.page_content.split("\n") if line]


def instance(number: int, of: int, more: str = "") -> str:
    return f'<w:num w:numId="{number}"><w:abstractNumId w:val="{of}"/>{more}</w:num>'


def test_articles_of_a_regulation(tmp_path: Path) -> None:
    levels = [
        level(0, "decimal", "제%1조"),
        level(1, "decimalEnclosedCircle", "%2"),
        level(2, "ganada", "%3."),
        level(3, "decimal", "%1.%2.%3.%4", more="<w:isLgl/>"),
    ]
    override = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>'
    paragraphs = [
        ("목적", 90, 0), ("대상", 90, 1), ("기간", 90, 1), ("신청서", 90, 2), ("동의서", 90, 2), ("사본", 90, 3),
        ("정의", 90, 0), ("용어", 90, 1), ("벌칙", 91, 0), ("시행", 91, 0), ("번호 없음", 0, 0),
    ]  # fmt: skip
    found = lines_of(tmp_path / "규정.docx", {90: levels}, [instance(90, 90), instance(91, 90, override)], paragraphs)
    assert found == [
        "제1조 목적", "① 대상", "② 기간", "가. 신청서", "나. 동의서", "1.2.2.1 사본",
        "제2조 정의", "① 용어", "제7조 벌칙", "제8조 시행", "번호 없음",
    ]  # fmt: skip


def test_a_level_that_never_starts_again(tmp_path: Path) -> None:
    levels = [level(0, "upperRoman", "%1."), level(1, "decimal", "제%2조", more='<w:lvlRestart w:val="0"/>')]
    paragraphs = [("총칙", 90, 0), ("목적", 90, 1), ("보칙", 90, 0), ("위임", 90, 1)]
    found = lines_of(tmp_path / "장.docx", {90: levels}, [instance(90, 90)], paragraphs)
    assert found == ["I. 총칙", "제1조 목적", "II. 보칙", "제2조 위임"]


def test_styles_of_word_are_numbered_and_bullets_are_not(tmp_path: Path) -> None:
    document = docx.Document()
    for text, style in [("신분증", "List Number"), ("도장", "List Number"), ("안내", "List Bullet")]:
        document.add_paragraph(text, style=style)
    document.save(str(tmp_path / "목록.docx"))
    [found] = load_documents(tmp_path / "목록.docx")
    assert found.page_content.split() == ["1.", "신분증", "2.", "도장", "안내"]


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("decimalZero", {1: "01", 12: "12"}),
        ("lowerRoman", {4: "iv", 1994: "mcmxciv", 4000: "4000"}),
        ("upperLetter", {1: "A", 26: "Z", 27: "AA"}),
        ("ganada", {1: "가", 14: "하", 15: "가가"}),
        ("koreanCounting", {1: "일", 10: "십", 21: "이십일", 305: "삼백오"}),
        ("koreanDigital", {1: "일", 10: "일영"}),
        ("koreanLegal", {1: "하나", 20: "스물", 31: "서른하나"}),
        ("decimalEnclosedCircle", {1: "①", 20: "⑳", 21: "21"}),
        ("none", {1: ""}),
        ("a form of the future", {3: "3"}),
    ],
)
def test_forms(form: str, texts: dict[int, str]) -> None:
    assert {number: written(number, form) for number in texts} == texts


def test_odd_definitions_are_passed_over(tmp_path: Path) -> None:
    """Levels that do not exist, numbers that are none, styles in a circle, patterns without end."""
    odd = '<w:lvl w:ilvl="x"><w:start w:val="-3"/><w:numFmt/><w:lvlText w:val="%1%1%9"/></w:lvl>'
    lists = {90: [odd], 91: [level(0, "decimal", "%1" * 50_000)]}
    instances = [instance(90, 90), instance(91, 91), instance(92, 4711)]
    found = lines_of(
        tmp_path / "a.docx", lists, instances, [("가", 90, 0), ("나", 91, 8), ("다", 92, 0), ("라", 91, 0)]
    )
    assert [line.split()[-1] for line in found] == ["가", "나", "다", "라"]
    assert max(map(len, found)) < 300
