"""Reading training data: folders, single files, the hub, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit_tests.training.texts import data_folder, question_rows, scored_rows, write_csv, write_jsonl
from training.inputs import DataError, hold_out, read_questions, read_scored


def test_a_data_folder_has_its_own_training_and_test_rows(tmp_path: Path) -> None:
    folder = str(data_folder(tmp_path))
    questions, scored = read_questions(folder), read_scored(folder)
    assert (len(questions.train), len(questions.test)) == (12, 4)
    assert (len(scored.train), len(scored.test)) == (18, 6)
    assert questions.licence == scored.licence == "CC BY-SA 4.0"
    assert questions.train[0].answer == "열네 날"
    assert max(row.label for row in scored.train) == 1.0


def test_titles_are_put_before_passages_only_when_asked_for(tmp_path: Path) -> None:
    folder = str(data_folder(tmp_path))
    assert read_questions(folder).train[0].passage.startswith("이사한")
    assert read_questions(folder, titles=True).train[0].passage.startswith("전입신고\n이사한")


def test_a_single_file_is_split_so_that_no_passage_is_on_both_sides(tmp_path: Path) -> None:
    rows = [
        {"question": row["question"], "passage": row["context"], "negative": "상관없는 글"} for row in question_rows()
    ]
    data = read_questions(str(write_csv(tmp_path / "mine.csv", rows)), seed=3)
    train, test = ({row.passage for row in part} for part in (data.train, data.test))
    assert train
    assert test
    assert not train & test
    assert data.train[0].negatives == ("상관없는 글",)
    assert data == read_questions(str(tmp_path / "mine.csv"), seed=3)


def test_test_parts_are_validation_and_test_together(tmp_path: Path) -> None:
    rows = question_rows()
    write_jsonl(tmp_path / "train.jsonl", rows[:8])
    write_jsonl(tmp_path / "validation.jsonl", rows[8:12])
    write_jsonl(tmp_path / "test.jsonl", rows[12:])
    assert len(read_questions(str(tmp_path)).test) == 8


def test_test_questions_never_train_and_stand_once(tmp_path: Path) -> None:
    rows = question_rows()
    write_jsonl(tmp_path / "train.jsonl", rows)
    write_jsonl(tmp_path / "validation.jsonl", [*rows[12:], rows[12]])
    data = read_questions(str(tmp_path))
    assert len(data.test) == 4
    assert not {row.question for row in data.train} & {row.question for row in data.test}
    assert any("stood there twice" in note for note in data.notes)
    assert any("do not train" in note for note in data.notes)


def test_scores_of_ones_own_scale(tmp_path: Path) -> None:
    rows = [{**row, "label": row["label"] / 5} for row in scored_rows()]
    path = str(write_jsonl(tmp_path / "mine.jsonl", rows))
    data = read_scored(path, label_max=1.0)
    assert {row.label for row in data.train} <= {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}
    assert len(data.train) + len(data.test) == len(rows)


def test_a_sample_is_small_and_stated(tmp_path: Path) -> None:
    data = read_questions(str(data_folder(tmp_path)), sample=3)
    assert (len(data.train), len(data.test)) == (3, 3)
    assert data.notes == ["A sample of at most 3 rows of each part."]


def test_held_out_questions_share_no_passage_with_the_others(tmp_path: Path) -> None:
    train = read_questions(str(data_folder(tmp_path))).train
    learned, held = hold_out(train, 0.3, 42)
    assert not {row.passage for row in learned} & {row.passage for row in held}
    assert len(learned) + len(held) == len(train)
    assert hold_out(train, 0.0, 42) == (train, [])


_ROW = {"question": "언제 쉬나요?", "passage": "월요일에 쉰다."}
_PAIR = {"sentence1": "월요일에 쉰다.", "sentence2": "월요일은 쉬는 날이다.", "label": 4}


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([{"question": "언제 쉬나요?", "text": "월요일"}], "no column passage or context, only question, text"),
        ([{"passage": "월요일에 쉰다."}], "no column question"),
        ([_ROW, {**_ROW, "question": "  "}], "line 2: the column question is blank"),
        ([_ROW, {**_ROW, "question": "왜 쉬나요?"}], "cannot be split"),
        ([], "is empty"),
    ],
)
def test_wrong_questions(rows: list[dict[str, Any]], part: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=part):
        read_questions(str(write_jsonl(tmp_path / "mine.jsonl", rows)))


def test_passages_of_one_title_have_no_wrong_passage(tmp_path: Path) -> None:
    rows = [{**row, "title": "안내"} for row in question_rows()]
    with pytest.raises(DataError, match="one passage or title"):
        read_questions(str(write_jsonl(tmp_path / "mine.jsonl", rows)))


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([{"sentence1": "가", "sentence2": "나"}], "no column label"),
        ([_PAIR, {**_PAIR, "label": 6}], "line 2: the label 6 is no number from 0 to 5; see --label-max"),
        ([_PAIR, {**_PAIR, "label": "높음"}], "'높음' is no number"),
        ([_PAIR, {**_PAIR, "sentence1": "다른 글"}, {**_PAIR, "sentence2": "또 다른 글"}], "one label"),
        ([], "is empty"),
    ],
)
def test_wrong_scores(rows: list[dict[str, Any]], part: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=part):
        read_scored(str(write_jsonl(tmp_path / "mine.jsonl", rows)))


def test_wrong_places(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_questions(str(tmp_path / "missing"))
    with pytest.raises(DataError, match=r"neither train\.csv nor train\.jsonl"):
        read_questions(str(tmp_path))
    (tmp_path / "mine.txt").write_text("글")
    with pytest.raises(DataError, match=r"ends in '\.txt'"):
        read_questions(str(tmp_path / "mine.txt"))
    (tmp_path / "broken.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"line 1: it is not JSON"):
        read_questions(str(tmp_path / "broken.jsonl"))
