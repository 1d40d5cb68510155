"""The command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.cli.main import main
from langchain_klue_rerank.engine.arrays import mapped
from tests.unit_tests.fakes import QUESTION, TEXTS, BrokenEmbeddings


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of files as users have them."""
    folder = tmp_path / "자료"
    (folder / "안쪽").mkdir(parents=True)
    (folder / "전입신고.txt").write_text(TEXTS[0], encoding="utf-8")
    (folder / "여권.md").write_text(f"# 여권\n\n{TEXTS[1]}", encoding="utf-8")
    (folder / "faq.jsonl").write_text(json.dumps({"id": "q1", "text": TEXTS[2]}, ensure_ascii=False), encoding="utf-8")
    (folder / "faq.csv").write_bytes(f"id,title,text\nc1,도서관,{TEXTS[3]}\n".encode("cp949"))
    (folder / "안쪽" / "세탁기.TXT").write_bytes(TEXTS[4].encode("cp949"))
    (folder / "사진.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "index"
    KlueRetriever.from_texts(TEXTS, ids=[f"d{number}" for number in range(6)]).save(folder)
    return folder


def lines(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail, and return its explanation: one line on standard error, nothing else."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    explanation = [line for line in captured.err.replace("\r", "\n").splitlines() if line.startswith("klue-rerank: ")]
    assert len(explanation) == 1
    assert captured.err.endswith(f"{explanation[0]}\n")
    return explanation[0]


# --- index and search ---------------------------------------------------------------------------------------------


def test_a_folder_of_files(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "index")
    assert main(["index", str(files), "--out", out, "--json"]) == 0
    [result] = lines(capsys)
    assert (result["passages"], result["added"], result["dir"]) == (5, 5, out)
    for text in TEXTS[:5]:
        assert main(["search", out, text, "-k", "1", "--json"]) == 0
        [answer] = lines(capsys)
        assert answer["results"][0]["text"] == text


def test_single_files_and_append(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "index")
    for name, passages in [("전입신고.txt", 1), ("여권.md", 2), ("faq.csv", 3), ("faq.csv", 3)]:
        append = ["--append"] if passages > 1 else []
        assert main(["index", str(files / name), "--out", out, "--json", *append]) == 0
        assert lines(capsys)[0]["passages"] == passages
    assert main(["index", str(files / "faq.jsonl"), "--out", out, "--json"]) == 0
    assert lines(capsys)[0]["passages"] == 1


def test_chunks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "long.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    out = str(tmp_path / "index")
    arguments = ["--chunk-size", "60", "--chunk-overlap", "0", "--json"]
    assert main(["index", str(tmp_path / "long.txt"), "--out", out, *arguments]) == 0
    assert lines(capsys)[0]["passages"] >= 6


def test_for_people(files: Path, tmp_path: Path, index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(files), "--out", str(tmp_path / "index")]) == 0
    assert "5 passages" in capsys.readouterr().out
    assert main(["search", str(index), QUESTION, "[red]여권[/red]", " "]) == 0
    shown = capsys.readouterr().out
    assert QUESTION in shown
    assert "[red]여권[/red]" in shown  # no markup
    assert "14일" in shown
    assert "nothing found" in shown


def test_search_json(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(index), QUESTION, "여권 사진", "--json", "-k", "2"]) == 0
    first, second = lines(capsys)
    assert first["query"] == QUESTION
    assert second["results"][0]["id"] == "d1"
    best = first["results"][0]
    assert set(best) == {"rank", "id", "score", "first_stage_score", "title", "sentence", "text", "source", "metadata"}
    assert (best["rank"], best["id"], best["text"], best["sentence"]) == (1, "d0", TEXTS[0], TEXTS[0])
    assert 0 <= best["score"] <= 1
    assert first["milliseconds"] >= 0


