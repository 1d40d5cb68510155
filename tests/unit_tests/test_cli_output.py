"""What the command line prints, for people and for machines, in which language, and what never reaches a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.cli.errors import explained
from langchain_klue_rerank.cli.main import main
from langchain_klue_rerank.cli.messages import _KOREAN
from langchain_klue_rerank.errors import MissingExtraError
from langchain_klue_rerank.files.reasons import Problem
from tests.unit_tests.fakes import QUESTION, TEXTS

HOSTILE = "제목\x1b[2J\x9b31m\u202e거꾸로\u2066\u200b\u200d\ufeff\u2028\u3164\U000e0041끝\x7f\x00"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "index"
    metadata = [{"title": f"{number}번", "source": f"/자료/글/{number}.pdf", "page": number} for number in range(6)]
    KlueRetriever.from_texts(TEXTS, metadata, ids=[f"d{number}" for number in range(6)]).save(folder)
    return folder


def lines(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_source_page_and_times_are_shown(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(index), QUESTION, "-k", "1"]) == 0
    shown = capsys.readouterr().out
    assert "글/0.pdf, page 0" in shown
    assert "index loaded in" in shown


def test_all_metadata_is_in_json(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(index), QUESTION, "-k", "1", "--json"]) == 0
    [answer] = lines(capsys)
    assert answer["results"][0]["metadata"]["page"] == 0
    assert answer["load_milliseconds"] > 0


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["page=1"], {"d1"}),
        (["title=2번"], {"d2"}),
        (['{"page": {"$gte": 4}}'], {"d4", "d5"}),
        (['{"page": {"$gte": 4}}', "title=5번"], {"d5"}),
    ],
)
def test_filters(index: Path, capsys: pytest.CaptureFixture[str], filters: list[str], found: set[str]) -> None:
    options = [part for one in filters for part in ("--filter", one)]
    assert main(["search", str(index), " ".join(TEXTS), "-k", "6", "--json", *options]) == 0
    assert {one["id"] for one in lines(capsys)[0]["results"]} == found


@pytest.mark.parametrize("wrong", ["page", "{page: 1}", "=1"])
def test_filters_that_cannot_be(index: Path, capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    assert main(["search", str(index), QUESTION, "--filter", wrong]) == 2
    assert wrong in capsys.readouterr().err


def test_questions_from_a_file_and_from_standard_input(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "질문.txt").write_bytes(f"{QUESTION}\r\n\r\n여권 사진\r\n".encode("cp949"))
    assert main(["search", str(index), "--questions", str(tmp_path / "질문.txt"), "--json"]) == 0
    assert [one["query"] for one in lines(capsys)] == [QUESTION, "여권 사진"]
    for arguments in ([], ["-"], ["--questions", "-"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{QUESTION}\n"))
        assert main(["search", str(index), *arguments, "--json"]) == 0
        assert [one["query"] for one in lines(capsys)] == [QUESTION]
    for encoding in ("utf-8-sig", "cp949", "utf-16"):  # as consoles and programs of Windows write them
        typed = io.BytesIO(f"{QUESTION}\r\n여권 사진\r\n".encode(encoding))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed, encoding="utf-8"))
        assert main(["search", str(index), "--json"]) == 0
        assert [one["query"] for one in lines(capsys)] == [QUESTION, "여권 사진"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["search", str(index)]) == 2
    assert "no question" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["stdin", "stdout", "stderr"])
def test_a_process_without_a_standard_stream(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    (tmp_path / "안내.txt").write_text(TEXTS[0], encoding="utf-8")
    monkeypatch.setattr(sys, missing, None)  # a service of Windows has none, and `>&-` closes one
    assert main(["search", str(index), QUESTION]) == 0
    assert main(["index", str(tmp_path / "안내.txt"), "--out", str(tmp_path / "new")]) == 0
    assert main(["search", str(index)]) == 2 if missing == "stdin" else True


def test_nothing_of_a_document_or_a_file_name_commands_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    metadata = {"title": HOSTILE, "source": f"/자료/{HOSTILE}", "page": HOSTILE, HOSTILE: HOSTILE}
    KlueRetriever.from_documents([Document(f"주차 안내 {HOSTILE}", metadata=metadata)]).save(out)
    for arguments in ([], ["--json"]):
        assert main(["search", str(out), f"주차 {HOSTILE}", *arguments]) == 0
        shown = capsys.readouterr().out
        assert not _commands(shown)
        if arguments:
            assert json.loads(shown)["results"][0]["metadata"]["title"] == HOSTILE  # escaped, not lost
    name = HOSTILE.replace("\x00", "")
    folder = tmp_path / f"폴더{name}"
    folder.mkdir()
    (folder / f"{name}.txt").write_text("주차는 지하에 합니다.", encoding="utf-8")
    (folder / f"{name}.csv").write_text(f"질문{name},답변\n가,나\n", encoding="utf-8")
    (folder / f"{name}.png").write_bytes(b"")
    for command in (["index"], ["sync"], ["index", "--json"], ["sync", "--json"]):
        assert main([*command, str(folder), "--out", str(tmp_path / f"색인{name}")]) == 0
        captured = capsys.readouterr()
        assert not _commands(captured.out + captured.err)
    assert main(["search", f"없음{name}", "질문"]) == 2
    assert not _commands(capsys.readouterr().err)


def _commands(shown: str) -> set[str]:
    return {one for one in shown if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") or one == "\u3164"} - {"\n"}


def test_scores_of_other_programs_in_metadata_break_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = {"first_stage_score": "높음", "relevance_score": "낮음", "title": 3}
    KlueRetriever.from_documents([Document("주차 안내", metadata=metadata)]).save(tmp_path / "index")
    for arguments in ([], ["--no-rerank"]):
        assert main(["search", str(tmp_path / "index"), "주차", *arguments]) == 0
        assert "주차 안내" in capsys.readouterr().out


def test_korean_under_a_korean_locale(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("docx")
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    assert main(["search", str(index), " "]) == 0
    assert "찾지 못했습니다" in capsys.readouterr().out
    (tmp_path / "망가진.docx").write_bytes(b"PK")
    (tmp_path / "글.txt").write_text("주차는 지하에 합니다.", encoding="utf-8")
    assert main(["index", str(tmp_path), "--out", str(tmp_path / "색인")]) == 0
    captured = capsys.readouterr()
    assert "단락 1개를 색인했습니다" in captured.out
    assert "손상되었거나" in captured.err
    for command in ("index", "sync", "search", "evaluate", "demo"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "보기:" in capsys.readouterr().out
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    monkeypatch.setenv("LANG", "ko_KR.UTF-8")
    assert main(["search", str(index), " "]) == 0
    assert "nothing found" in capsys.readouterr().out


def test_messages_in_both_languages_say_the_same_values() -> None:
    import string

    for english, korean in _KOREAN.items():
        if 'page": 3' in english:
            continue
        fields = [{name for _, name, _, _ in string.Formatter().parse(one) if name} for one in (english, korean)]
        assert fields[0] == fields[1]


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(index: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text(f"{QUESTION}\n" * 200, encoding="utf-8")
    code = "import sys; from langchain_klue_rerank.cli.main import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "search", str(index), "--questions", str(tmp_path / "q.txt"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(120) == 0


def test_progress_is_drawn_on_terminals_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "글.txt").write_text(TEXTS[0], encoding="utf-8")
    assert main(["index", str(tmp_path / "글.txt"), "--out", str(tmp_path / "index")]) == 0
    assert capsys.readouterr().err == ""


class _Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_for_the_browser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = '<script>alert(1)</script><img src="https://example.org/a.png" onerror=alert(1)>'
    rows = [
        {"question": QUESTION, "passage": TEXTS[0]},
        {"question": f"엉뚱한 질문 {hostile}", "passage": f"전혀 다른 글 {hostile}", "title": hostile},
        {"question": TEXTS[1], "passage": TEXTS[2]},
        {"question": "여권", "passage": TEXTS[1]},
    ]
    data, out = tmp_path / "q.jsonl", tmp_path / "report.html"
    data.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert main(["evaluate", "--data", str(data), "--html", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    page = _Page()
    page.feed(out.read_text(encoding="utf-8"))
    assert TEXTS[1] in page.text  # the question whose first answer is wrong
    assert "Suggested threshold" in page.text
    assert {"table", "svg", "polyline", "details"} <= page.tags
    assert not {"script", "img", "iframe", "link", "form"} & page.tags
    assert not {name for name in page.attributes if name.startswith("on")} | ({"src", "href"} & page.attributes)
    assert main(["evaluate", "--data", str(data), "--html", str(tmp_path / "no" / "folder.html")]) == 2


#: Commands that go wrong; INDEX is one, EMPTY an empty folder.
WRONG = [
    *("", "nothing", "search", "search INDEX -k 0 주차", "search INDEX -k", "search INDEX 주차 --score-threshold high"),
    *("search INDEX 주차 --score-threshold 2", "search INDEX 주차 --search-type best", "search INDEX 주차 --nothing"),
    *("search nowhere 주차", "search EMPTY 주차", "search INDEX 주차 --filter page", "search INDEX 주차 --filter {"),
    *(
        "search INDEX --questions nowhere.txt",
        "search INDEX --questions EMPTY",
        "stats nowhere",
        "index nowhere --out i",
    ),
    *(
        "index EMPTY --out i",
        "index EMPTY",
        "sync EMPTY --out i --watch soon",
        "index EMPTY --out i --chunk-overlap 900",
    ),
    *("evaluate", "search INDEX 주차 -k three", "search INDEX 주차 --score-threshold nan", "index EMPTY/a.txt"),
    *("explain INDEX 주차 --id none", "evaluate --data nowhere", "search INDEX 주차 --embeddings nothing/here"),
    *("serve nowhere --port none", "search DAMAGED 주차", "stats DAMAGED", "search INDEX 주차 --embeddings ../nothing"),
    "search INDEX 주차 --reranker ../nothing",
    *("evaluate --data EMPTY", "evaluate --data COLUMNS.csv", "evaluate --data COLUMNS.txt", "evaluate --data NO.json"),
    *(
        f"search INDEX 주차 --filter {one}"
        for one in (
            *('{"$and":3}', '{"$not":3}', '{"$gt":3}', '{"쪽":{"gte":1}}', '{"쪽":{"$near":1}}', '{"쪽":{}}'),
            *('{"쪽":{"$gt":[1]}}', '{"쪽":{"$in":3}}', '{"쪽":{"$eq":[3]}}', '{"쪽":{"$exists":3}}'),
            *('{"쪽":{"$gt":1,"b":2}}', '{"쪽":NaN}', '{"쪽":{"$or":3}}'),
        )
    ),
]


@pytest.mark.parametrize("command", WRONG)
def test_errors_are_korean_under_a_korean_locale_and_come_first(
    command: str, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(index, tmp_path / "damaged")
    (tmp_path / "damaged" / "manifest.json").write_text("{", encoding="utf-8")
    for ending in ("csv", "txt"):
        (tmp_path / f"columns.{ending}").write_text("물음,글\n언제,내일\n", encoding="utf-8")
    (tmp_path / "no.json").write_text("[]", encoding="utf-8")
    command = command.replace("COLUMNS", str(tmp_path / "columns")).replace("NO.", str(tmp_path / "no."))
    for name, folder in (("INDEX", index), ("EMPTY", tmp_path / "empty"), ("DAMAGED", tmp_path / "damaged")):
        command = command.replace(name, str(folder))
    arguments = command.split()
    monkeypatch.chdir(tmp_path)
    first = {}
    for language in ("ko_KR.UTF-8", "C"):
        monkeypatch.setenv("LC_ALL", language)
        try:
            status = main(arguments)
        except SystemExit as error:  # argparse's
            status = int(error.code or 0)
        captured = capsys.readouterr()
        assert status == 2
        assert captured.out == ""
        first[language] = captured.err.split("\n")[0]
        assert first[language].startswith("klue-rerank")
        assert "Errno" not in captured.err
    assert re.search("[가-힣]{2,}", first["ko_KR.UTF-8"].replace("주차", ""))
    assert not re.search(r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b", first["ko_KR.UTF-8"])
    assert not re.search("[가-힣]", re.sub("주차|쪽|물음|글", "", first["C"]))


def test_what_is_not_installed_is_said_in_korean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    said = explained(MissingExtraError("mcp", "mcp", "Serving over MCP"))
    assert said == "'mcp' 패키지가 있어야 합니다. 이렇게 설치해 주세요: pip install \"langchain-klue-rerank[mcp]\""


def test_the_sizes_of_an_index_are_shown_in_korean(
    index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    assert main(["stats", str(index)]) == 0
    assert not re.search(r"^[a-z_]{3,}", capsys.readouterr().out, re.M)


def test_the_whole_help_is_korean_under_a_korean_locale(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    for command in ("", "index", "sync", "search", "explain", "stats", "check", "evaluate", "demo", "serve", "mcp"):
        with pytest.raises(SystemExit):
            main([*command.split(), "--help"])
        text = capsys.readouterr().out
        assert text.startswith("사용법:")
        assert not re.search(r"\b[a-z]{2,} [a-z]{2,} [a-z]{2,}\b", text.split("보기:")[0].split("\n\n", 1)[1])


def test_why_a_file_was_not_read_is_said_in_korean_alone() -> None:
    problems = [
        Problem("a.pdf", "extra", 0, "pypdfium2"),
        Problem("a.jsonl", "json", 3, "Expecting value"),
        Problem("a.hwp", "damaged", 0, "invalid record header"),
        Problem("a.pdf", "damaged", 0, "page 3"),
        Problem("a.csv", "column", 0, "'글' is not among 본문, 제목"),
        Problem("a.txt", "system", 0, "Input/output error"),
    ]
    sentences = [one.sentence(korean=True) for one in problems]
    assert not [one for one in sentences if re.search(r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}|Expecting|among", one)]
    assert 'pip install "langchain-klue-rerank[files]" (pypdfium2)' in sentences[0]
    assert "3쪽" in sentences[3]
    assert "본문, 제목" in sentences[4]


def test_the_table_of_an_evaluation_is_korean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "mine.jsonl"
    rows = [{"question": text[:8], "passage": text} for text in TEXTS[:2]]
    data.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    assert main(["evaluate", "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert "질문 2개, 단락 2개" in shown
    assert not re.search(r"\b[a-z]{2,} [a-z]{2,} [a-z]{2,}\b|lexical|reranked", shown)


def test_a_filter_that_cannot_be_is_refused_before_the_index_is_opened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "nowhere", "주차", "--filter", '{"$and": 3}']) == 2
    assert "$and takes a list" in capsys.readouterr().err


def test_what_watching_could_not_read_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXTS[0], encoding="utf-8")
    (folder / "b.xyz").write_text("?", encoding="utf-8")

    def twice(step: Callable[[], None], seconds: float) -> None:
        (folder / "c.txt").write_text(TEXTS[1], encoding="utf-8")
        step()

    monkeypatch.setattr("langchain_klue_rerank.files.sync.watch", twice)
    assert main(["sync", str(folder), "--out", str(tmp_path / "index"), "--watch"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("passages added") == 2
    assert captured.err.count("b.xyz") == 1
