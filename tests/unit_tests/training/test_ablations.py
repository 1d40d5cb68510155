"""Ablation rows on a tiny model."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from tests.unit_tests.training.texts import question_rows, write_jsonl

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")

from training.experiments import ablations  # noqa: E402
from training.settings import SettingsError  # noqa: E402

pytestmark = pytest.mark.usefixtures("swift", "no_plots")


@pytest.fixture(scope="module")
def settings(klue_language_model: str, tmp_path_factory: pytest.TempPathFactory) -> ablations.Settings:
    data = tmp_path_factory.mktemp("data")
    rows = question_rows()
    for name, part in (("train", rows[:10]), ("validation", rows[10:12]), ("test", rows[12:])):
        write_jsonl(data / "klue_mrc" / f"{name}.jsonl", part)
    return ablations.Settings(
        data=str(data),
        base_model=klue_language_model,
        output=tmp_path_factory.mktemp("runs") / "ablations",
        examples=8,
        batch_size=4,
        large_batch=8,
        negatives=1,
        max_length=48,
        learning_rate=1e-3,
        small_layers=1,
        candidates=3,
        rows=("small-distilled",),
    )


@pytest.fixture(scope="module")
def lines(settings: ablations.Settings) -> list[list[str]]:
    return ablations.run(settings)[1]


def test_a_row_comes_with_what_it_is_compared_with(settings: ablations.Settings, lines: list[list[str]]) -> None:
    titles = {row.name: row.title for row in ablations.ROWS}
    assert [line[0] for line in lines] == [titles[name] for name in ("bi-tutorial", "small-labels", "small-distilled")]
    assert [bool(line[2]) for line in lines] == [False, False, True]


def test_the_table_is_written_twice(settings: ablations.Settings, lines: list[list[str]]) -> None:
    with (settings.output / "ablations.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [ablations.HEAD, *lines]
    text = (settings.output / "ablations.md").read_text(encoding="utf-8")
    assert "6 questions" in text
    assert all(line[0] in text for line in lines)


def test_the_smaller_model_is_the_base_without_its_upper_layers(
    settings: ablations.Settings, lines: list[list[str]]
) -> None:
    from transformers import AutoModel

    base = AutoModel.from_pretrained(settings.base_model).state_dict()
    small = AutoModel.from_pretrained(settings.output / "small_base").state_dict()
    assert any("layer.1." in name for name in base)
    assert not any("layer.1." in name for name in small)
    name = "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(base[name], small[name])


def test_what_is_done_is_not_done_again(
    settings: ablations.Settings, lines: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablations, "first_stage", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr(ablations, "rerank", lambda *_: pytest.fail("measured again"))
    assert ablations.run(dataclasses.replace(settings, resume=True))[1] == lines
    with pytest.raises(SettingsError, match="--resume"):
        ablations.run(settings)


def test_no_test_question_is_learned_from(settings: ablations.Settings, lines: list[list[str]]) -> None:
    learned = (settings.output / "data" / "klue_mrc" / "train.jsonl").read_text(encoding="utf-8")
    assert all(row["question"] not in learned for row in question_rows()[10:])
    assert all(row["question"] in learned for row in question_rows()[:10])


@pytest.mark.parametrize("row", ablations.ROWS, ids=lambda row: row.name)
def test_every_row_sees_as_many_examples(row: ablations.Row, settings: ablations.Settings, tmp_path: Path) -> None:
    chosen = ablations.recipe_settings(row, settings, tmp_path)
    per_step = chosen.batch_size * (1 + settings.negatives if row.changes.get("loss") == "listwise" else 1)
    assert chosen.max_steps * per_step == settings.examples
    assert not chosen.held_out


def test_an_unknown_row_is_named(settings: ablations.Settings) -> None:
    with pytest.raises(SettingsError, match="--rows bi-magic"):
        dataclasses.replace(settings, rows=("bi-magic",))


def test_candidates_may_come_from_another_first_stage(settings: ablations.Settings, tmp_path: Path) -> None:
    chosen = dataclasses.replace(
        settings,
        output=tmp_path / "ablations",
        rows=("cross-all",),
        first_stage="packaged",
    )
    lines = ablations.run(chosen)[1]
    assert [line[0] for line in lines] == [
        row.title for row in ablations.ROWS if row.name in ("cross-tutorial", "cross-all")
    ]
