"""An adapted model is a folder that loads like the packaged one, and finds more of what it was adapted to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from langchain_klue_rerank import KlueEmbeddings
from langchain_klue_rerank.engine.models.packaged import static_files
from langchain_klue_rerank.engine.models.packaged.static_files import StaticConfig
from langchain_klue_rerank.errors import ModelLoadError
from training.inputs import DataError, Question
from training.packaged.static_vectors import Base, Pairs, Schedule, ranking_loss
from training.recipes import adapt
from training.settings import SettingsError

# Question and passage share no word: only training can bring them together.
PLACES = ["서고", "주차장", "회의실", "식당", "창고", "휴게실", "강당", "체육관", "옥상", "로비"]
TIMES = ["월요일", "화요일", "수요일", "목요일", "금요일", "토요일"]
CODES = ["가온", "나래", "다솜", "라온", "마루", "바름", "새봄", "아라", "자람", "하늘"]
CODE_TIMES = ["일차", "이차", "삼차", "사차", "오차", "육차"]


def pairs() -> list[dict[str, str]]:
    """Places are called by code names, days by numbers: a language to be learned from examples."""
    return [
        {"question": f"{place} {day}", "passage": f"{code} {time}"}
        for place, code in zip(PLACES, CODES, strict=True)
        for day, time in zip(TIMES, CODE_TIMES, strict=True)
    ]


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random rows, so that tests take no time."""
    folder = tmp_path_factory.mktemp("base") / "model"
    folder.mkdir()
    config = StaticConfig(dimension=64, morphemes=3, unknown_rows=2000, ngram_rows=4000, repeat_power=0.75)
    vectors = np.random.default_rng(0).standard_normal((config.rows, config.dimension), np.float32)
    static_files.save(folder, config, ["서고/NNG", "강당/NNG", "없음/NNG"], vectors, {})
    return folder


def settings(base: Path, data: str, output: Path, **others: Any) -> adapt.Settings:
    chosen = {"learning_rate": 0.01, "min_steps": 30, "epochs": 3, "held_out": 0.1, "base_model": str(base), **others}
    return adapt.Settings(data=data, output=output, **chosen)


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".md"}


def test_questions_about_unseen_passages_are_found_better(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "pairs.jsonl", pairs())
    before = read(base)
    outcome = adapt.train(settings(base, data, tmp_path / "model"))
    assert outcome.complete
    assert outcome.model == tmp_path / "model"
    assert outcome.after["dense"]["MRR@10"].mean() > outcome.before["dense"]["MRR@10"].mean() + 0.2
    assert outcome.after["lexical"]["MRR@10"].mean() == outcome.before["lexical"]["MRR@10"].mean()
    vectors = KlueEmbeddings(model=str(outcome.model)).embed_documents(["서고 월요일", "가온 일차", "하늘 육차"])
    assert np.dot(vectors[0], vectors[1]) > np.dot(vectors[0], vectors[2]) + 0.2
    assert read(base) == before, "the base model is never changed"
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.jsonl", "model"}, "nothing is left behind"
    card = (outcome.model / "README.md").read_text(encoding="utf-8")
    assert "pairs.jsonl: 54 pairs, 6 test questions" in card
    assert f"{outcome.after['dense']['HitRate@10'].mean():.3f}" in card


def test_texts_of_other_words_keep_their_vectors(base: Path, tmp_path: Path) -> None:
    rows = [{"question": f"zqx{number}", "passage": f"wvk{number} wvk"} for number in range(20)]
    outcome = adapt.train(settings(base, write(tmp_path / "pairs.jsonl", rows), tmp_path / "model", min_steps=5))
    models = [Base.open(str(base)), Base.open(str(outcome.model))]
    used = Pairs([Question(**row) for row in rows], [[]] * len(rows), models[0]).used_rows()
    others = np.setdiff1d(np.arange(models[0].config.rows), used)
    assert len(others) > 1000
    np.testing.assert_allclose(models[0].vectors[others], models[1].vectors[others], rtol=1e-6)
    assert not np.allclose(models[0].vectors[used], models[1].vectors[used])


def test_the_same_run_gives_the_same_model(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "pairs.jsonl", pairs())
    for name in ("one", "two"):
        adapt.train(settings(base, data, tmp_path / name, min_steps=6))
    assert read(tmp_path / "one") == read(tmp_path / "two")


