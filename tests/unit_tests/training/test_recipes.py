"""The three fine-tuning recipes on tiny models: what they leave behind, going on, ending early, and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.unit_tests.training.texts import data_folder, question_rows, write_csv, write_jsonl

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")

from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer  # noqa: E402

from langchain_klue_rerank import KlueEmbeddings, KlueReranker  # noqa: E402
from training.inputs import read_questions  # noqa: E402
from training.recipes import cross_encoder, fitting, late_interaction, mrc, runs, sts  # noqa: E402
from training.recipes.evaluate import question_tests  # noqa: E402
from training.recipes.fitting import Outcome  # noqa: E402
from training.recipes.negatives import Corpus  # noqa: E402
from training.settings import SettingsError  # noqa: E402

_PAIR = ("이사하면 며칠 안에 알려야 하나요?", "이사한 사람은 열네 날 안에 알려야 한다.")


pytestmark = pytest.mark.usefixtures("swift")


@pytest.fixture(autouse=True)
def no_plots(bi_encoder: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """One plot, that of `bi_encoder`, is enough."""
    monkeypatch.setattr(fitting, "draw_history", lambda *_: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(data_folder(tmp_path_factory.mktemp("data")))


def settings_of(recipe: ModuleType, data: str, base_model: str, output: Path, **others: Any) -> Any:
    """Settings of a recipe for a short run."""
    short: dict[str, Any] = {"epochs": 2} if recipe is sts else {"held_out": 0.2, "max_steps": 2}
    values = {"batch_size": 4, "warmup_steps": 1, "learning_rate": 1e-3, **short, **others}
    return recipe.Settings(data=data, base_model=base_model, output=output, **values)


@pytest.fixture(scope="module")
def bi_encoder(data: str, klue_language_model: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Stage 1, uninterrupted."""
    return sts.train(settings_of(sts, data, klue_language_model, tmp_path_factory.mktemp("sts") / "run"))