@pytest.mark.parametrize("search_type", ["hybrid", "dense", "lexical"])
def test_search_options(index: Path, capsys: pytest.CaptureFixture[str], search_type: str) -> None:
    everything = " ".join(TEXTS)
    arguments = ["--search-type", search_type, "--no-rerank", "--fetch-k", "3", "-k", "6"]
    assert main(["search", str(index), everything, "--json", *arguments]) == 0
    [answer] = lines(capsys)
    assert len(answer["results"]) == 6
    assert all(one["first_stage_score"] is None for one in answer["results"])
    assert main(["search", str(index), everything, "--json", "--score-threshold", "1"]) == 0
    assert all(one["score"] == 1 for one in lines(capsys)[0]["results"])


def test_a_hub_style_reranker_by_name(
    index: Path, klue_cross_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(index), QUESTION, "--json", "--reranker", str(klue_cross_encoder_folder)]) == 0
    assert 0 < len(lines(capsys)[0]["results"]) <= 5  # of five passages, those that have anything to do with it


def test_check(index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["check", str(index)]) == 0
    assert "every file is as it was saved" in capsys.readouterr().out
    assert main(["check", str(index), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"passages": len(KlueRetriever.load(index)), "damaged": False}
    monkeypatch.setattr(mapped, "LARGE_FILE", 1)
    [path] = index.rglob("passages.jsonl")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"text"', b'"texx"', 1))
    try:
        assert "passages.jsonl" in fails(capsys, "check", index)
    finally:
        path.write_bytes(content)


def test_stats(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(index), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passages"] == len(KlueRetriever.load(index))
    assert sum(found["disk"].values()) > 0
    assert main(["stats", str(index)]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in found["disk"])
    assert found["models"]["embeddings"] in shown
    fails(capsys, "stats", index / "missing")


def test_explain(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(index), QUESTION, "--json"]) == 0
    [found] = lines(capsys)
    assert (found["id"], found["sentence"]) == ("d0", TEXTS[0])
    assert main(["explain", str(index), QUESTION, "--id", "d1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert TEXTS[1] in shown
    assert "first stage" in shown
    assert "없음" not in fails(capsys, "explain", index, QUESTION, "--id", "없음")


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_servers_take_models_by_name(index: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("mcp")
    for option in ("--reranker", "--embeddings"):
        assert "./없는-모델" in fails(capsys, command, index, option, "./없는-모델")


def test_broken_characters_are_printed_somehow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"id": "반쪽", "text": "전입신고 \\ud83d 기한", "title": "\\udc00"}', encoding="utf-8"
    )
    out = str(tmp_path / "index")
    assert main(["index", str(tmp_path / "a.jsonl"), "--out", out, "--json"]) == 0
    capsys.readouterr()
    for mode in (["--json"], []):
        assert main(["search", out, "전입신고 기한 \udcff", *mode]) == 0
        assert "기한" in capsys.readouterr().out


@pytest.mark.slow
def test_as_a_process(index: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    code = "import sys; from langchain_klue_rerank.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    good = subprocess.run(
        [*command, "search", str(index), QUESTION, "--json"], capture_output=True, timeout=120, env=environment
    )
    assert (good.returncode, good.stderr) == (0, b"")
    assert json.loads(good.stdout)["results"][0]["id"] == "d0"
    bad = subprocess.run([*command, "search", "no-such-index", "x"], capture_output=True, timeout=120, env=environment)
    assert (bad.returncode, bad.stdout) == (2, b"")
    assert bad.stderr.count(b"\n") == 1
    assert b"Traceback" not in bad.stderr


# --- evaluate and demo --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    path = tmp_path / f"mine.{ending}"
    rows = [(QUESTION, TEXTS[0]), ("여권을 만들 때 가져갈 것은?", TEXTS[1])]
    if ending == "csv":
        path.write_text("question,passage\n" + "".join(f'"{q}","{p}"\n' for q, p in rows), encoding="utf-8-sig")
    else:
        path.write_text(
            "".join(json.dumps({"question": q, "passage": p}, ensure_ascii=False) + "\n" for q, p in rows),
            encoding="utf-8",
        )
    assert main(["evaluate", "--data", str(path), "--json"]) == 0
    [report] = lines(capsys)
    assert (report["name"], report["passages"], report["questions"]) == ("mine", 2, 2)
    assert len(report["rows"]) == 6
    assert main(["evaluate", "--data", str(path), str(path), "--limit", "1", "--no-rerank", "--json"]) == 0
    reports = lines(capsys)
    assert [(one["questions"], len(one["rows"])) for one in reports] == [(1, 3), (1, 3)]
    assert main(["evaluate", "--data", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "2 questions over 2 passages" in shown
    assert "+ reranked" in shown


def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    query = "승강기에 갇혔을 때는 어떻게 하나요?"
    assert main(["demo", query, "--json"]) == 0
    [answer] = lines(capsys)
    assert answer["query"] == query
    assert [one["rank"] for one in answer["results"]] == [1, 2, 3]
    assert answer["results"][0]["title"] == "승강기에 갇혔을 때의 행동 요령"


def test_demo_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "승강기에 갇혔을 때는?"]) == 0
    shown = capsys.readouterr().out
    assert "before reranking" in shown
    assert "after reranking" in shown


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.txt", None),
        ("a.pdf", b"%PDF"),
        ("a.txt", b""),
        ("a.txt", b"\x80\x81\xfe\xff\x80"),
        ("a.jsonl", b'{"text": '),
        ("a.csv", b"name\n"),
        ("folder", "empty"),
    ],
    ids=str,
)
def test_files_that_cannot_be_indexed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | str | None
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    fails(capsys, "index", path, "--out", tmp_path / "index")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    "wrong",
    [["--chunk-overlap", "600"], ["--chunk-overlap", "-1"], ["--append"], ["--embeddings", "no such model"]],
    ids=str,
)
def test_options_of_index_that_cannot_be(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    fails(capsys, "index", files, "--out", tmp_path / "index", *wrong)
    assert not (tmp_path / "index").exists()


def test_a_folder_of_other_things_is_not_overwritten(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(files.rglob("*"))
    assert "and no index" in fails(capsys, "index", files, "--out", files, "--json")
    assert sorted(files.rglob("*")) == before


def test_a_failing_model_leaves_the_old_index(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    assert main(["index", str(files / "여권.md"), "--out", str(out), "--json"]) == 0
    capsys.readouterr()
    broken = BrokenEmbeddings("전입")
    monkeypatch.setattr("langchain_klue_rerank.cli.indexing.retriever_fields", lambda options: {"embeddings": broken})
    assert "NaN" in fails(capsys, "index", files, "--out", out, "--json")
    monkeypatch.undo()
    assert len(KlueRetriever.load(out)) == 1


def test_an_index_of_another_model(
    index: Path, klue_bi_encoder_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "written with the model" in fails(capsys, "search", index, QUESTION, "--embeddings", klue_bi_encoder_folder)


@pytest.mark.parametrize("content", [None, "question\n질문\n", "", "reply,passage\n가,나\n"], ids=repr)
def test_sets_that_cannot_be_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None) -> None:
    if content is not None:
        (tmp_path / "mine.csv").write_text(content, encoding="utf-8")
    fails(capsys, "evaluate", "--data", tmp_path / "mine.csv")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--help"],
        ["index", "--help"],
        ["search", "--help"],
        ["evaluate", "--help"],
        ["demo", "--help"],
        ["sync", "--help"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
        assert "usage: klue-rerank" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("klue-rerank 0.")


def test_interrupting(index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(KlueRetriever, "load", interrupt)
    assert main(["search", str(index), QUESTION]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_appending_a_changed_file_leaves_nothing_of_its_old_self(tmp_path: Path) -> None:
    file = tmp_path / "공지.txt"
    file.write_text("주차장 청소는 화요일입니다. " * 100, encoding="utf-8")
    assert main(["index", str(file), "--out", str(tmp_path / "index"), "--json"]) == 0
    file.write_text("주차장 청소는 목요일입니다.", encoding="utf-8")
    assert main(["index", str(file), "--out", str(tmp_path / "index"), "--append", "--json"]) == 0
    assert len(KlueRetriever.load(tmp_path / "index")) == 1


def test_a_folder_of_other_files_is_refused_before_any_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "내 문서.txt").write_text("글", encoding="utf-8")
    assert main(["index", "없는 파일.txt", "--out", str(tmp_path)]) == 2
    assert "Cannot save" in capsys.readouterr().err