def test_an_interrupted_run_goes_on_to_the_same_model(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "pairs.jsonl", pairs())
    whole = adapt.train(settings(base, data, tmp_path / "whole", min_steps=6))
    assert whole.complete
    part = adapt.train(settings(base, data, tmp_path / "part", min_steps=6, max_minutes=0.0001))
    assert not part.complete
    assert "ended training early" in (part.model / "README.md").read_text(encoding="utf-8")
    assert read(part.model) != read(whole.model)
    with pytest.raises(SettingsError, match="other settings or data"):
        adapt.train(settings(base, data, tmp_path / "part", min_steps=6, seed=7, resume=True))
    done = adapt.train(settings(base, data, tmp_path / "part", min_steps=6, resume=True))
    assert done.complete
    assert read(done.model) == read(whole.model)
    assert not list(tmp_path.glob("*.checkpoint-*"))


def test_where_training_harms_held_out_questions_the_base_model_is_kept(base: Path, tmp_path: Path) -> None:
    # Passages that the base finds by their words; what is taught is of the others, and noise.
    rows = [{"question": f"물음{n} 낱말{n}", "passage": f"대답{n} 낱말{n}"} for n in range(40)]
    data = write(tmp_path / "pairs.jsonl", rows)
    outcome = adapt.train(settings(base, data, tmp_path / "model", learning_rate=1.0, held_out=0.3))
    assert outcome.share < 1
    assert outcome.after["dense"]["MRR@10"].mean() >= outcome.before["dense"]["MRR@10"].mean() - 0.1


def test_an_output_that_holds_something_is_refused(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "pairs.jsonl", pairs())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "편지.txt").write_text("소중한 글")
    for name in ("pairs.jsonl", "full"):
        with pytest.raises(SettingsError, match=name):
            adapt.train(settings(base, data, tmp_path / name, resume=True))
    # nor the model that it starts from, such as the packaged weights
    with pytest.raises(SettingsError, match="something else"):
        adapt.train(settings(base, data, base, resume=True))


def test_a_failure_leaves_nothing_behind(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(static_files, "to_four_bits", full)
    data = write(tmp_path / "pairs.jsonl", pairs())
    with pytest.raises(OSError, match="No space"):
        adapt.train(settings(base, data, tmp_path / "model", min_steps=3))
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize("model", ["BAAI/bge-m3", "folder"])
def test_a_base_of_another_kind_is_refused(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    data = write(tmp_path / "pairs.jsonl", pairs())
    with pytest.raises(ModelLoadError, match="not in the packaged format"):
        adapt.train(adapt.Settings(data=data, output=tmp_path / "model", base_model=model))


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    for wrong in ({"held_out": 1.0}, {"word_dropout": -0.1}, {"epochs": 0}, {"max_minutes": 0}):
        with pytest.raises(SettingsError, match=next(iter(wrong)).replace("_", "-")):
            adapt.Settings(data="x", output=tmp_path, **wrong)


def test_on_the_command_line(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "pairs.jsonl", pairs())
    common = ["--base-model", str(base), "--min-steps", "3", "--epochs", "1", "--output", str(tmp_path / "model")]
    adapt.main(["--data", data, *common])
    printed = capsys.readouterr().out
    assert "| hybrid, reranked | **after** |" in printed
    with pytest.raises(SystemExit) as caught:
        adapt.main(["--data", data, *common])
    assert caught.value.code == 2


def test_data_without_a_passage_is_refused(base: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "pairs.jsonl", [{"question": "물음"}])
    with pytest.raises(DataError, match="passage"):
        adapt.train(settings(base, data, tmp_path / "model"))


class TestRankingLoss:
    """A passage that answers a question is never wrong for it, however often it stands in the batch."""

    def loss(self, right: list[list[bool]]) -> float:
        torch = pytest.importorskip("torch")
        questions = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.0]]), dim=1)
        passages = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2]]), dim=1)
        return float(ranking_loss(questions, passages, torch.tensor([0, 1]), torch.tensor(right), 20.0))

    def test_passages_that_answer_both_questions_cost_nothing(self) -> None:
        assert self.loss([[True, True], [True, True]]) == pytest.approx(0, abs=1e-6)
        assert self.loss([[True, False], [False, True]]) > 1


def test_every_pair_is_seen_once_an_epoch() -> None:
    schedule = Schedule(2, 1, 4, 0.1, 0.1, 20.0, 0.0, 0)
    steps = list(schedule.batches(10, 0))
    assert schedule.steps(10) == len(steps) == 6
    for epoch in (steps[:3], steps[3:]):
        assert sorted(np.concatenate([chosen for _, chosen in epoch])) == list(range(10))
    for (step, chosen), (other_step, other) in zip(schedule.batches(10, 4), steps[4:], strict=True):
        assert step == other_step
        np.testing.assert_array_equal(chosen, other)
    assert Schedule(2, 50, 4, 0.1, 0.1, 20.0, 0.0, 0).steps(10) == 50
