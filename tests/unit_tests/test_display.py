"""What people see on the command line stays in its columns, for Korean too, and commands no terminal."""

from __future__ import annotations

import sys

import pytest
from langchain_core.documents import Document

from langchain_klue_rerank.cli import display


def found(title: str, text: str = "본문", **metadata: float) -> Document:
    return Document(text, id="d0", metadata={"title": title, "relevance_score": 0.5, **metadata})


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_titles_of_any_script_and_length_leave_the_second_column_where_it_is() -> None:
    titles = ["전입신고", "passport", "출생신고와 첫만남 축하 꾸러미, 그리고 그 밖의 여러 가지 안내", "가e\u0301나"]
    shown = display.comparison("질문", [found(one) for one in titles], [found("뒤")] * 4, "문장", (1, 2)).splitlines()
    places = {display._width(line[: line.rindex("0.50")]) for line in shown if line.endswith("뒤")}
    assert len(places) == 1
    assert all(display._width(line) <= 80 for line in shown)
    assert shown[4].count("…") == 1  # the long title was cut


def test_sentences_are_broken_at_spaces_under_their_title() -> None:
    sentence = "여권은 구청 민원실에서 만들고 찾을 때 신분증이 필요합니다 " * 4
    lines = display.results("질문", [found("여권", first_stage_score=0.25)], [sentence], 3.2).splitlines()
    assert lines[0].split() == ["질문", "3", "ms"]
    assert lines[1].split() == ["1", "0.50", "여권", "before", "reranking", "0.25"]
    assert len(lines) > 3
    assert all(line.startswith(" " * 10) and display._width(line) <= 80 for line in lines[2:])
    assert " ".join(lines[2:]).split() == sentence.split()


def test_control_characters_of_a_document_do_not_reach_the_terminal() -> None:
    shown = display.results("a\x1b[2Jb", [found("\x1b]0;title\x07")], ["one\ttwo\r\nthree\x9b31m"], 1)
    assert not {"\x1b", "\x07", "\x9b", "\r", "\t"} & set(shown)
    assert "one two three" in shown


def test_style_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1m" in display.results("질문", [], [], 1)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in display.results("질문", [], [], 1)


def test_a_passage_without_a_title_is_called_by_its_file_and_place() -> None:
    row = Document(
        "내선 1100", id="/home/me/연락처.json#3", metadata={"source": "/home/me/연락처.json", "relevance_score": 1.0}
    )
    lines = display.results("질문", [row], ["내선 1100"], 1).splitlines()
    assert lines[1].split() == ["1", "1.00", "연락처.json#3"]


def test_a_low_confidence_is_said_in_words() -> None:
    for confidence, is_told in ((0.3, True), (0.7, False)):
        shown = [
            display.results("질문", [found("가", confidence=confidence)], ["문장"], 1, 0.5),
            display.comparison("질문", [found("가")], [found("가", confidence=confidence)], "문장", (1, 2), 0.5),
        ]
        assert ["probably not here" in one for one in shown] == [is_told] * 2
