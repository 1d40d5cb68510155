"""Files of every kind become passages, and files that cannot be read say why."""

from __future__ import annotations

import io
import unicodedata
import zipfile

import pytest

pytest.importorskip("pypdfium2")
pytest.importorskip("docx")
pytest.importorskip("hwpx")

from examples.qa_bot.documents import UnreadableFileError, read_file
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import unwrap
from tests.unit_tests.qa_bot import files

TEXT = "재택근무는 하루 전 오후 여섯 시까지 신청합니다."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("근무 규칙.txt", TEXT.encode()),
        ("근무 규칙.TXT", TEXT.encode("cp949")),
        ("근무 규칙.txt", TEXT.encode("utf-16")),
        ("근무 규칙.txt", unicodedata.normalize("NFD", TEXT).encode()),
        ("근무 규칙.md", TEXT.encode("utf-8-sig")),
        ("근무 규칙.pdf", files.pdf([TEXT])),
        ("근무 규칙.docx", files.docx(TEXT)),
        ("근무 규칙.hwpx", files.hwpx(TEXT)),
    ],
    ids=["utf-8", "cp949", "utf-16", "nfd", "md", "pdf", "docx", "hwpx"],
)
def test_text_comes_out_of_every_format(name: str, content: bytes) -> None:
    [document] = read_file(name, content)
    assert document.page_content.strip() == TEXT
    assert document.metadata["title"] == "근무 규칙"
    assert document.metadata["file"] == name


def test_a_name_from_a_mac_is_composed_and_folders_are_dropped() -> None:
    name = unicodedata.normalize("NFD", "내려받기/한글 이름.txt")
    assert read_file(name, b"text")[0].metadata["file"] == "한글 이름.txt"


def test_a_name_longer_than_a_disk_takes_is_no_obstacle() -> None:
    assert read_file("가" * 200 + ".txt", b"text")[0].metadata["file"] == "가" * 200 + ".txt"


def test_headings_follow_the_file_in_the_title() -> None:
    content = "# 휴가\n## 연차\n연차는 해마다 15일입니다.\n## 병가\n병가는 진단서를 냅니다.".encode()
    assert [one.metadata["title"] for one in read_file("규칙.md", content)] == [
        "규칙 > 휴가 > 연차",
        "규칙 > 휴가 > 병가",
    ]


def test_pages_of_a_pdf_are_known() -> None:
    content = files.pdf(["첫째 쪽의 글입니다."], [], ["셋째 쪽의 글입니다."])
    found = [(one.metadata["page"], one.page_content) for one in read_file("책.pdf", content)]
    assert found == [(1, "첫째 쪽의 글입니다."), (3, "셋째 쪽의 글입니다.")]


def test_lines_broken_by_the_width_of_a_page_are_joined() -> None:
    lines = [
        "휴가 안내",
        "재택근무는 하루 전 오후 여섯 시까지 신청합니",
        "다. 수요일에는 회의가 있어서 아무도 신청할 수",
        "없습니다.",
    ]
    assert unwrap(lines, shared_analyzer()) == [
        "휴가 안내",
        "재택근무는 하루 전 오후 여섯 시까지 신청합니다. 수요일에는 회의가 있어서 아무도 신청할 수 없습니다.",
    ]


def test_long_files_are_split_into_passages() -> None:
    found = read_file("긴 글.txt", (f"{TEXT} " * 200).encode())
    assert len(found) > 10
    assert all(len(one.page_content) <= 400 for one in found)


def zipped(**entries: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("빈 파일.txt", b"", "빈 파일"),
        ("빈칸뿐.txt", b" \n\t ", "빈 파일"),
        ("선뿐.txt", b"-----\n*****", "글이 들어 있지 않습니다"),
        ("사진.txt", b"\x89PNG\r\n\0\0\xff\xfe", "글이 아닌"),
        ("이상한 글자.txt", b"\xff\xff\xff\xff", "CP949"),
        ("잠긴 책.pdf", files.LOCKED_PDF, "암호"),
        ("망가진 책.pdf", b"%PDF-1.7 nothing", "손상"),
        ("그림뿐.pdf", files.pdf([]), "OCR"),
        ("잠긴 글.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "암호"),
        ("망가진 글.docx", zipped(a=b"x"), "손상"),
        ("망가진 글.docx", b"PK nothing", "손상"),
        ("망가진 글.hwpx", zipped(a=b"x"), "손상"),
        ("잠긴 글.hwpx", zipped(**{"META-INF__manifest_DOT_xml": b"<a><odf:encryption-data/></a>"}), "암호"),
        ("옛 글.hwp", b"\xd0\xcf\x11\xe0", "손상"),
        ("옛 글.doc", b"\xd0\xcf\x11\xe0", "docx"),
        ("그림.png", b"\x89PNG", "txt, md"),
    ],
)
def test_what_cannot_be_read_names_the_file_and_the_reason(name: str, content: bytes, why: str) -> None:
    with pytest.raises(UnreadableFileError) as refused:
        read_file(name, content)
    assert str(refused.value).startswith(f"{name}: ")
    assert why in str(refused.value)
