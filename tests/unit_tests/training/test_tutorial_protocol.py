"""``--protocol tutorial``: the same rows, the same index, the same figures as the tutorial's own steps."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit_tests.training.texts import data_folder, question_rows, write_jsonl

torch = pytest.importorskip("torch")
faiss = pytest.importorskip("faiss")
datasets = pytest.importorskip("datasets")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")

from sentence_transformers import CrossEncoder, SentenceTransformer  # noqa: E402

from training import reproduce  # noqa: E402
from training.inputs import Question, read_questions  # noqa: E402
from training.recipes import negatives  # noqa: E402
from training.recipes.fitting import load_model  # noqa: E402
from training.reproduction import tutorial  # noqa: E402
from training.reproduction.settings import Settings  # noqa: E402
from training.reproduction.words import WORDS  # noqa: E402


def test_the_thousand_questions_are_those_that_the_datasets_library_draws() -> None:
    rows = datasets.Dataset.from_dict({"question": [f"질문 {number}" for number in range(5841)]})
    drawn = rows.train_test_split(test_size=1000, seed=42)["test"]["question"]
    assert [f"질문 {row}" for row in tutorial.choose_rows(5841, 1000, 42)] == list(drawn)


def test_fewer_rows_than_questions_are_all_taken() -> None:
    assert tutorial.choose_rows(3, 1000, 42) == [0, 1, 2]


@pytest.fixture(scope="module")
def models(klue_language_model: str, tmp_path_factory: pytest.TempPathFactory) -> tutorial.Models:
    folder = tmp_path_factory.mktemp("models")
    load_model("SentenceTransformer", klue_language_model, None).save_pretrained(
        str(folder / "bi"), create_model_card=False
    )
    load_model("CrossEncoder", klue_language_model, None).save_pretrained(
        str(folder / "cross"), create_model_card=False
    )
    return tutorial.Models(str(folder / "bi"), str(folder / "bi"), str(folder / "cross"))


def by_the_tutorials_steps(rows: list[dict[str, Any]], models: tutorial.Models, rerank: bool) -> float:
    """The closing table's HitRate with nothing of ours: sentence-transformers, FAISS and NumPy."""
    bi_encoder = SentenceTransformer(models.fine_tuned, device="cpu")
    cross_encoder = CrossEncoder(models.cross_encoder, device="cpu")
    contexts = [row["context"] for row in rows]
    vectors = bi_encoder.encode(contexts)
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    hits = 0
    for row in rows:
        _, [places] = index.search(bi_encoder.encode([row["question"]]), 12 if rerank else 10)
        if rerank:
            scores = cross_encoder.predict([[row["question"], contexts[place]] for place in places])
            places = places[np.argsort(scores)[::-1]]
        hits += any(contexts[place] == row["context"] for place in places[:10])
    return hits / len(rows)


@pytest.mark.parametrize(("part", "rerank"), [("fine_tuned", False), ("reranked", True)])
def test_the_hit_rate_is_that_of_the_tutorials_own_steps(part: str, rerank: bool, models: tutorial.Models) -> None:
    rows = [{**row, "context": f"{row['context']} {number}"} for number, row in enumerate(question_rows())]
    rows += rows[:2]  # a context that stands there twice stays there twice
    questions = [Question(row["question"], row["context"], row["title"]) for row in rows]
    found = tutorial.measure(part, questions, models, 12, (None, None), "fp32")
    assert found.passages == len(rows)
    assert 0 < found.hits(10).mean() < 1, "a test that every model passes tests nothing"
    assert found.hits(10).mean() == pytest.approx(by_the_tutorials_steps(rows, models, rerank))
    assert found.seconds is not None


def test_bfloat16_is_computed_when_asked_for(models: tutorial.Models) -> None:
    questions = [Question(row["question"], row["context"], row["title"]) for row in question_rows()]
    found = tutorial.measure("reranked", questions, models, 12, (None, 48), "bf16")
    assert len(found.ranks) == len(questions)


def test_rows_are_kept_as_they_are(tmp_path: Path) -> None:
    data = data_folder(tmp_path)
    rows = question_rows()
    rows[13]["is_impossible"] = True
    write_jsonl(data / "klue_mrc" / "train.jsonl", rows[:13])
    write_jsonl(data / "klue_mrc" / "validation.jsonl", [*rows[12:], rows[15]])
    ours, exact = read_questions(str(data)), read_questions(str(data), as_given=True)
    assert (len(ours.train), len(ours.test)) == (12, 4)
    assert (len(exact.train), len(exact.test)) == (13, 5)
    assert ours.counts == {"impossible_test": 1, "asked_twice": 1, "train_is_test": 1}
    assert exact.counts == {"impossible_test": 1}