@pytest.fixture(scope="module")
def reranker(data: str, klue_language_model: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Stage 3 as it is by default."""
    return cross_encoder.train(
        settings_of(cross_encoder, data, klue_language_model, tmp_path_factory.mktemp("pairs") / "run")
    )


# What a run leaves behind -------------------------------------------------------------------------------------------


def test_a_run_leaves_model_card_settings_history_and_plot(bi_encoder: Outcome) -> None:
    folder = bi_encoder.model.parent
    for name in ("outcome.json", "settings.yaml", "history.json", "training.png", "model/README.md"):
        assert (folder / name).stat().st_size > 0
    assert Outcome.load(folder / "outcome.json") == bi_encoder
    assert bi_encoder.complete
    assert bi_encoder.steps == 8  # 18 rows, 2 held out, 4 a step, 2 epochs
    assert set(bi_encoder.before) == set(bi_encoder.after) == {"pearson", "spearman"}
    assert bi_encoder.before != bi_encoder.after
    history = json.loads((folder / "history.json").read_text())
    assert sum("eval_spearman" in row for row in history) == 2  # once an epoch


def test_the_card_tells_data_licence_settings_scores_versions_and_use(bi_encoder: Outcome) -> None:
    card = (bi_encoder.model / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-sa-4.0" in card
    assert "klue_sts: 18 rows to learn from, 6 to be tested on. Licence: CC BY-SA 4.0" in card
    assert f"| spearman | {bi_encoder.before['spearman']:.4f} | {bi_encoder.after['spearman']:.4f} |" in card
    assert "8 steps of 4 rows (the effective batch" in card
    assert "| learning_rate | 0.001 |" in card
    assert f"| torch | {torch.__version__} |" in card
    assert "KlueEmbeddings(model=" in card
    assert "SentenceTransformer(" in card


def test_the_bi_encoder_loads_plainly_and_in_the_package(bi_encoder: Outcome) -> None:
    name = str(bi_encoder.model)
    plain = SentenceTransformer(name, device="cpu").encode(list(_PAIR), normalize_embeddings=True)
    assert plain.shape == (2, 32)
    ours = KlueEmbeddings(model=name, model_kwargs={"device": "cpu"}).embed_documents(list(_PAIR))
    assert np.allclose(ours, plain, atol=1e-5)


def test_the_cross_encoder_loads_plainly_and_in_the_package(reranker: Outcome) -> None:
    name = str(reranker.model)
    plain = float(CrossEncoder(name, device="cpu").predict([_PAIR])[0])  # would end in "index out of range" for KLUE's
    ours = KlueReranker(model=name, model_kwargs={"device": "cpu"}).rerank([_PAIR[1]], _PAIR[0])
    assert 0 < plain < 1
    assert ours[0]["relevance_score"] == pytest.approx(plain, abs=1e-5)
    assert "KlueReranker(model=" in (reranker.model / "README.md").read_text(encoding="utf-8")


def test_questions_are_tested_with_random_and_with_hard_wrong_passages(reranker: Outcome) -> None:
    assert set(reranker.after) == {"pearson", "spearman", "hard_pearson", "hard_spearman"}
    assert all(-1 <= value <= 1 for value in reranker.after.values())


def test_training_teaches(klue_language_model: str, tmp_path: Path) -> None:
    passages = sorted({row["context"] for row in question_rows()})
    pairs = [(one, other) for one in passages for other in passages if one <= other]
    rows = [{"sentence1": one, "sentence2": other, "label": int(one == other)} for one, other in pairs]
    write_csv(tmp_path / "train.csv", rows)
    write_csv(tmp_path / "validation.csv", rows[:2])
    sts.train(
        settings_of(
            sts,
            str(tmp_path),
            klue_language_model,
            tmp_path / "run",
            label_max=1.0,
            batch_size=16,
            epochs=8,
            held_out=0.0,
        )
    )
    losses = [row["loss"] for row in json.loads((tmp_path / "run" / "history.json").read_text()) if "loss" in row]
    assert sum(losses[-3:]) < sum(losses[:3]) / 2


# The choices --------------------------------------------------------------------------------------------------------


_BM25 = {"negatives": "bm25", "negative_count": 2}


@pytest.mark.parametrize(
    ("recipe", "others"),
    [
        (mrc, {}),
        (mrc, {"loss": "cached", "mini_batch_size": 2}),
        (mrc, {"negatives": "both", "negative_count": 2, "titles": True}),
        (mrc, {**_BM25, "teacher": "packaged", "distillation": "margin-mse"}),
        (mrc, {**_BM25, "teacher": "packaged", "distillation": "kl", "held_out": 0.0}),
        (cross_encoder, {"loss": "listwise", "negatives": "bm25", "negative_count": 3}),
        (cross_encoder, {"windows": True, "negatives": "bi-encoder", "max_length": 32}),
        (cross_encoder, {"teacher": "packaged", "negative_count": 2}),
        (cross_encoder, {"teacher": "packaged", "negative_count": 2, "loss": "listwise", "batch_size": 2}),
        (late_interaction, {}),
        (late_interaction, {"windows": False, "dimension": 128, "held_out": 0.0}),
        (late_interaction, {**_BM25, "teacher": "packaged", "distillation": "margin-mse"}),
        (late_interaction, {**_BM25, "teacher": "packaged", "distillation": "kl", "max_length": 32}),
    ],
    ids=lambda one: "-".join(map(str, one)) if isinstance(one, dict) else one.__name__.rpartition(".")[2],
)
def test_recipes_in_their_kinds(
    recipe: ModuleType, others: dict[str, Any], data: str, klue_language_model: str, bi_encoder: Outcome, tmp_path: Path
) -> None:
    base = str(bi_encoder.model) if recipe is mrc else klue_language_model
    outcome = recipe.train(settings_of(recipe, data, base, tmp_path / "run", **others))
    assert outcome.steps == 2
    assert set(outcome.after) == {"pearson", "spearman", "hard_pearson", "hard_spearman"}
    name = str(outcome.model)
    if recipe is mrc:
        assert SentenceTransformer(name, device="cpu").encode("여권").shape == (32,)
    elif recipe is cross_encoder:
        assert CrossEncoder(name, device="cpu").predict([_PAIR]).shape == (1,)
    else:
        [found] = MultiVectorEncoder(name, device="cpu").encode_query(["여권"])
        assert found.shape == (3, others.get("dimension", 64))
        assert "MultiVectorEncoder(" in (outcome.model / "README.md").read_text(encoding="utf-8")


def test_scores_of_late_interaction_become_probabilities(data: str, klue_language_model: str, tmp_path: Path) -> None:
    """The curve that the recipe keeps in the config is the one that fits the held-out pairs."""
    model = MultiVectorEncoder(klue_language_model, device="cpu")
    rows = read_questions(data).train
    pairs = question_tests(rows, Corpus(rows), 0)
    note = late_interaction.calibrate(model, pairs)
    kept = getattr(model[0].auto_model.config, "late_interaction", None)
    assert (kept is None) == ("no curve" in note)
    if kept is not None:
        model.save_pretrained(str(tmp_path / "model"))
        loaded = MultiVectorEncoder(str(tmp_path / "model"), device="cpu")
        assert loaded[0].auto_model.config.late_interaction == kept
        assert kept["slope"] > 0


def test_the_users_own_negatives_are_learned_from(data: str, bi_encoder: Outcome, tmp_path: Path) -> None:
    rows = [{**row, "negative": f"상관없는 글 {number}"} for number, row in enumerate(question_rows())]
    file = write_jsonl(tmp_path / "mine.jsonl", rows)
    mrc.train(settings_of(mrc, str(file), str(bi_encoder.model), tmp_path / "run"))
    wrong = json.loads((tmp_path / "run" / "wrong_passages.json").read_text(encoding="utf-8"))
    assert all(own[0].startswith("상관없는 글") for own in wrong)


# Going on and ending early ------------------------------------------------------------------------------------------


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int, act: Callable[[], bool]) -> None:
    """Let the clock do something once so many steps are made."""
    asked = iter(range(1, 1000))
    monkeypatch.setattr(runs.Run, "is_out_of_time", lambda _: act() if next(asked) == steps else False)


def kill() -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize("steps", [5, 7], ids=["at the end of an epoch", "in the middle of one"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    steps: int, data: str, klue_language_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(sts, data, klue_language_model, tmp_path / "whole", evaluations=2)
    whole = sts.train(settings)
    parts = settings_of(sts, data, klue_language_model, tmp_path / "parts", evaluations=2)
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps, kill)
        with pytest.raises(KeyboardInterrupt):
            sts.train(parts)
    assert (tmp_path / "parts" / "checkpoints" / f"checkpoint-{steps // 2 * 2}").is_dir()
    assert not (tmp_path / "parts" / "model").exists()
    resumed = sts.train(settings_of(sts, data, klue_language_model, tmp_path / "parts", evaluations=2, resume=True))
    assert (resumed.before, resumed.after) == (whole.before, whole.after)
    assert resumed.steps == whole.steps
    state, expected = (SentenceTransformer(str(one.model), device="cpu").state_dict() for one in (resumed, whole))
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_time_budget_ends_training_with_a_model_and_can_be_lifted(
    data: str, klue_language_model: str, tmp_path: Path
) -> None:
    short = settings_of(cross_encoder, data, klue_language_model, tmp_path / "run", max_steps=3, max_minutes=1e-6)
    outcome = cross_encoder.train(short)
    assert (outcome.steps, outcome.complete) == (1, False)
    assert outcome.after
    assert "ended training early, after 1 steps" in (outcome.model / "README.md").read_text(encoding="utf-8")
    resumed = cross_encoder.train(
        settings_of(cross_encoder, data, klue_language_model, tmp_path / "run", max_steps=3, resume=True)
    )
    assert (resumed.steps, resumed.complete) == (3, True)
    assert resumed.before == outcome.before
    assert resumed.seconds > outcome.seconds / 2  # its first part is counted


def test_a_finished_run_is_not_run_again(data: str, klue_language_model: str, bi_encoder: Outcome) -> None:
    settings = settings_of(sts, data, klue_language_model, bi_encoder.model.parent, resume=True)
    changed = bi_encoder.model.stat().st_mtime_ns
    assert sts.train(settings) == bi_encoder
    assert bi_encoder.model.stat().st_mtime_ns == changed


# Errors -------------------------------------------------------------------------------------------------------------


def test_a_folder_with_a_run_is_not_overwritten(data: str, klue_language_model: str, bi_encoder: Outcome) -> None:
    with pytest.raises(SettingsError, match="holds a run; give --resume"):
        sts.train(settings_of(sts, data, klue_language_model, bi_encoder.model.parent))
    with pytest.raises(SettingsError, match="was started with batch_size=4, not 8"):
        sts.train(settings_of(sts, data, klue_language_model, bi_encoder.model.parent, resume=True, batch_size=8))


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: sts.Settings(batch_size=0), "--batch-size 0"),
        (lambda: sts.Settings(label_max=0), "--label-max 0"),
        (lambda: sts.Settings(held_out=1.0), "--held-out 1.0"),
        (lambda: sts.Settings(warmup_steps=-1), "--warmup-steps -1"),
        (lambda: sts.Settings(push_to_hub="no slash"), "owner/name"),
        (lambda: mrc.Settings(batch_size=1), "--batch-size 1"),
        (lambda: mrc.Settings(teacher="packaged"), "set --negatives"),
        (lambda: mrc.Settings(negative_count=0), "--negative-count 0"),
        (lambda: late_interaction.Settings(teacher="packaged"), "set --negatives"),
        (lambda: late_interaction.Settings(dimension=0), "--dimension 0"),
        (lambda: sts.Settings(max_grad_norm=0), "--max-grad-norm 0"),
    ],
)
def test_impossible_settings(make: Callable[[], Any], part: str) -> None:
    with pytest.raises(SettingsError, match=part):
        make()


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--data", "{data}", "--base-model", "{body}", "--max-length", "65"], "--max-length: max_length=65"),
        (["--data", "{data}", "--base-model", "{empty}"], "cannot be loaded as a CrossEncoder"),
        (["--data", "{empty}", "--base-model", "{body}"], "neither train.csv nor train.jsonl"),
    ],
)
def test_what_is_wrong_ends_the_program_with_one_line(
    flags: list[str], part: str, data: str, klue_language_model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"data": data, "body": klue_language_model, "empty": tmp_path / "empty"}
    with pytest.raises(SystemExit) as end:
        cross_encoder.main([*(flag.format(**places) for flag in flags), "--output", str(tmp_path / "run")])
    assert end.value.code == 2
    assert part in caplog.records[-1].getMessage()
    assert not (tmp_path / "run" / "model").exists()


# The tutorial's way ---------------------------------------------------------------------------------------------------


def test_held_out_rows_are_asked_every_so_many_steps_and_at_each_epochs_end(
    data: str, klue_language_model: str, tmp_path: Path
) -> None:
    settings = settings_of(
        sts, data, klue_language_model, tmp_path / "run", evaluation_steps=3, protocol="tutorial", precision="bf16"
    )
    outcome = sts.train(settings)
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [row["step"] for row in history if "eval_spearman" in row] == [3, 4, 6, 8]  # four steps an epoch
    assert outcome.precision == "bfloat16"  # on a CPU, because it was asked for
    assert outcome.rows == {"train": 16, "held_out": 2, "test": 6}


def test_a_base_with_prompts_becomes_a_model_that_is_used_as_it_was_trained(
    klue_language_model: str, tmp_path: Path
) -> None:
    model = SentenceTransformer(klue_language_model, device="cpu", prompts={"query": "질문 ", "document": "글 "})
    model.save_pretrained(str(tmp_path / "base"), create_model_card=False)
    fitting.load_model("SentenceTransformer", str(tmp_path / "base"), None).save_pretrained(
        str(tmp_path / "model"), create_model_card=False
    )
    plain = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(["이사"])[0]
    found = np.asarray(KlueEmbeddings(model=str(tmp_path / "model")).embed_query("이사"))
    assert found == pytest.approx(plain / np.linalg.norm(plain), abs=1e-5)
