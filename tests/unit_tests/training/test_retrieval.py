"""Measuring retrieval with the packaged models over passages of our own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from langchain_klue_rerank import KlueEmbeddings, KlueReranker
from tests.unit_tests.training.texts import question_rows, write_csv, write_jsonl
from training.recipes import retrieval
from training.recipes.retrieval import Measured


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    rows = question_rows()
    for name, part in (("train", rows[:8]), ("validation", rows[8:12]), ("test", rows[12:])):
        write_jsonl(folder / "klue_mrc" / f"{name}.jsonl", part)
    return str(folder)


def test_the_questions_own_contexts_and_all_contexts(data: str) -> None:
    own, everything = retrieval.read_corpora(data, None, 42)
    assert (own.name, len(own.documents), len(own.questions)) == ("own contexts", 4, 8)
    assert (everything.name, len(everything.documents), len(everything.questions)) == ("all contexts", 8, 8)


def test_drawn_questions_are_the_same_every_time_and_have_their_own_contexts(data: str) -> None:
    own, everything = retrieval.read_corpora(data, 2, 42)
    assert own.questions == retrieval.read_corpora(data, 2, 42)[0].questions
    assert frozenset().union(*own.relevant) == {document.id for document in own.documents}
    assert len(everything.documents) == 8


def test_a_sample_shrinks_questions_and_corpus(data: str) -> None:
    own, everything = retrieval.read_corpora(data, None, 42, 2)
    assert len(own.questions) == 2
    assert len(everything.documents) == len(own.documents) + 2


def test_a_file_without_training_rows_is_one_corpus(tmp_path: Path) -> None:
    [corpus] = retrieval.read_corpora(str(write_csv(tmp_path / "own.csv", question_rows())), None, 42)
    assert len(corpus.documents) == 8


def test_ranks_make_the_metrics() -> None:
    row = Measured("one", "all contexts", 9, [1, 0, 2, 10], 0.4)
    assert row.hits(1).tolist() == [1, 0, 0, 0]
    assert row.hits(10).tolist() == [1, 0, 1, 1]
    assert np.allclose(row.reciprocal_ranks(), [1, 0, 0.5, 0.1])


def test_every_way_to_search_is_measured(data: str) -> None:
    corpora = retrieval.read_corpora(data, None, 42)
    assert retrieval.lexical(corpora[1]).hits(1).mean() > 0.5
    rows = retrieval.dense(corpora, "packaged", KlueEmbeddings(), None, 5)
    assert {(row.corpus, row.passages) for row in rows} == {("own contexts", 4), ("all contexts", 8)}
    assert all(len(row.ranks) == 8 and row.hits(4).mean() > 0.5 for row in rows)
    reranked = retrieval.dense(corpora[1:], "packaged", KlueEmbeddings(), KlueReranker(), 5)
    assert [row.system for row in reranked] == [
        "packaged, not reranked",
        "packaged, 5 reranked",
        "packaged, 5 reranked, mean of both scores",
    ]
    assert reranked[0].ranks == next(row.ranks for row in rows if row.corpus == "all contexts")
    assert reranked[1].ranks != [0] * 8


def test_only_what_is_among_the_candidates_can_be_reranked(data: str) -> None:
    [corpus] = retrieval.read_corpora(data, None, 42)[1:]
    [first] = retrieval.dense([corpus], "packaged", KlueEmbeddings(), None, 1)
    reranked = retrieval.dense([corpus], "packaged", KlueEmbeddings(), KlueReranker(), 1)
    assert all(row.hits(10).tolist() == first.hits(1).tolist() for row in reranked)


def test_a_passage_is_embedded_once(data: str) -> None:
    class Counting(KlueEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            counted.extend(texts)
            return super().embed_documents(texts)

    counted: list[str] = []
    retrieval.dense(retrieval.read_corpora(data, None, 42), "packaged", Counting(), None, 5)
    assert len(counted) == 8


def test_the_difference_is_paired() -> None:
    better = Measured("a", "all contexts", 9, [1] * 30, 0.0)
    worse = Measured("b", "all contexts", 9, [1] * 10 + [2] * 20, 0.0)
    assert retrieval.difference(better, worse, 1).startswith("+0.667")
    assert retrieval.difference(better, better, 1).endswith("p 1.000")


def test_the_command_prints_a_table_and_keeps_the_ranks(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.json"
    retrieval.main(["--data", data, "--cross-encoder", "packaged", "--output", str(output)])
    printed = capsys.readouterr().out
    rows = retrieval.load(output)
    assert len(rows) == 8
    assert all(row.system in printed for row in rows)
