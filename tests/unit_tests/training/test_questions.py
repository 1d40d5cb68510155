"""All training questions in one folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit_tests.training.texts import question_rows, write_jsonl

pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")

from training import questions
from training.inputs import read_questions


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    rows = question_rows()
    mrc = [{**row, "id": str(number)} for number, row in enumerate(rows)]
    write_jsonl(folder / "klue_mrc" / "train.jsonl", mrc[:6])
    write_jsonl(folder / "klue_mrc" / "validation.jsonl", mrc[6:8])
    paraphrases = [{"id": "0", "question": rows[0]["question"], "paraphrase": "며칠 안에 신고하면 될까요?"}]
    write_jsonl(folder / "klue_mrc" / "train_paraphrased_questions.jsonl", paraphrases)
    asked = {"question": "빵은 몇 시에 나오나요?", "answers": [{"text": "아홉 시"}]}
    article = {"paragraphs": [{"context": "빵집은 아홉 시에 첫 빵을 굽는다.", "qas": [asked]}]}
    (folder / "tydiqa_ko").mkdir()
    (folder / "tydiqa_ko" / "korean_tydiqa_train.json").write_text(json.dumps({"data": [article]}), encoding="utf-8")
    welfare = [
        {"question": f"지원금 {n}은 누가 받나요?", "answer": f"{n}세부터 받습니다.", "programme": "지원"}
        for n in range(4)
    ]
    write_jsonl(folder / "welfare_qa" / "train.jsonl", welfare)
    fact = {
        "question": "고래는 물고기인가요?",
        "term": "고래",
        "description": "포유류",
        "facts": "사실 1: 고래는 숨을 쉰다.",
    }
    write_jsonl(folder / "strategyqa_ko" / "pairs.jsonl", [fact])
    return folder


def test_every_set_is_in_the_folder_that_the_recipes_read(data: Path, tmp_path: Path) -> None:
    questions.main(["--data", str(data), "--output", str(tmp_path / "all"), "--most", "3"])
    read = read_questions(str(tmp_path / "all"))
    assert len(read.train) == 6 + 1 + 1 + 3 + 1
    assert len(read.test) == 2
    found = {row.question: row for row in read.train}
    original = question_rows()[0]
    assert found["며칠 안에 신고하면 될까요?"].passage == found[original["question"]].passage
    assert found["빵은 몇 시에 나오나요?"].answer == "아홉 시"
    assert found["고래는 물고기인가요?"].title == ""  # a title would give the passage away


def test_missing_data_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="train"):
        questions.main(["--data", str(tmp_path / "none"), "--output", str(tmp_path / "all")])
    assert not (tmp_path / "all").exists()
