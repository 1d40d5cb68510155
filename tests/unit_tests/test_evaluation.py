"""Evaluation sets and the table."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from langchain_core.documents import Document

from langchain_klue_rerank.evaluation import evaluate
from langchain_klue_rerank.evaluation.metrics import METRICS
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets
from tests.unit_tests.fakes import TEXTS, BigramEmbeddings
from tests.unit_tests.training.texts import write_jsonl

QUESTIONS = ["전입신고는 며칠 안에 하나요?", "여권 사진은 몇 장?", "쓰레기는 몇 시 이후에 내놓나요?"]


def own_set() -> EvaluationSet:
    documents = [Document(text, id=str(number)) for number, text in enumerate(TEXTS)]
    return EvaluationSet("own", documents, QUESTIONS, [frozenset({str(number)}) for number in range(3)])


def test_every_way_to_search_is_measured_with_and_without_reranking() -> None:
    report = evaluate(own_set(), show_progress=False)
    assert [(row.search_type, row.reranked) for row in report.rows] == [
        (kind, reranked) for kind in ("lexical", "dense", "hybrid") for reranked in (False, True)
    ]
    assert (report.name, report.passages, report.questions) == ("own", 6, 3)
    for row in report.rows:
        assert set(row.values) == set(row.intervals) == set(METRICS)
        for name, value in row.values.items():
            low, high = row.intervals[name]
            assert 0 <= low <= value <= high <= 1
        assert (row.p_value is None) == (not row.reranked)
        assert 0 < row.milliseconds <= row.p95_milliseconds
    assert report.rows[-1].values["HitRate@1"] == 1
    json.dumps(asdict(report))


def test_a_missed_answer_counts_as_missed() -> None:
    data = own_set()
    wrong = EvaluationSet("wrong", data.documents, data.questions, [frozenset({"5"}), *data.relevant[1:]])
    report = evaluate(wrong, show_progress=False, reranker=None)
    lexical = report.rows[0]
    assert lexical.values["HitRate@1"] == pytest.approx(2 / 3)


def test_without_a_reranker_only_the_first_stage() -> None:
    report = evaluate(own_set(), show_progress=False, reranker=None, embeddings=BigramEmbeddings())
    assert [row.reranked for row in report.rows] == [False, False, False]


def test_a_set_without_questions_is_refused() -> None:
    with pytest.raises(ValueError, match="no questions"):
        evaluate(EvaluationSet("empty", [], [], []))


def test_first() -> None:
    assert own_set().first(2).questions == QUESTIONS[:2]
    assert len(own_set().first(2).documents) == 6
    assert own_set().first(None) == own_set()


# --- reading ------------------------------------------------------------------------------------------------------


def test_the_samples() -> None:
    [data] = read_sets("samples")
    ids = {one.id for one in data.documents}
    assert len(ids) == len(data.documents) > 300
    assert len(data.questions) == len(data.relevant) > 300
    assert all(relevant <= ids for relevant in data.relevant)


@pytest.mark.parametrize("column", ["passage", "context", "text"])
@pytest.mark.parametrize("kind", ["csv", "cp949.csv", "jsonl"])
def test_a_file_of_questions_and_passages(tmp_path: Path, kind: str, column: str) -> None:
    path = tmp_path / f"mine.{kind}"
    rows = [{"question": question, column: TEXTS[number % 2]} for number, question in enumerate(QUESTIONS)]
    if kind == "jsonl":
        write_jsonl(path, rows)
    else:
        encoding = "cp949" if kind == "cp949.csv" else "utf-8-sig"
        with path.open("w", encoding=encoding, newline="") as file:
            writer = csv.DictWriter(file, ["question", column, "title"])
            writer.writeheader()
            writer.writerows([{**row, "title": "안내"} for row in rows])
    [data] = read_sets(str(path))
    assert data.questions == QUESTIONS
    assert [one.page_content for one in data.documents] == TEXTS[:2]  # equal passages are one
    assert data.relevant == [frozenset({"0"}), frozenset({"1"}), frozenset({"0"})]


def test_a_folder_of_passages_and_questions(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "passages.jsonl", [{"id": "p1", "text": TEXTS[0]}, {"id": "p2", "text": TEXTS[1], "title": "여권"}]
    )
    write_jsonl(tmp_path / "questions.jsonl", [{"question": QUESTIONS[1], "passage_id": "p2"}])
    [data] = read_sets(str(tmp_path))
    assert data.relevant == [frozenset({"p2"})]
    assert data.documents[1].metadata == {"title": "여권"}


def test_a_folder_of_klue_mrc(tmp_path: Path) -> None:
    def row(number: int) -> dict[str, str]:
        return {"question": f"질문 {number}", "context": TEXTS[number], "title": f"제목 {number}"}

    write_jsonl(tmp_path / "train.jsonl", [row(0), row(1)])
    write_jsonl(tmp_path / "validation.jsonl", [row(2)])
    write_jsonl(tmp_path / "test.jsonl", [row(3)])
    own, everything = read_sets(str(tmp_path))
    assert own.questions == everything.questions == ["질문 2", "질문 3"]
    assert [len(own.documents), len(everything.documents)] == [2, 4]


def test_squad_json(tmp_path: Path) -> None:
    paragraphs = [{"context": TEXTS[0], "qas": [{"question": QUESTIONS[0]}, {"question": QUESTIONS[1]}]}]
    path = tmp_path / "KorQuAD.json"
    path.write_text(json.dumps({"data": [{"title": "안내", "paragraphs": paragraphs}]}), encoding="utf-8")
    for name in (path, tmp_path):
        [data] = read_sets(str(name))
        assert (data.name, data.questions, len(data.documents)) == ("KorQuAD", QUESTIONS[:2], 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "question,reply\n하나,둘\n", "row 1: no 'passage'"),
        ("a.csv", "passage\n하나\n", "row 1: no 'question'"),
        ("a.csv", "question,passage\n", "is empty"),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", '{"question": ', "line 1: it is not JSON"),
        ("a.jsonl", '["question", "passage"]', "line 1: it is not a JSON object"),
        ("a.jsonl", '{"question": "가", "passage": 3}', "row 1: .*'passage'"),
        ("a.txt", "글", "expected .csv, .jsonl or .json"),
        ("a.json", "{}", "not SQuAD JSON"),
        ("a.json", '{"data": [{"title": "x"}]}', "not SQuAD JSON"),
        ("set/questions.jsonl", '{"question": "가"}', "passage_id"),
        ("set/passages.jsonl", '{"id": "p1", "title": "가"}', "'text'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    if path.parent != tmp_path:
        write_jsonl(path.parent / "passages.jsonl", [{"id": "p1", "text": TEXTS[0]}])
        write_jsonl(path.parent / "questions.jsonl", [{"question": "가", "passage_id": "p1"}])
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_sets(str(path if path.parent == tmp_path else path.parent))


def test_a_question_about_a_missing_passage(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "passages.jsonl", [{"id": "p1", "text": TEXTS[0]}])
    write_jsonl(tmp_path / "questions.jsonl", [{"question": "가", "passage_id": "p9"}])
    with pytest.raises(ValueError, match=r"p9.*missing"):
        read_sets(str(tmp_path))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_sets(str(tmp_path / "missing.csv"))
    with pytest.raises(ValueError, match="holds neither"):
        read_sets(str(tmp_path))
