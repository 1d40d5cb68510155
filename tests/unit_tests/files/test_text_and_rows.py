"""Markdown and files of rows: nothing that they say is lost, and odd lines stop nothing."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.load import dumps

from langchain_klue_rerank.files import UnreadableFileError, load_documents
from langchain_klue_rerank.files.encodings import decode
from langchain_klue_rerank.files.formats.rows import find_delimiter, parse_csv
from langchain_klue_rerank.files.formats.text import read_markdown


def load(tmp_path: Path, name: str, content: str | bytes, **options: str) -> list[tuple[str | None, str]]:
    """Titles and texts."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(one.metadata.get("title"), one.page_content) for one in load_documents(path, **options)]


# --- Markdown -----------------------------------------------------------------------------------------------------


def test_headings_without_a_body_keep_what_they_say(tmp_path: Path) -> None:
    text = (
        "# FAQ\n## Q. 환불은 며칠 안에 되나요?\n## A. 구매 후 7일 안에 됩니다.\n## Q. 배송비는?\n## A. 3천 원입니다.\n"
    )
    assert load(tmp_path, "a.md", text) == [
        ("FAQ > Q. 환불은 며칠 안에 되나요?", "A. 구매 후 7일 안에 됩니다."),
        ("FAQ > Q. 배송비는?", "A. 3천 원입니다."),
    ]
    assert load(tmp_path, "b.md", "# 제목뿐") == [("제목뿐", "제목뿐")]
    assert [text for _, text in load(tmp_path, "c.md", "# 가\n# 나\n# 다")] == ["가", "나", "다"]


def test_tabs_spaces_and_code_stay(tmp_path: Path) -> None:
    code = "```py\ndef f():\n    # 제목 아님\n    return 1\n```\n"
    [(_, text)] = load(tmp_path, "a.md", f"# 표\n홍길동\t30\t02-123-4567\n가\u00a0나\n\n{code}")
    assert "홍길동\t30\t02-123-4567" in text
    assert "가\u00a0나" in text
    assert "    # 제목 아님\n    return 1" in text
    assert load(tmp_path, "b.md", "    들여 쓴 코드\n다음")[0][1] == "    들여 쓴 코드\n다음"


def test_front_matter_and_underlined_headings(tmp_path: Path) -> None:
    text = '---\ntitle: "사내 규정"\ntags: [휴가]\n---\n머리말\n\n휴가\n====\n연차는 15일\n\n병가\n---\n진단서\n'
    assert load(tmp_path, "a.md", text) == [
        ("사내 규정", "tags: [휴가]\n머리말"),
        ("사내 규정 > 휴가", "연차는 15일"),
        ("사내 규정 > 휴가 > 병가", "진단서"),
    ]
    assert load(tmp_path, "b.md", "---\n글\n---\n끝")[0][0] == "b"  # a rule, no front matter


_LINES = ["# 가", "## 나", "### 다?", "Q. 라", "```", "---", "===", "- 마", "바 사", "", "\t아", "> 자", "#차"]


@settings(max_examples=3 * settings.default.max_examples)
@given(st.lists(st.sampled_from(_LINES)))
def test_no_letter_of_any_markdown_is_lost(lines: list[str]) -> None:
    read = read_markdown("\n".join(lines)).pieces
    kept = " ".join(f"{piece.metadata.get('title', '')} {piece.text}" for piece in read)
    assert {letter for letter in "".join(lines) if letter.isalnum()} <= set(kept)


# --- rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("columns", "roles"),
    [
        (("question", "answer"), "title text"),
        (("질문", "답변"), "title text"),
        (("제목", "본문"), "title text"),
        (("Title", "Content"), "title text"),
    ],
)
def test_columns_and_delimiters_are_found_out(
    tmp_path: Path, delimiter: str, columns: tuple[str, str], roles: str
) -> None:
    rows = f"{delimiter.join(columns)}\n환불 기한은?{delimiter}7일입니다\n배송비는?{delimiter}3천 원입니다\n"
    assert load(tmp_path, "a.csv", rows) == [("환불 기한은?", "7일입니다"), ("배송비는?", "3천 원입니다")]


