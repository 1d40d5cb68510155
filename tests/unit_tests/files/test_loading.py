"""Files into documents."""

from __future__ import annotations

import csv
import json
import os
import re
import unicodedata
from pathlib import Path

import pytest

from langchain_klue_rerank.cli.main import main
from langchain_klue_rerank.engine.arrays.storage import SOURCES
from langchain_klue_rerank.files import UnreadableFileError, load_documents
from tests.unit_tests.fakes import TEXTS


def test_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "전입신고 안내.txt"
    path.write_text(TEXTS[0], encoding="utf-8")
    [document] = load_documents(path)
    assert document.page_content == TEXTS[0]
    assert document.metadata == {"title": "전입신고 안내", "source": str(path)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("ending", [".txt", ".md", ".csv", ".jsonl"])
def test_korean_encodings(tmp_path: Path, encoding: str, ending: str) -> None:
    content = {
        ".txt": TEXTS[1],
        ".md": f"# 여권\n\n{TEXTS[1]}",
        ".csv": f'id,본문\n1,"{TEXTS[1]}"\n',
        ".jsonl": json.dumps({"text": TEXTS[1]}, ensure_ascii=False),
    }[ending]
    path = tmp_path / f"파일{ending.upper()}"
    path.write_bytes(content.encode(encoding))
    [document] = load_documents(path)
    assert document.page_content == TEXTS[1]


def test_text_from_macos_is_composed(tmp_path: Path) -> None:
    path = tmp_path / "mac.txt"
    path.write_text(unicodedata.normalize("NFD", TEXTS[0]), encoding="utf-8")
    assert load_documents(path)[0].page_content == TEXTS[0]


def test_markdown_is_split_at_headings(tmp_path: Path) -> None:
    path = tmp_path / "규정.md"
    path.write_text(
        "머리말입니다.\n\n# 휴가\n\n연차는 15일입니다.\n\n## 경조사\n\n결혼은 5일입니다.\n", encoding="utf-8"
    )
    found = {one.metadata["title"]: one.page_content for one in load_documents(path)}
    assert found == {"규정": "머리말입니다.", "휴가": "연차는 15일입니다.", "휴가 > 경조사": "결혼은 5일입니다."}


def test_jsonl_keeps_ids_titles_and_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    rows = [
        {"id": "q1", "title": "여권", "text": TEXTS[1], "page": 3, "tags": ["민원"]},
        {"id": 7, "context": TEXTS[2]},
        {"passage": TEXTS[3]},
    ]
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    first, second, third = load_documents(path)
    assert first.page_content == TEXTS[1]
    assert first.metadata == {"id": "q1", "title": "여권", "page": 3, "tags": ["민원"], "source": str(path)}
    assert (second.metadata["id"], second.page_content) == (7, TEXTS[2])
    assert third.page_content == TEXTS[3]
    assert [one.id for one in (first, second, third)] == [f"{path.as_posix()}#{number}" for number in range(3)]


def test_ids_of_rows_are_kept_where_every_row_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    rows = [{"id": 7, "text": TEXTS[0]}, {"id": "가", "text": TEXTS[1]}, {"id": 0, "text": TEXTS[2]}]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert [one.id for one in load_documents(path)] == [f"{path.as_posix()}#{name}" for name in ("7", "가", "0")]


@pytest.mark.parametrize(
    "names", [["2", "1", "1"], ["1", "1.0", "1.1"], ["", "", ""]], ids=["twice", "like parts", "empty"]
)
def test_rows_with_like_ids_do_not_replace_one_another(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "faq.csv"
    texts = [" ".join(TEXTS[:4]), TEXTS[4], TEXTS[5]]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *zip(names, texts, strict=True)])
    found = load_documents(path, chunk_size=100, chunk_overlap=0)
    assert len({one.id for one in found}) == len(found) > 3


def test_a_source_of_its_own_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "faq.csv"
    path.write_text("text,source\n첫 글,https://example.org/1\n둘째 글,\n", encoding="utf-8")
    assert [one.metadata["source"] for one in load_documents(path)] == ["https://example.org/1", str(path)]


def test_a_line_separator_inside_a_text_does_not_break_jsonl(tmp_path: Path) -> None:
    """JSON need not escape U+2028, U+0085 and the like, and they end no line of a jsonl file."""
    path = tmp_path / "faq.jsonl"
    text = "첫 줄\u2028둘째 줄\u0085셋째 줄\x7f끝"
    path.write_text(json.dumps({"text": text}, ensure_ascii=False) + "\r\n", encoding="utf-8", newline="")
    assert [one.page_content for one in load_documents(path)] == [text]


