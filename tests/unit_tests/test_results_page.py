"""The command that writes the results page, on a tiny set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("bm25s")

from benchmarks import results
from benchmarks.failures import worst
from benchmarks.ways import DEFAULT, LEXICAL, MORPHEMES, WAYS, Runner
from langchain_klue_rerank import KlueRetriever
from tests.unit_tests.fakes import TEXTS
from tests.unit_tests.test_evaluation import own_set
from tests.unit_tests.training.texts import write_jsonl

QUESTIONS = ["전입신고는 며칠 안에 하나요?", "여권 사진은 몇 장?", "쓰레기는 몇 시 이후에 내놓나요?", "책은 몇 권?"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with KLUE-MRC alone, and few samples."""
    samples = tmp_path / "samples"
    write_jsonl(samples / "passages.jsonl", [{"id": str(row), "text": text} for row, text in enumerate(TEXTS)])
    asked = [
        {"question": question, "passage_id": str(row), "kind": "plain" if row == 1 else "paraphrase"}
        for row, question in enumerate(QUESTIONS)
    ]
    write_jsonl(samples / "questions.jsonl", asked)
    monkeypatch.setattr(results, "SAMPLES", samples)
    folder = tmp_path / "data" / "klue_mrc"
    for name, rows in (("train", [4, 5]), ("validation", [0, 1]), ("test", [2, 3])):
        lines = [{"question": QUESTIONS[row % 4], "context": TEXTS[row], "title": f"제목 {row}"} for row in rows]
        write_jsonl(folder / f"{name}.jsonl", lines)
    return folder.parent


@pytest.mark.slow
def test_the_page_is_written_and_rebuilt_without_searching(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, page = tmp_path / "runs", tmp_path / "docs" / "results.md"
    command = ["--data", str(data), "--output", str(page), "--runs", str(runs), "--limit", "3"]
    results.main(command)
    text = page.read_text(encoding="utf-8")
    assert "all contexts: 3 questions over 6 passages" in text
    assert "validation alone, all contexts: 2 questions" in text
    assert "their own contexts (the seed's protocol): 3 questions over 4 passages" in text
    assert "KorQuAD 1.0" not in text  # what is not there is left out
    assert "Our samples, questions that avoid the passage's words: 2 questions over 6" in text
    for way in WAYS:
        assert f"| {'**' if way is DEFAULT else ''}{way.name}" in text
    # every table has as many cells in each line
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count(" | ") for line in table.splitlines() if "---" not in line}) == 1

    def fail(*arguments: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr(KlueRetriever, "invoke", fail)
    page.unlink()
    results.main(command)
    assert page.read_text(encoding="utf-8") == text


def test_ranks_are_those_of_the_retriever(tmp_path: Path) -> None:
    data = own_set()
    runner = Runner(data, tmp_path, show_progress=False)
    assert runner.run(MORPHEMES).ranks == [1, 1, 1]
    assert runner.run(LEXICAL).ranks == [1, 1, 1]
    run = runner.run(DEFAULT)
    scores, right = run.scores(range(3), 2, first=True)
    asked = KlueRetriever.from_documents(data.documents)
    expected = [asked.invoke(question)[0].metadata["relevance_score"] for question in data.questions]
    assert scores.tolist() == pytest.approx(expected, abs=1e-6)
    assert right.all()


def test_failures_are_the_questions_that_were_not_answered_first() -> None:
    data = own_set()
    assert worst(data, 5) == []
    missed = type(data)("missed", data.documents, data.questions, [frozenset({"nothing"}), *data.relevant[1:]])
    [(number, rank, documents)] = worst(missed, 5)
    assert (number, rank) == (0, 0)
    assert documents[0].id == "0"
