"""What fits the weights by which `explain` chooses a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from training.data import read_jsonl
from training.packaged.sentence_weights import ANSWERS, HERE, Example, fit, left_out


def test_answers_stand_in_their_passages_and_belong_to_questions():
    rows = read_jsonl(ANSWERS)
    for name in {row["set"] for row in rows}:
        passages = {row["id"]: row["text"] for row in read_jsonl(HERE / name / "passages.jsonl")}
        asked = {
            (row["question"], one) for row in read_jsonl(HERE / name / "questions.jsonl") for one in row["passages"]
        }
        for row in rows:
            if row["set"] == name:
                assert (row["question"], row["passage"]) in asked, row
                assert row["answers"]
                assert all(passages[row["passage"]].count(one) == 1 for one in row["answers"]), row


def made(kind: str, group: int, generator: np.random.Generator) -> Example:
    features = generator.normal(size=(4, 3))
    utility = features @ [2.0, -1.0, 0.0] + generator.gumbel(size=4)
    return Example(kind, str(group), features, utility == utility.max())


def test_weights_that_made_the_choices_are_found_again():
    generator = np.random.default_rng(0)
    kinds = ("everyday", "paraphrased", "klue_mrc", "tydiqa")
    known = [made(kind, number % 12, generator) for kind in kinds for number in range(300)]
    assert fit(known) == pytest.approx([2.0, -1.0, 0.0], abs=0.25)
    for alone, fitted in left_out(known).values():
        assert 0.25 < alone < fitted < 1
