"""Everybody has a shelf of their own; files come, are replaced and go, and one bad file stops no other."""

from __future__ import annotations

import threading

import pytest

from examples.qa_bot import shelf as module
from examples.qa_bot.documents import read_file
from examples.qa_bot.shelf import Shelf, State


def found(shelf: Shelf, question: str) -> set[str]:
    return {one.metadata["file"] for one in shelf.retriever.invoke(question)}


def put(shelf: Shelf, name: str, text: str) -> str:
    notice = shelf.put(name, text.encode())
    shelf.wait()
    return notice


def test_files_are_searched_by_those_who_brought_them_only() -> None:
    mine, yours = Shelf(), Shelf()
    put(mine, "고양이.txt", "우리 집 고양이의 이름은 나비입니다.")
    put(yours, "강아지.txt", "우리 집 강아지의 이름은 보리입니다.")
    assert found(mine, "이름은 무엇인가요?") == {"고양이.txt"}
    assert found(yours, "이름은 무엇인가요?") == {"강아지.txt"}


def test_a_bad_file_is_named_and_the_others_are_searched() -> None:
    shelf = Shelf()
    for name, content in (("빈.txt", b""), ("잘못.pdf", b"x"), ("좋은.txt", "연차는 15일입니다.".encode())):
        shelf.put(name, content)
    shelf.wait()
    assert [(file.name, file.state) for file in shelf.files] == [
        ("빈.txt", State.FAILED),
        ("잘못.pdf", State.FAILED),
        ("좋은.txt", State.READY),
    ]
    assert all(file.name in file.message for file in shelf.files[:2])
    assert found(shelf, "연차는 며칠인가요?") == {"좋은.txt"}


def test_equal_contents_are_taken_once_and_said_so() -> None:
    shelf = Shelf()
    assert put(shelf, "가.txt", "연차는 15일입니다.") == ""
    assert "가.txt" in put(shelf, "나.txt", "연차는 15일입니다.")
    assert [file.name for file in shelf.files] == ["가.txt"]
    assert len(shelf.retriever) == 1


def test_a_file_of_the_same_name_replaces_the_old_one() -> None:
    shelf = Shelf()
    put(shelf, "규칙.txt", "연차는 15일입니다.")
    assert "바꿨습니다" in put(shelf, "규칙.txt", "연차는 20일입니다.")
    assert [one.page_content for one in shelf.retriever.invoke("연차는 며칠인가요?")] == ["연차는 20일입니다."]


def test_a_file_that_failed_may_come_again() -> None:
    shelf = Shelf()
    put(shelf, "규칙.txt", "")
    assert put(shelf, "규칙.txt", "") == ""
    assert put(shelf, "규칙.txt", "연차는 15일입니다.") == ""
    assert [file.state for file in shelf.files] == [State.READY]


def test_a_removed_file_is_not_found() -> None:
    shelf = Shelf()
    put(shelf, "가.txt", "연차는 15일입니다.")
    put(shelf, "나.txt", "병가는 진단서를 냅니다.")
    shelf.remove("가.txt")
    shelf.remove("없는 것.txt")
    assert [file.name for file in shelf.files] == ["나.txt"]
    assert found(shelf, "연차 병가") == {"나.txt"}


def test_what_is_ready_can_be_searched_while_a_large_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow(name: str, content: bytes) -> list[object]:
        if name == "큰.txt":
            reading.set()
            assert go_on.wait(20)
        return list(read_file(name, content))

    monkeypatch.setattr(module, "read_file", slow)
    shelf = Shelf()
    put(shelf, "작은.txt", "연차는 15일입니다.")
    shelf.put("큰.txt", "병가는 진단서를 냅니다.".encode())
    assert reading.wait(20)
    assert shelf.busy
    assert found(shelf, "연차는 며칠인가요?") == {"작은.txt"}
    go_on.set()
    shelf.wait()
    assert not shelf.busy
    assert found(shelf, "병가에는 무엇을 내나요?") >= {"큰.txt"}


def test_a_file_removed_while_it_is_read_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    first, go_on = threading.Event(), threading.Event()
    shelf = Shelf()
    add = type(shelf.retriever).add_documents

    def slow(self: object, *args: object, **kwargs: object) -> object:
        result = add(self, *args, **kwargs)  # type: ignore[arg-type]
        first.set()
        assert go_on.wait(20)
        return result

    monkeypatch.setattr(type(shelf.retriever), "add_documents", slow)
    shelf.put("큰.txt", "".join(f"규칙 {number}번은 이렇습니다.\n\n" * 20 for number in range(400)).encode())
    assert first.wait(20)
    shelf.remove("큰.txt")
    go_on.set()
    shelf.wait()
    assert shelf.files == []
    assert len(shelf.retriever) == 0
    monkeypatch.undo()
    put(shelf, "작은.txt", "연차는 15일입니다.")
    assert [file.state for file in shelf.files] == [State.READY]


def test_a_fault_of_ours_is_told_as_one_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, content: bytes) -> list[object]:
        if name == "가.txt":
            raise RuntimeError("a fault")
        return list(read_file(name, content))

    monkeypatch.setattr(module, "read_file", broken)
    shelf = Shelf()
    put(shelf, "가.txt", "가")
    put(shelf, "나.txt", "연차는 15일입니다.")
    assert [file.state for file in shelf.files] == [State.FAILED, State.READY]
    assert shelf.files[0].message.startswith("가.txt: ")


def test_more_files_than_a_visitor_may_have_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 1)
    monkeypatch.setattr(module, "MAX_TOTAL_MEGABYTES", 1)
    shelf = Shelf()
    assert shelf.put("하나.txt", "휴가는 닷새입니다.".encode()) == ""
    assert "1개까지" in shelf.put("둘.txt", "휴가는 엿새입니다.".encode())
    assert "1MB까지" in shelf.put("하나.txt", b"a" * (1 << 20) + b"b")
    shelf.wait()
    assert [file.name for file in shelf.files] == ["하나.txt"]
    assert len(shelf.retriever) == 1


def test_when_the_visitor_leaves_nothing_more_is_read() -> None:
    gone = threading.Event()
    shelf = Shelf(gone.is_set)
    gone.set()
    shelf.put("하나.txt", "휴가는 닷새입니다.".encode())
    shelf.wait()
    assert not len(shelf.retriever)
