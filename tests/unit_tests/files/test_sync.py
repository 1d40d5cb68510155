"""Folders and an index in step: only what changed is read and embedded, nothing stays of what is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index

from langchain_klue_rerank import KlueRetriever, KlueVectorStore
from langchain_klue_rerank.cli.main import main
from langchain_klue_rerank.engine.arrays.storage import SOURCES
from langchain_klue_rerank.errors import IndexLockedError
from tests.unit_tests.fakes import TEXTS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "자료"
    (folder / "안쪽").mkdir(parents=True)
    for number, text in enumerate(TEXTS[:4]):
        (folder / f"글 {number}.txt").write_text(text, encoding="utf-8")
        os.utime(folder / f"글 {number}.txt", (1_700_000_000 + number, 1_700_000_000 + number))
    (folder / "안쪽" / "깊은 글.md").write_text(f"# 깊은 글\n\n{TEXTS[4]}", encoding="utf-8")
    return folder


def sync(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["sync", *map(str, arguments), "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def texts(out: Path) -> list[str]:
    retriever = KlueRetriever.load(out, search_type="lexical")
    return sorted(passage.text for passage in retriever._index.get(retriever._index.find(lambda _: True)))


def counts(result: dict[str, Any]) -> tuple[int, ...]:
    return tuple(result[name] for name in ("read", "unchanged", "gone", "added", "removed", "passages"))


def test_only_what_changed_is_read_and_embedded(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    assert counts(sync(capsys, folder, "--out", out)) == (5, 0, 0, 5, 0, 5)
    assert counts(sync(capsys, folder, "--out", out)) == (0, 5, 0, 0, 0, 5)
    (folder / "글 0.txt").write_text(TEXTS[5], encoding="utf-8")
    embedded: list[str] = []
    add = KlueRetriever.add_documents

    def watched(self: KlueRetriever, documents: list[Document], **more: Any) -> list[str]:
        embedded.extend(document.page_content for document in documents)
        return add(self, documents, **more)

    monkeypatch.setattr(KlueRetriever, "add_documents", watched)
    assert counts(sync(capsys, folder, "--out", out)) == (1, 4, 0, 1, 0, 5)
    assert embedded == [TEXTS[5]]
    assert texts(out) == sorted(TEXTS[1:6])


def test_deleted_emptied_and_renamed_files_leave_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    sync(capsys, folder, "--out", out)
    (folder / "글 0.txt").unlink()
    (folder / "글 1.txt").write_text("", encoding="utf-8")
    (folder / "글 2.txt").rename(folder / "새 이름.txt")
    result = sync(capsys, folder, "--out", out)
    assert result["passages"] == 3
    assert texts(out) == sorted(TEXTS[2:5])
    names = {Path(p.id.split("#")[0]).name for p in _passages(out)}
    assert names == {"새 이름.txt", "글 3.txt", "깊은 글.md"}
    (folder / "글 3.txt").write_bytes(b"\xff\xff\xff")  # what it said before is not true any more
    assert sync(capsys, folder, "--out", out)["passages"] == 2


def _passages(out: Path) -> list[Any]:
    index = KlueRetriever.load(out)._index
    return index.get(index.find(lambda _: True))


def test_no_word_of_what_is_gone_stays_on_the_disk(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    (folder / "글 0.txt").write_text("비밀번호는 무지개빛고래입니다", encoding="utf-8")
    sync(capsys, folder, "--out", out)
    assert any("무지개빛고래".encode() in path.read_bytes() for path in out.rglob("*") if path.is_file())
    (folder / "글 0.txt").write_text("비밀번호는 바꾸었습니다", encoding="utf-8")
    sync(capsys, folder, "--out", out)
    for path in out.rglob("*"):
        if path.is_file():
            assert "무지개".encode() not in path.read_bytes(), path
    assert KlueRetriever.load(out).invoke("바꾸었습니다")[0].metadata["title"] == "글 0"


def test_other_spellings_of_a_path_are_the_same_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    sync(capsys, folder, "--out", out)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for spelling in ("자료", "./자료/../자료", "link", str(folder) + "/"):
        assert counts(sync(capsys, spelling, "--out", out)) == (0, 5, 0, 0, 0, 5)
        assert main(["index", f"{spelling}/글 0.txt", "--out", str(out), "--append", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["passages"] == 5


def test_names_from_macos_are_the_same_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("NFD", "NFC"):
        folder = tmp_path / form / "x"
        folder.mkdir(parents=True)
        (folder / unicodedata.normalize(form, "한글 문서.txt")).write_text(TEXTS[0], encoding="utf-8")
    shared = tmp_path / "x"
    (tmp_path / "NFD" / "x").rename(shared)
    out = tmp_path / "index"
    sync(capsys, shared, "--out", out)
    [passage] = _passages(out)
    assert unicodedata.is_normalized("NFC", passage.id)
    assert passage.metadata["title"] == "한글 문서"
    (shared / unicodedata.normalize("NFD", "한글 문서.txt")).rename(shared / "한글 문서.txt")
    assert sync(capsys, shared, "--out", out)["passages"] == 1
    (shared / unicodedata.normalize("NFD", "한글 문서.txt")).write_text(TEXTS[1], encoding="utf-8")
    if len(list(shared.iterdir())) == 2:  # file systems that keep both
        assert [one["reason"] for one in sync(capsys, shared, "--out", out)["problems"]] == ["same"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_in_cp949_are_read_as_they_were_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "문서", tmp_path / "index"
    folder.mkdir()
    for name in ("전입신고.txt".encode("cp949"), b"\xff\xfe.txt"):  # as an archive from Windows is unpacked
        with open(os.path.join(os.fsencode(folder), name), "w", encoding="utf-8") as file:
            file.write(f"{TEXTS[0]} {name.hex()}")
    assert main(["sync", str(folder), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"] == 2
    assert main(["sync", str(folder), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 2
    found = {one.metadata["title"]: one for one in KlueRetriever.load(out).documents()}
    assert set(found) == {"전입신고", r"\xff\xfe"}
    assert found["전입신고"].metadata["source"] == (folder / "전입신고.txt").as_posix()
    assert found["전입신고"].id == f"{(folder / '전입신고.txt').as_posix()}#0"
    for one in folder.iterdir():
        one.unlink()
    assert main(["sync", str(folder), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"] == 0


def test_watching_follows_the_folder_until_it_is_interrupted(folder: Path, tmp_path: Path) -> None:
    out, away = tmp_path / "index", tmp_path / "away"
    run = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from langchain_klue_rerank.cli.main import main; raise SystemExit(main())"
    )
    command = [sys.executable, "-c", run, "sync", str(folder), "--out", str(out), "--watch", "0.2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        try:
            assert counts(json.loads(watching.stdout.readline())) == (5, 0, 0, 5, 0, 5)
            (folder / "글 0.txt").write_text(TEXTS[5], encoding="utf-8")
            (folder / "글 1.txt").unlink()
            changes = [json.loads(watching.stdout.readline())]
            while changes[-1]["passages"] != 4 or not sum(one["added"] for one in changes):
                changes.append(json.loads(watching.stdout.readline()))  # a step may see one of the two
            assert texts(out) == sorted([*TEXTS[2:6]])
            assert "watching" in watching.stderr.readline()
            folder.rename(away)  # an unmounted disk: said once, and nothing is removed
            assert "no file or folder" in watching.stderr.readline()
            away.rename(folder)
            (folder / "글 2.txt").unlink()
            assert counts(json.loads(watching.stdout.readline()))[-2:] == (1, 3)
            watching.send_signal(signal.SIGINT)
            assert watching.wait(60) == 0
            assert watching.stdout.read() == ""
        finally:
            watching.kill()


def test_without_the_record_nothing_is_embedded_again_and_nothing_stale_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    sync(capsys, folder, "--out", out)
    (folder / "글 0.txt").unlink()
    for damage in (None, "{", "[]", '{"state": 1}'):
        if damage is None:
            (out / SOURCES).unlink()
        else:
            (out / SOURCES).write_text(damage, encoding="utf-8")
        result = sync(capsys, folder, "--out", out)
        assert (result["added"], result["passages"]) == (0, 4)


def test_the_record_counts_for_its_own_state_only(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    sync(capsys, folder, "--out", out)
    retriever = KlueRetriever.load(out)
    retriever.delete(filter=lambda document: "글 0" in document.metadata["source"])
    retriever.save(out)
    assert counts(sync(capsys, folder, "--out", out)) == (5, 0, 0, 1, 0, 5)


def test_another_way_of_reading_reads_anew(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "index"
    sync(capsys, folder, "--out", out)
    assert sync(capsys, folder, "--out", out, "--chunk-size", 12, "--chunk-overlap", 0)["passages"] > 5
    assert max(map(len, texts(out))) <= 12


def test_what_else_is_in_the_index_stays(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "index"
    sync(capsys, folder / "안쪽", "--out", out)
    sync(capsys, folder / "글 0.txt", "--out", out)
    assert texts(out) == sorted([TEXTS[4], TEXTS[0]])
    (folder / "안쪽" / "깊은 글.md").unlink()
    sync(capsys, folder / "안쪽", "--out", out)
    assert texts(out) == [TEXTS[0]]


def test_a_change_within_the_same_clock_tick_is_seen(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "index", folder / "글 0.txt"
    file.write_text("주차는 화요일", encoding="utf-8")
    sync(capsys, folder, "--out", out)
    status = file.stat()
    file.write_text("주차는 목요일", encoding="utf-8")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sync(capsys, folder, "--out", out)["added"] == 1


def test_a_second_writer_is_told_so(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    from langchain_klue_rerank.engine.arrays.storage import writer_lock

    out = tmp_path / "index"
    sync(capsys, folder, "--out", out)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with writer_lock(out):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        assert main(["sync", str(folder), "--out", str(out)]) == 2
        assert "writing the index" in capsys.readouterr().err
    finally:
        done.set()
        thread.join()
    assert issubclass(IndexLockedError, OSError)


def test_a_folder_with_its_own_index_in_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for _ in range(2):
        assert main(["index", ".", "--out", "my-index", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["passages"] == 5


def test_what_nobody_wants_read_is_left_out(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (
        ".git/config.txt",
        ".ipynb_checkpoints/a.md",
        "__MACOSX/b.txt",
        "~$임시.docx",
        "초안/c.txt",
        "비밀.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("읽으면 안 되는 글", encoding="utf-8")
    (folder / ".gitignore").write_text("초안/\n*.tmp\n", encoding="utf-8")
    (folder / "x.md").mkdir()
    (folder / "끊긴 링크.txt").symlink_to(folder / "없음.txt")
    result = sync(capsys, folder, "--out", tmp_path / "index", "--exclude", "비밀*")
    assert texts(tmp_path / "index") == sorted(TEXTS[:5])
    assert {Path(one["path"]).name: one["reason"] for one in result["problems"]} == {
        ".git": "hidden",
        ".ipynb_checkpoints": "hidden",
        "__MACOSX": "tool",
        "~$임시.docx": "tool",
        "초안": "excluded",
        "비밀.txt": "excluded",
        "끊긴 링크.txt": "link",
    }


def test_strict_fails_where_something_could_not_be_read(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "줄.jsonl").write_text(f'{{"text": "{TEXTS[5]}"}}\nnot json\n', encoding="utf-8")
    out = str(tmp_path / "index")
    assert main(["index", str(folder), "--out", out, "--strict"]) == 1
    captured = capsys.readouterr()
    assert "line 2" in captured.err
    assert "6" in captured.out
    assert main(["index", str(folder), "--out", out]) == 0


# --- the same for any documents -----------------------------------------------------------------------------------


def test_sync_of_documents_by_source() -> None:
    retriever = KlueRetriever()
    both = {"a": [Document(TEXTS[0]), Document(TEXTS[1])], "b": [Document(TEXTS[2], id="own")]}
    result = retriever.sync(both)
    assert (result.added, result.removed, result.unchanged) == (3, 0, 0)
    assert {p.id for p in retriever._index.get(["a#0", "a#1", "b#own"])} == {"a#0", "a#1", "b#own"}
    result = retriever.sync({"a": [Document(TEXTS[0])]}, cleanup="incremental")
    assert (result.added, result.removed, result.unchanged) == (0, 1, 1)
    result = retriever.sync({"a": [Document(TEXTS[0], metadata={"page": 2})]})
    assert (result.added, result.removed, len(retriever)) == (1, 1, 1)
    assert retriever.invoke(TEXTS[0])[0].metadata["page"] == 2
    assert retriever.sync({}).removed == 1
    with pytest.raises(ValueError, match="have the id"):
        retriever.sync({"a": [Document("가", id="1"), Document("나", id="1")]})


def test_a_sync_that_fails_removes_nothing() -> None:
    from tests.unit_tests.fakes import BrokenEmbeddings

    retriever = KlueRetriever(embeddings=BrokenEmbeddings("전입"))
    retriever.sync({"a": [Document(TEXTS[1])]})
    with pytest.raises(Exception, match="NaN"):
        retriever.sync({"a": [Document("전입 신고")]})
    assert len(retriever) == 1


def test_langchains_indexing_api_keeps_the_store_in_step() -> None:
    store, records = KlueVectorStore(), InMemoryRecordManager(namespace="test")
    records.create_schema()
    documents = [Document(text, metadata={"source": f"{number % 2}"}) for number, text in enumerate(TEXTS[:4])]

    def run(documents: list[Document], cleanup: Any = "full") -> tuple[int, int, int]:
        done = index(documents, records, store, cleanup=cleanup, source_id_key="source", key_encoder="sha256")
        return done["num_added"], done["num_skipped"], done["num_deleted"]

    assert run(documents) == (4, 0, 0)
    assert run(documents) == (0, 4, 0)
    changed = [Document(TEXTS[5], metadata={"source": "0"}), *documents[1:]]
    assert run(changed, "incremental") == (1, 3, 1)
    assert sorted(one.page_content for one in store.documents()) == sorted([TEXTS[5], *TEXTS[1:4]])
    assert run([]) == (0, 0, 4)
    assert len(store) == 0
