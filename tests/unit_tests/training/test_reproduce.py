"""The whole reproduction on a tiny model: the plan, the report, and going on after an interruption."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit_tests.training.texts import data_folder

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")

from training import reproduce  # noqa: E402
from training.recipes import budget  # noqa: E402
from training.recipes.retrieval import Measured  # noqa: E402
from training.settings import SettingsError  # noqa: E402

MEASURE = budget.measure


pytestmark = pytest.mark.usefixtures("swift", "no_plots")


@pytest.fixture(scope="module", autouse=True)
def speed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "measure", lambda *_: budget.Speed(train=1.0, read=0.1))
        yield


@pytest.fixture(scope="module")
def settings(klue_language_model: str, tmp_path_factory: pytest.TempPathFactory) -> reproduce.Settings:
    data = data_folder(tmp_path_factory.mktemp("data"), apart=True)
    return reproduce.Settings(
        data=str(data),
        base_model=klue_language_model,
        output=tmp_path_factory.mktemp("runs") / "reproduce",
        batch_size=4,
        learning_rate=1e-3,
        fetch_k=4,
        max_minutes=0.01,  # two steps a stage
    )


@pytest.fixture(scope="module")
def rows(settings: reproduce.Settings) -> list[Measured]:
    return reproduce.reproduce(settings)


def without_times(rows: list[Measured]) -> list[Measured]:
    return [dataclasses.replace(row, seconds=None) for row in rows]


def test_the_closing_table_has_every_way_to_search_over_both_corpora(rows: list[Measured]) -> None:
    systems = [
        "lexical search",
        "base (stage 1)",
        "fine-tuned (stage 2)",
        "fine-tuned (stage 2), not reranked",
        "fine-tuned (stage 2), 4 reranked",
        "fine-tuned (stage 2), 4 reranked, mean of both scores",
    ]
    assert [(row.corpus, row.system) for row in rows] == [
        (corpus, system) for corpus in ("own contexts", "all contexts") for system in systems
    ]


def test_the_report_stands_beside_the_tutorials_figures(settings: reproduce.Settings, rows: list[Measured]) -> None:
    folder = settings.output / "report"
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")
    sts = json.loads((settings.output / "sts" / "outcome.json").read_text(encoding="utf-8"))
    for part in ("0.3556", "0.8906", "0.977", f"{sts['after']['spearman']:.4f}", "untrained model", "torch", "seed"):
        assert part in markdown
        assert part in page
    assert (folder / "hit_rates.png").stat().st_size > 0


def test_a_short_time_gives_every_stage_a_few_steps(settings: reproduce.Settings, rows: list[Measured]) -> None:
    plan = json.loads((settings.output / "plan.json").read_text(encoding="utf-8"))
    assert plan["steps"] == {"sts": 2, "mrc": None, "cross_encoder": 2}  # None: all of its epochs, no more than two
    assert reproduce.plan(dataclasses.replace(settings, max_minutes=None))["steps"]["sts"] is None
    assert reproduce.plan(dataclasses.replace(settings, max_minutes=500))["steps"]["sts"] is None


def test_a_language_model_is_measured(settings: reproduce.Settings) -> None:
    speed = MEASURE(settings.base_model, [["질문", "또 질문"], ["글", "다른 글"]], 32)
    assert speed.read > 0
    assert speed.train > 0


def test_an_interrupted_run_ends_with_the_same_table(
    settings: reproduce.Settings, rows: list[Measured], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = dataclasses.replace(settings, output=tmp_path / "cut")
    whole = reproduce.run_stage

    def stop(stage: str, *arguments: Any) -> Any:
        if stage == "cross_encoder":
            raise KeyboardInterrupt
        return whole(stage, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(reproduce, "run_stage", stop)
        with pytest.raises(KeyboardInterrupt):
            reproduce.reproduce(cut)
    resumed = reproduce.reproduce(dataclasses.replace(cut, resume=True, max_minutes=9))
    assert without_times(resumed) == without_times(rows)


def test_a_finished_run_is_read_and_its_report_written_again(
    settings: reproduce.Settings, rows: list[Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce.retrieval, "dense", lambda *_: pytest.fail("measured again"))
    assert reproduce.reproduce(dataclasses.replace(settings, resume=True)) == rows


def test_a_folder_with_a_run_is_not_overwritten(settings: reproduce.Settings, rows: list[Measured]) -> None:
    with pytest.raises(SettingsError, match="--resume"):
        reproduce.reproduce(settings)
    with pytest.raises(SettingsError, match="seed=42"):
        reproduce.reproduce(dataclasses.replace(settings, resume=True, seed=1))


def test_missing_data_ends_with_one_line(settings: reproduce.Settings, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere"):
        reproduce.main(["--data", "nowhere", "--base-model", settings.base_model, "--output", str(tmp_path / "o")])


def test_the_cross_encoder_starts_from_the_small_model_only_with_the_tutorials_base() -> None:
    assert reproduce.Settings().reranker == "klue/roberta-small"
    assert reproduce.Settings(base_model="some/folder").reranker == "some/folder"
    assert reproduce.Settings(reranker_base="other").reranker == "other"


@pytest.mark.parametrize(
    ("seconds", "wanted", "expected"),
    [
        (10.0, [100.0, 100.0], [5.0, 5.0]),
        (10.0, [2.0, 100.0], [2.0, 8.0]),
        (10.0, [2.0, 3.0], [2.0, 3.0]),
        (-1.0, [1.0, 1.0], [0.0, 0.0]),
    ],
)
def test_time_that_one_stage_does_not_want_goes_to_the_others(
    seconds: float, wanted: list[float], expected: list[float]
) -> None:
    assert budget.share_out(seconds, wanted, [1.0, 1.0]) == pytest.approx(expected)


def test_the_notebook_is_valid_and_has_no_outputs() -> None:
    notebook = json.loads((Path(reproduce.__file__).parent / "reproduce.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        assert cell["cell_type"] in ("markdown", "code")
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            lines = [
                "    pass" if line.lstrip().startswith("%") else line for line in "".join(cell["source"]).splitlines()
            ]
            compile("\n".join(lines), cell["id"], "exec")


@pytest.mark.parametrize("page", ["training.md", "training.ko.md"])
def test_the_commands_of_the_pages_are_those_of_the_recipes(page: str) -> None:
    from training import questions
    from training.recipes import adapt, cross_encoder, late_interaction, mrc, retrieval, sts
    from training.settings import parse

    recipes: list[Any] = [reproduce, questions, adapt, cross_encoder, late_interaction, mrc, sts]
    known = {recipe.__name__: recipe.Settings for recipe in [*recipes, retrieval]}
    text = (Path(reproduce.__file__).parents[1] / "docs" / page).read_text(encoding="utf-8").replace("\\\n", "")
    commands = re.findall(r"python -m (training[\w.]+) +(-[^\n#`|]*)", text)
    assert len(commands) > 5
    for module, flags in commands:
        if module in known and "..." not in flags:
            words = shlex.split(flags)
            parse(known[module], words)