def test_columns_can_be_named(tmp_path: Path) -> None:
    rows = "이름,설명글,비고\n의자,앉는 것,새것\n"
    assert load(tmp_path, "a.csv", rows) == [(None, "이름: 의자 | 설명글: 앉는 것 | 비고: 새것")]
    assert load(tmp_path, "a.csv", rows, text_column="설명글", title_column="이름") == [("의자", "앉는 것")]
    with pytest.raises(UnreadableFileError, match="'없음' is not among 이름, 설명글, 비고"):
        load(tmp_path, "a.csv", rows, text_column="없음")


def test_odd_rows_stop_nothing_and_are_named_by_their_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = load(tmp_path, "a.csv", '제목,본문\n"두\n줄",글\n,\n가,나,다\n"안 닫힌,끝\n')
    assert found == [("두 줄", "글"), ("가", "나"), ("안 닫힌,끝", "제목: 안 닫힌,끝")] or found[:2] == [
        ("두 줄", "글"),
        ("가", "나"),
    ]
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path, "b.jsonl", '{"text": "하나"}\n{"text": \n["둘"]\n{"text": "셋"}\n') == [
            (None, "하나"),
            (None, "셋"),
        ]
    assert "line 2: it is not JSON" in caplog.text
    assert "line 3: it is not a JSON object" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp949"])
def test_encodings(encoding: str) -> None:
    text = "제목, 본문\r\n휴가, 연차는 15일입니다.\r\n"
    assert decode(text.encode(encoding)) == text
    assert decode(unicodedata.normalize("NFD", text).encode("utf-8")) == text


def test_documents_of_langchain_keep_title_and_source(tmp_path: Path) -> None:
    documents = [Document("글", id="7", metadata={"title": "제목", "source": "https://example.org/a"})]
    forms = {
        "a.json": dumps(documents, ensure_ascii=False),
        "b.json": dumps(documents[0], ensure_ascii=False),
        "c.jsonl": dumps(documents[0], ensure_ascii=False),
        "d.jsonl": json.dumps({"page_content": "글", "metadata": documents[0].metadata}, ensure_ascii=False),
    }
    for name, content in forms.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        [document] = load_documents(tmp_path / name)
        assert document.page_content == "글"
        assert document.metadata["title"] == "제목"
        assert document.metadata["source"] == "https://example.org/a"


def test_json_of_any_form_is_read(tmp_path: Path) -> None:
    text = json.dumps({"회사": {"주소": "서울", "전화": ["02-1", "02-2"]}, "직원": 30}, ensure_ascii=False)
    assert load(tmp_path, "a.json", text) == [(None, "회사.주소: 서울\n회사.전화: 02-1\n회사.전화: 02-2\n직원: 30")]
    assert load(tmp_path, "b.json", '{"data": [{"내용": "가"}, {"내용": "나"}]}') == [(None, "가"), (None, "나")]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (
            {
                "response": {
                    "header": {"code": "00"},
                    "body": {"items": {"item": [{"시설명": "수영장", "설명": "월요일 휴관"}]}},
                }
            },
            [("수영장", "월요일 휴관"), (None, "response.header.code: 00")],
        ),
        (
            {"제목": "휴가", "조항": [{"번호": 1, "내용": "15일을 준다."}]},
            [("휴가", "15일을 준다."), (None, "제목: 휴가")],
        ),
        ({"a": [{"내용": "가"}], "b": [{"내용": "나"}]}, [(None, "a.내용: 가\nb.내용: 나")]),
        # as pandas writes a frame: orient="columns", its default, and "split"
        (
            {"이름": {"0": "사과", "1": "배"}, "값": {"0": 5, "1": 7}},
            [(None, "이름: 사과 | 값: 5"), (None, "이름: 배 | 값: 7")],
        ),
        ({"columns": ["이름", "값"], "index": [0], "data": [["사과", 5]]}, [(None, "이름: 사과 | 값: 5")]),
    ],
)
def test_rows_of_json_are_found_where_services_and_pandas_write_them(
    tmp_path: Path, value: dict[str, Any], found: list[tuple[str | None, str]]
) -> None:
    assert load(tmp_path, "a.json", json.dumps(value, ensure_ascii=False)) == found