def test_wrong_passages_are_of_random_rows_with_another_title() -> None:
    rows = [Question(f"질문 {number}", f"글 {number % 5}", f"제목 {number % 5}") for number in range(400)]
    rows += [Question("질문", "글 x", "제목 x")] * 600
    drawn = [other for [other] in negatives.draw_rows(rows, 1)]
    assert all(row.passage != other for row, other in zip(rows, drawn, strict=True))
    share = drawn[:400].count("글 x") / 400
    assert 0.55 < share < 0.75  # a passage of many rows is drawn as often as it has rows
    assert drawn == [other for [other] in negatives.draw_rows(rows, 1)]
    random.seed(9)
    assert drawn == [other for [other] in negatives.draw_rows(rows, 1)], "only its own seed decides"


@pytest.fixture(scope="module")
def run(swift: None, klue_language_model: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data = data_folder(tmp_path_factory.mktemp("data"), apart=True)
    settings = Settings(
        data=str(data),
        base_model=klue_language_model,
        output=tmp_path_factory.mktemp("runs") / "reproduce",
        protocol="tutorial",
        language="ko",
        batch_size=4,
        learning_rate=1e-3,
        sts_epochs=2,
        fetch_k=4,
    )
    reproduce.reproduce(settings)
    return settings


def test_the_report_has_every_figure_of_the_tutorial_beside_ours(run: Settings) -> None:
    text = (run.output / "report" / "report.md").read_text(encoding="utf-8")
    table = text.partition(f"## {WORDS['ko']['beside']}\n")[2].partition("\n\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    known = {line[1] for line in lines}
    figures = "0.3477 0.8905 0.3556 0.8906 0.8061 0.9124 0.8163 0.8598 -0.0117 0.9830 -0.0120 0.8650 0.875 0.951 0.977"
    assert known >= {*figures.split(), "3.87", "3.53", "72.47", "20.5"}
    for line in lines[2:]:
        float(line[2])  # ours stands in the same row, whatever it is
    sts = json.loads((run.output / "sts" / "outcome.json").read_text(encoding="utf-8"))
    assert any(line[1] == "0.8906" and line[2] == f"{sts['after']['spearman']:.4f}" for line in lines)


def test_the_stages_are_the_tutorials(run: Settings) -> None:
    rows = {
        stage: json.loads((run.output / stage / "outcome.json").read_text(encoding="utf-8"))
        for stage in reproduce.STAGES
    }
    assert rows["sts"]["rows"] == {"train": 16, "held_out": 2, "test": 6}
    assert rows["mrc"]["rows"] == {"train": 12, "held_out": 0, "test": 4}
    assert rows["cross_encoder"]["rows"] == {"train": 12, "held_out": 0, "test": 4}
    assert {one["precision"] for one in rows.values()} == {"float32"}
    assert set(rows["mrc"]["after"]) == {"pearson", "spearman"}


def test_the_report_says_what_reranking_cost_and_how_to_go_on(run: Settings) -> None:
    text = (run.output / "report" / "report.md").read_text(encoding="utf-8")
    page = (run.output / "report" / "report.html").read_text(encoding="utf-8")
    assert "배가 되었습니다" in text
    assert "--learning-rate 0.001" in text
    assert f'KlueReranker(model="{run.output}/cross_encoder/model")' in text
    assert "--resume --push-to-hub NAME" in text
    assert '<html lang="ko">' in page
    assert "| 장비 | " in text
    assert page.count('<div class="wide"><table>') == page.count("<table>")


def test_the_report_says_what_makes_it_another_run_than_the_tutorials(run: Settings) -> None:
    text = (run.output / "report" / "report.md").read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if "튜토리얼과 다음이 다릅니다" in line]
    for part in ("--base-model", "--learning-rate 0.001", "--sts-epochs 2", "--fetch-k 4", "질문 4개"):
        assert part in line


def test_both_languages_say_the_same() -> None:
    import string

    def places(text: str) -> list[str]:
        return sorted({str(name) for _, name, _, _ in string.Formatter().parse(text) if name is not None})

    assert set(WORDS["ko"]) == set(WORDS["en"])
    for name, text in WORDS["en"].items():
        assert places(text) == places(WORDS["ko"][name]), name
        assert text.count("|") == WORDS["ko"][name].count("|"), name
