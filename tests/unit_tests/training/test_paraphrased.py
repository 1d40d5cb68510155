"""The questions that train the encoder to do without the passage's words are well formed, and do avoid them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kiwipiepy import Kiwi

import training.packaged

FOLDER = Path(training.packaged.__file__).parent / "paraphrased"


def rows(name: str) -> list[dict[str, Any]]:
    paths = sorted(FOLDER.glob(f"*/{name}.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_passage_has_three_questions_of_its_own() -> None:
    passages, questions = rows("passages"), rows("questions")
    asked = Counter(passage for question in questions for passage in question["passages"])
    assert asked == {passage["id"]: 3 for passage in passages}
    assert all(len(question["passages"]) == 1 for question in questions)
    for values in (
        [passage["id"] for passage in passages],
        [passage["text"] for passage in passages],
        [question["question"] for question in questions],
    ):
        assert len(set(values)) == len(values)


def test_passages_come_in_groups_of_four_neighbours() -> None:
    groups = Counter(passage["id"].rpartition("-")[0] for passage in rows("passages"))
    assert set(groups.values()) == {4}


@pytest.fixture(scope="module")
def kiwi() -> Kiwi:
    return Kiwi(num_workers=1)


def test_a_question_shares_at_most_one_noun_with_its_passage(kiwi: Kiwi) -> None:
    def nouns(text: str) -> set[str]:
        return {token.form for token in kiwi.tokenize(text) if token.tag in ("NNG", "NNP") and len(token.form) > 1}

    texts = {passage["id"]: nouns(f"{passage['title']}\n{passage['text']}") for passage in rows("passages")}
    shared = {row["question"]: nouns(row["question"]) & texts[row["passages"][0]] for row in rows("questions")}
    assert {question: words for question, words in shared.items() if len(words) > 1} == {}
    assert sum(map(bool, shared.values())) <= len(shared) // 10