def test_half_a_character_from_broken_json_can_be_shown_and_saved(tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    path.write_text('{"text": "이사 \\ud83d 신고", "title": "반쪽 \\udc00"}', encoding="utf-8")
    [document] = load_documents(path)
    assert document.page_content.startswith("이사")
    assert document.model_dump_json()


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "faq.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "title", "내용", "부서"], ["1", "여권", TEXTS[1], "민원과"], ["", "", "줄\n바꿈", ""]])
    first, second = load_documents(path)
    assert first.page_content == TEXTS[1]
    assert first.metadata == {"id": "1", "title": "여권", "부서": "민원과", "source": str(path)}
    assert second.page_content == "줄\n바꿈"
    assert second.id


def test_a_csv_cell_of_a_megabyte(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    path.write_text("text\n" + TEXTS[0] * 25_000, encoding="utf-8")
    assert sum(len(one.page_content) for one in load_documents(path, chunk_overlap=0)) >= 900_000


def test_long_texts_are_split_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    sentences = [f"{number}번째 안내입니다. {text}" for number, text in enumerate(TEXTS * 20)]
    path.write_text("\n".join(sentences), encoding="utf-8")
    chunks = load_documents(path, chunk_size=200, chunk_overlap=40)
    assert all(0 < len(one.page_content) <= 200 for one in chunks)
    assert len({one.id for one in chunks}) == len(chunks)
    together = "\n".join(one.page_content for one in chunks)
    assert all(f"{number}번째 안내입니다." in together for number in range(120))


def test_ids_stay_the_same_from_run_to_run(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(TEXTS * 5), encoding="utf-8")
    first = load_documents(path)
    assert [one.id for one in load_documents(path)] == [one.id for one in first]


def test_files_of_one_name_in_two_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    ids = set()
    for folder in ("서울", "부산"):
        path = tmp_path / folder / "README.md"
        path.parent.mkdir()
        path.write_text(f"# {folder}\n\n{TEXTS[0]}", encoding="utf-8")
        ids |= {one.id for one in load_documents(path)}
    assert len(ids) == 2


def test_empty_files_hold_no_passages(tmp_path: Path) -> None:
    for name, content in [("a.txt", ""), ("b.txt", " \n"), ("c.md", ""), ("d.jsonl", "\n\n"), ("e.csv", "text\n")]:
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert load_documents(tmp_path / name) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", b"text", "of this kind are not read"),
        ("a", b"text", "of this kind are not read"),
        ("a.doc", b"\xd0\xcf", "older format"),
        ("a.odt", b"PK", "save it as docx"),
        ("a.zip", b"PK", "unpack it"),
        ("a.txt", b"\x89PNG\r\n\0\0\xff\xfe", "not text"),
        ("a.txt", b"\xff\xff\xff\xff", "neither UTF-8, UTF-16 nor CP949"),
        ("a.jsonl", b'{"text": "ok"}\n{"text": ', "line 2: it is not JSON"),
        ("a.jsonl", b'["text"]', "line 1: it is not a JSON object"),
        ("a.json", b'{"text": ', "line 1: it is not JSON"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFileError, match=message) as refused:
        load_documents(tmp_path / name, strict=True)
    assert str(tmp_path / name) in str(refused.value)
    assert re.search("[가-힣]", refused.value.problem.sentence(korean=True, with_path=False))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        load_documents(tmp_path / "missing.txt")
    with pytest.raises(UnreadableFileError, match="no regular file"):
        load_documents(tmp_path)


def test_of_many_bad_lines_a_few_are_named_and_the_others_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "나쁜 줄.jsonl"
    path.write_text('{"text": "전입신고"}\n' + "{\n" * 1000, encoding="utf-8")
    assert len(load_documents(path)) == 1
    assert len(caplog.records) == 21
    assert "980 lines more" in caplog.text


@pytest.mark.slow
def test_columns_without_end_are_read_in_time(tmp_path: Path) -> None:
    path = tmp_path / "넓은.csv"
    path.write_text(",".join(f"열{number}" for number in range(100_000)) + "\n" + "값," * 100_000, encoding="utf-8")
    assert load_documents(path)


def test_cells_beyond_the_last_column_stand_together_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "넓은.csv"
    path.write_text("text\n" + ",".join(f"값{number}" for number in range(20_000)), encoding="utf-8")
    [found] = {one.metadata["source"] for one in load_documents(path)}
    texts = " ".join(one.page_content + str(one.metadata) for one in load_documents(path))
    assert found.endswith("넓은.csv")
    assert all(f"값{number}" in texts for number in (0, 16_382, 16_383, 19_999))


def test_a_sync_names_damaged_files_again_without_reading_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def sync() -> tuple[list[int], list[str]]:
        assert main(["sync", str(folder), "--out", str(tmp_path / "index"), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        return [result[name] for name in ("read", "unchanged", "passages")], sorted(map(str, result["problems"]))

    folder = tmp_path / "자료"
    folder.mkdir()
    for name, content in (
        ("가.txt", "주차는 지하에 합니다."),
        ("나.json", '{"제목": '),
        ("다.jsonl", '{"text": "점심은 열두 시입니다."}\n{나쁜 줄}\n'),
    ):
        (folder / name).write_text(content, encoding="utf-8")
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))
    first = sync()
    assert first[0] == [3, 0, 2]
    assert len(first[1]) == 2
    assert sync() == ([0, 3, 2], first[1])
    for damage in ("5", '["none", 0, ""]', '[["none", 0, ""]]', '[["json", 0]]'):  # a record that others wrote
        record = tmp_path / "index" / SOURCES
        content = json.loads(record.read_text(encoding="utf-8"))
        next(entry for name, entry in content["files"].items() if name.endswith("나.json"))[6:] = [json.loads(damage)]
        record.write_text(json.dumps(content), encoding="utf-8")
        assert sync() == ([3, 0, 2], first[1])
    (folder / "나.json").write_text('{"제목": "저녁은 여섯 시입니다."}', encoding="utf-8")
    assert sync()[0] == [1, 2, 3]
    assert len(sync()[1]) == 1
