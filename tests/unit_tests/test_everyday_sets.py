"""The sets of everyday questions are consistent: what a benchmark measures on them is then about the search."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from benchmarks.everyday.sets import HERE, SEEN, UNSEEN, read_corpus

NAMES = (*SEEN, *UNSEEN)


def test_every_folder_is_in_one_half() -> None:
    assert sorted(path.parent.name for path in HERE.glob("*/passages.jsonl")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_passages_and_questions_agree(name: str) -> None:
    corpus = read_corpus(name)
    texts = {document.id: document.page_content for document in corpus.documents}
    assert len(texts) == len(corpus.documents)
    assert len(set(texts.values())) == len(texts)
    assert all(document.metadata["title"] for document in corpus.documents)
    for question in corpus.questions:
        assert bool(question.passages) == bool(question.answers) == (question.kind == "answerable"), question.id
        assert question.passages <= texts.keys(), question.id
        for passage in question.passages:
            assert any(answer in texts[passage] for answer in question.answers), question.id
        for answer in question.answers:
            assert any(answer in texts[passage] for passage in question.passages), question.id


def test_no_question_comes_twice_with_different_answers() -> None:
    for name in NAMES:
        counts = Counter(re.sub(r"\W", "", question.text) for question in read_corpus(name).questions)
        assert max(counts.values()) == 1, (name, counts.most_common(2))


def test_the_readme_counts_what_is_there() -> None:
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    total: Counter[str] = Counter()
    for name in NAMES:
        corpus = read_corpus(name)
        kinds = Counter(question.kind for question in corpus.questions)
        total += kinds
        half = "seen" if name in SEEN else "unseen"
        numbers = [len(corpus.documents), *(kinds[kind] for kind in ("answerable", "near", "off_topic"))]
        cells = " | ".join(map(str, numbers))
        assert re.search(rf"\| `{name}`[^|]*" + re.escape(f"| {half} | {cells} |"), readme), name
    assert total["answerable"] >= 300
    assert total["near"] >= 150
    assert total["off_topic"] >= 60
