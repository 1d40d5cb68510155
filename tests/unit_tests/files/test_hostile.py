"""Strangers' files: whatever is in them, one of our errors comes, in time, and the process is none the worse."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
import zipfile
import zlib
from pathlib import Path

import pytest

pytest.importorskip("docx")
pytest.importorskip("pypdfium2")
pytest.importorskip("openpyxl")
pytest.importorskip("unhwp")

from langchain_klue_rerank.files import UnreadableFileError, load_documents
from langchain_klue_rerank.files.isolated import IsolatedReader, Limits

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
LIMITS = Limits(memory_bytes=128 << 20, seconds=60)


def docx_with(body: str, path: Path) -> Path:
    """A Word file whose body is replaced."""
    import docx

    out = io.BytesIO()
    docx.Document().save(out)
    with zipfile.ZipFile(out) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            content = source.read(name)
            if name == "word/document.xml":
                content = (
                    f'<?xml version="1.0"?><w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'.encode()
                )
            archive.writestr(name, content)
    return path


def reading(path: Path, limits: Limits = LIMITS) -> str:
    """What came of a file: its text, or the reason why there is none."""
    try:
        return "\n".join(one.page_content for one in load_documents(path, limits=limits))
    except UnreadableFileError as error:
        return error.problem.reason if str(path) in str(error) else "a message without the file's name"


def test_a_cell_that_claims_to_span_a_hundred_million_columns(tmp_path: Path) -> None:
    cell = '<w:tc><w:tcPr><w:gridSpan w:val="100000000"/></w:tcPr><w:p><w:r><w:t>넓은 칸</w:t></w:r></w:p></w:tc>'
    path = docx_with(f"<w:tbl><w:tr>{cell}</w:tr></w:tbl>", tmp_path / "span.docx")
    assert reading(path) == "넓은 칸"


def test_an_archive_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.docx"
    docx_with("<w:p/>", path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/big.xml", "w", force_zip64=True) as big,
    ):
        for _ in range(24):
            big.write(bytes(16 << 20))
    with zipfile.ZipFile(path, "a") as archive:
        rels = archive.read("word/_rels/document.xml.rels").decode()
        rels = rels.replace(
            "</Relationships>",
            '<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
            'comments" Target="big.xml"/></Relationships>',
        )
        archive.writestr("word/_rels/document.xml.rels", rels)
    assert reading(path) in ("memory", "damaged", "crash")


def test_a_central_directory_that_lies_about_sizes(tmp_path: Path) -> None:
    path = docx_with("<w:p><w:r><w:t>" + "가" * (1 << 20) + "</w:t></w:r></w:p>", tmp_path / "lie.docx")
    content = bytearray(path.read_bytes())
    place = 0
    while (place := content.find(b"PK\x01\x02", place)) >= 0:
        content[place + 24 : place + 28] = (10).to_bytes(4, "little")  # the unpacked size
        place += 4
    path.write_bytes(content)
    assert reading(path) == "damaged"


def test_entities_that_grow(tmp_path: Path) -> None:
    path = tmp_path / "laughs.docx"
    docx_with("<w:p/>", path)
    entities = '<!ENTITY a0 "하하하하하하하하하하">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)
    )
    body = (
        f'<?xml version="1.0"?><!DOCTYPE x [{entities}]><w:document xmlns:w="{W}"><w:body><w:p><w:r><w:t>&a11;</w:t>'
        "</w:r></w:p></w:body></w:document>"
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("word/document.xml", body)
    assert len(reading(path)) < 1000


@pytest.mark.parametrize("ending", [".docx", ".xlsx", ".pptx", ".hwp", ".hwpx", ".pdf"])
def test_noise_under_every_name(tmp_path: Path, ending: str) -> None:
    for number, start in enumerate((b"", b"PK\x03\x04", b"%PDF-1.7\n", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(start + bytes((7 * n * n + number) % 256 for n in range(3000)))
        assert reading(path) in ("damaged", "ole", "crash", "pictures")


def test_a_pdf_whose_page_unpacks_to_gigabytes(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    stream = b"".join(packer.compress(bytes(16 << 20)) for _ in range(24)) + packer.flush()
    path = tmp_path / "bomb.pdf"
    path.write_bytes(
        b"%PDF-1.5\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>endobj\n"
        b"4 0 obj<</Filter/FlateDecode/Length "
        + str(len(stream)).encode()
        + b">>stream\n"
        + stream
        + b"\nendstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    )
    assert reading(path) in ("memory", "damaged", "crash", "pictures", "time")


def test_json_that_is_nested_a_million_deep(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 1_000_000)
    (tmp_path / "deep.jsonl").write_text(
        f'{{"text": "좋은 줄"}}\n{{"text": {"[" * 1_000_000}\n{{"a": {"[" * 450}1{"]" * 450}}}'
    )
    assert reading(tmp_path / "deep.json") == "json"
    assert "좋은 줄" in reading(tmp_path / "deep.jsonl")


def test_a_reader_that_takes_too_long_is_stopped_and_the_next_file_is_read(tmp_path: Path) -> None:
    rows = "".join(f"<w:p><w:r><w:t>{n}</w:t></w:r></w:p>" for n in range(60_000))
    slow = docx_with(rows, tmp_path / "slow.docx")
    fast = docx_with("<w:p><w:r><w:t>빠른 글</w:t></w:r></w:p>", tmp_path / "fast.docx")
    with IsolatedReader(Limits(seconds=30)) as reader:
        assert reader.read(str(fast), ".docx").pieces[0].text.strip() == "빠른 글"
        reader.limits = Limits(seconds=0.05)
        began = time.monotonic()
        with pytest.raises(UnreadableFileError) as refused:
            reader.read(str(slow), ".docx")
        assert refused.value.problem.reason == "time"
        assert time.monotonic() - began < 10
        reader.limits = Limits()
        assert reader.read(str(fast), ".docx").pieces[0].text.strip() == "빠른 글"


def test_more_text_than_is_read(tmp_path: Path) -> None:
    path = docx_with(f"<w:p><w:r><w:t>{'가나다 ' * 20_000}</w:t></w:r></w:p>", tmp_path / "long.docx")
    assert reading(path, Limits(output_bytes=100_000)) == "output"
    assert reading(path, Limits(file_bytes=100)) == "large"


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    path = docx_with("<w:p><w:r><w:t>글</w:t></w:r></w:p>", tmp_path / "a.docx")
    reader = IsolatedReader()
    reader.read(str(path), ".docx")
    process = reader._process
    reader.close()
    assert process is not None
    assert process.poll() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="no such files on Windows")
def test_special_files_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    done = threading.Event()
    reasons: list[str] = []

    def read() -> None:
        reasons.append(reading(tmp_path / "pipe.txt"))
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(10)
    assert reasons == ["special"]


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    from langchain_klue_rerank.files.reasons import REASONS

    for english, korean in REASONS.values():
        assert english.isascii()
        assert any("가" <= letter <= "힣" for letter in korean)
        assert json.dumps(korean)
