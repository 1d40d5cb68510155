"""The corpora of everyday questions that models are trained on are consistent."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from training.data import EVERYDAY, read_jsonl

CORPORA = sorted(path for path in EVERYDAY.iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", CORPORA, ids=lambda path: path.name)
def test_questions_agree_with_passages(folder: Path) -> None:
    passages, questions = read_jsonl(folder / "passages.jsonl"), read_jsonl(folder / "questions.jsonl")
    texts = {row["id"]: row["text"] for row in passages}
    known = set(texts)
    assert len(known) == len(passages) == len({row["text"] for row in passages})
    assert all(row["text"].strip() for row in passages)
    for row in questions:
        assert row["kind"] in ("answerable", "near", "off_topic"), row
        assert bool(row["passages"]) == (row["kind"] == "answerable"), row
        assert set(row["passages"]) <= known, row
        assert all(any(answer in texts[one] for one in row["passages"]) for answer in row.get("answers", [])), row
        assert set(row.get("near", [])) <= known, row
        assert row["kind"] == "near" or "near" not in row, row
    assert known == {one for row in questions for one in row["passages"]}
    counts = Counter(re.sub(r"\W", "", row["question"]) for row in questions)
    assert max(counts.values()) == 1, counts.most_common(2)