@pytest.mark.parametrize("name", ["이름", "Name", "상품명", "시설명"])
def test_a_column_of_names_is_the_title_where_there_is_no_other(tmp_path: Path, name: str) -> None:
    text = f"{name},상세설명,내용\n의자,나무로 만듦,앉는 것\n"
    assert load(tmp_path, "a.csv", text) == [("의자", "앉는 것")]
    assert load(tmp_path, "b.csv", text.replace(name, "제목")) == [("의자", "앉는 것")]


@pytest.mark.parametrize("mark", ["", "---------------"])
def test_a_chat_is_read_day_by_day(tmp_path: Path, mark: str) -> None:
    days = [f"{mark} 2026년 11월 {day} {mark}".strip() for day in ("17일 화요일", "18일 수요일")]
    lines = [
        "총무팀 님과 카카오톡 대화",
        "저장한 날짜 : 2026-11-20",
        "",
        days[0],
        "[하늘] [오전 9:02] 회식은 목요일입니다",
    ]
    path = tmp_path / "a.txt"
    path.write_text(
        "\r\n".join([*lines, days[1], "[도윤] [오후 1:44] 2026년 11월 18일은 쉽니다", ""]), encoding="utf-8-sig"
    )
    title = "총무팀 님과 카카오톡 대화"
    assert [(one.metadata["title"], one.page_content) for one in load_documents(path)] == [
        (title, "저장한 날짜 : 2026-11-20"),
        (f"{title} > 2026년 11월 17일 화요일", "[하늘] [오전 9:02] 회식은 목요일입니다"),
        (f"{title} > 2026년 11월 18일 수요일", "[도윤] [오후 1:44] 2026년 11월 18일은 쉽니다"),
    ]


def test_a_notebook_is_read_under_its_headings(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# 매출\n", "3월이 가장 높습니다."]},
        {
            "cell_type": "code",
            "source": "print(합계)",
            "outputs": [{"text": ["120\n"]}, {"data": {"image/png": "iVBO", "text/plain": "표 1"}}],
        },
        {"cell_type": "markdown", "source": "## 결론\n여름에 더 만듭니다."},
    ]
    path = tmp_path / "분석.ipynb"
    path.write_text(json.dumps({"cells": cells, "nbformat": 4}), encoding="utf-8")
    assert [(one.metadata["title"], one.page_content.split()) for one in load_documents(path)] == [
        ("매출", ["3월이", "가장", "높습니다.", "print(합계)", "120", "표", "1"]),
        ("매출 > 결론", ["여름에", "더", "만듭니다."]),
    ]
    for damaged in ("{", "[]", '{"cells": [1]}', '{"cells": [{"outputs": [{"data": 3}]}]}'):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(UnreadableFileError, match="not JSON"):
            load_documents(path)


def test_columns_that_are_called_like_our_scores(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,relevance_score,first_stage_score,rerank_score\n글,높음,낮음,0.5\n", encoding="utf-8")
    [document] = load_documents(path)
    assert "relevance_score" not in document.metadata
    assert document.metadata["relevance_score (file)"] == "높음"


def test_no_limit_of_the_process_is_touched(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    assert len(load(tmp_path, "a.csv", f"text\n{'가' * 200_000}\n")) > 300
    assert csv.field_size_limit() == before


@settings(max_examples=3 * settings.default.max_examples)
@given(st.lists(st.lists(st.text("가a,;\t\"' \n\r|", max_size=6), min_size=2, max_size=2), min_size=1, max_size=6))
def test_csv_is_what_the_standard_library_wrote(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    read = list(parse_csv(out.getvalue()))
    assert [row for _, row in read] == rows
    lines = [1]
    for row in rows[:-1]:
        lines.append(lines[-1] + 1 + sum(len(re.findall(r"\r\n|\r|\n", cell)) for cell in row))
    assert [line for line, _ in read] == lines


def test_the_delimiter_of_quoted_commas() -> None:
    assert find_delimiter('a;b\n"1,2,3";"4,5"\n') == ";"
    assert find_delimiter("a,b\n1;2,3\n") == ","
    assert find_delimiter("하나뿐\n값\n") == ","
