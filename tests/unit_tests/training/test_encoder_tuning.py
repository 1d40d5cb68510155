"""The packaged encoder's tuning, on a tiny model: what it learns, and that an interrupted run goes on as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

from tests.tiny_models import TINY, save_bert_tokenizer
from tests.unit_tests.fakes import TEXTS
from training.data import EVERYDAY, FRESH_CORPORA, USUAL_CORPORA, read_jsonl
from training.packaged.encoder import READING_FILE, mean_of
from training.packaged.encoder_examples import Asked, remembered, to_read, written
from training.packaged.encoder_tuning import Examples, Settings, cosent_loss, ranking_loss, reading_loss, tune
from training.settings import SettingsError

EXAMPLES = Examples(
    questions=[Asked(text[:6], [text], [other for other in TEXTS if other != text]) for text in TEXTS],
    written=[Asked(text[:4], [text, text[:20]], [other for other in TEXTS if other != text]) for text in TEXTS],
    answered=[Asked(text[:4], [text], [other for other in TEXTS if other != text]) for text in TEXTS] * 2,
    unanswered=[Asked(text[:4], [], [other for other in TEXTS if other != text]) for text in TEXTS] * 2,
    similarity=[(text, text, 5.0) for text in TEXTS] + [(text, text[::-1], 0.0) for text in TEXTS],
    meaning=[(text, text[:8], "") for text in TEXTS[:2]] + [(text, text[:8], text[::-1]) for text in TEXTS[2:]],
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    pieces = save_bert_tokenizer(folder, [*TEXTS, "query: passage: "])
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=pieces, max_position_embeddings=256, **TINY)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(str(folder))
    return folder


def settings(base: Path, output: Path, steps: int = 8) -> Settings:
    return Settings(
        base_model=base, output=output, steps=steps, batch_size=2, wrong=1, frozen_layers=1, learning_rate=1e-3
    )


def weights(folder: Path) -> dict[str, object]:
    return dict(transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False).state_dict())


def test_what_is_frozen_stays_and_the_rest_learns(base: Path, tmp_path: Path) -> None:
    before = weights(base)
    after = weights(tune(settings(base, tmp_path / "run"), lambda _: EXAMPLES))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert all(name.startswith(("embeddings.", "encoder.layer.0.")) for name in same)
    assert any(name.startswith("encoder.layer.1.attention") for name in before.keys() - same)


def test_an_interrupted_run_ends_as_if_nothing_had_happened(base: Path, tmp_path: Path) -> None:
    whole = weights(tune(settings(base, tmp_path / "whole", 53), lambda _: EXAMPLES))
    run = settings(base, tmp_path / "run", 53)
    drawn = 0

    class Stopping(Examples):
        def draw(self, step: int, settings: Settings) -> tuple[str, list[object]]:
            nonlocal drawn
            drawn += 1
            if step == 51:  # after the checkpoint of step 50
                raise KeyboardInterrupt
            return super().draw(step, settings)

    with pytest.raises(KeyboardInterrupt):
        tune(run, lambda _: Stopping(**vars(EXAMPLES)))
    with pytest.raises(SettingsError, match="resume"):
        tune(run, lambda _: EXAMPLES)
    resumed = weights(tune(replace(run, resume=True), lambda _: EXAMPLES))
    assert drawn == 52
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_reading_is_learned_and_lies_beside_the_model(base: Path, tmp_path: Path) -> None:
    folder = tune(replace(settings(base, tmp_path / "run", 12), reading=1.0), lambda _: EXAMPLES)
    numbers = np.load(folder / READING_FILE)
    assert numbers.shape == (33,)
    assert np.abs(numbers).max() > 0
    again = tune(replace(settings(folder, tmp_path / "more", 1), reading=0.0), lambda _: EXAMPLES)
    assert np.load(again / READING_FILE) == pytest.approx(numbers)


def test_reading_takes_long_questions_and_kinds_with_few(base: Path, tmp_path: Path) -> None:
    """A question longer than a pair is cut as it is when the encoder serves; what was left out is not missed."""
    few = Examples(**{**vars(EXAMPLES), "questions": [Asked(TEXTS[0] * 12, TEXTS[:1], TEXTS[1:])], "answered": []})
    folder = tune(replace(settings(base, tmp_path / "run", 2), reading=1.0), lambda _: few)
    assert np.abs(np.load(folder / READING_FILE)).max() > 0


def test_reading_costs_less_where_the_answer_is_told_apart() -> None:
    rows = [Asked("언제?", ["내일", "모레"], ["어제"]), Asked("얼마?", [], ["어제", "내일"])]
    good = torch.tensor([4.0, -4.0, -4.0, -4.0, -4.0])  # one of two right windows is enough
    assert reading_loss(rows, good) < 0.5 < reading_loss(rows, -good)
    assert reading_loss(rows[1:], good[3:]) < 0.1  # nothing to find among windows where nothing answers


def test_questions_to_read_have_no_right_window_where_nothing_answers() -> None:
    rows = list(to_read())
    answered, unanswered = ([row for row in rows if bool(row.right) is known] for known in (True, False))
    assert len(answered) > 1000
    assert len(unanswered) > 300
    asked = {row.query for row in rows}
    for name in (*USUAL_CORPORA, *FRESH_CORPORA):  # what the confidence is fitted on
        own = [row for row in read_jsonl(EVERYDAY / name / "questions.jsonl") if row["kind"] != "off_topic"]
        assert len(asked & {row["question"] for row in own}) <= 1  # one may be asked, by chance, of several corpora
    assert all(row.wrong and not set(row.right) & set(row.wrong) for row in rows)


def test_the_mean_of_two_models_lies_between_them(base: Path) -> None:
    model, other = (transformers.AutoModel.from_pretrained(base, add_pooling_layer=False) for _ in range(2))
    before, name = model.state_dict(), "encoder.layer.1.output.dense.weight"
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    expected = before[name] + 0.25
    mean_of(model, other, 0.25)
    torch.testing.assert_close(model.state_dict()[name], expected)


def test_the_losses_fall_where_the_right_text_is_nearer() -> None:
    anchors = torch.eye(3)
    near, far, own = torch.eye(3), torch.eye(3).roll(1, 0), torch.eye(3, dtype=torch.bool)
    assert ranking_loss(anchors, near, own) < 0.01 < ranking_loss(anchors, far, own)
    one_of_two = torch.cat([own, own], 1)
    assert ranking_loss(anchors, torch.cat([near, -near]), one_of_two) < 0.01  # one right text that is near is enough
    as_near = torch.cat([own, ~own & own], 1)
    assert ranking_loss(anchors, torch.cat([near, near]), as_near) > ranking_loss(anchors, near, own)
    labels = torch.tensor([0.0, 2.5, 5.0])
    assert cosent_loss(torch.tensor([0.1, 0.5, 0.9]), labels) < cosent_loss(torch.tensor([0.9, 0.5, 0.1]), labels)


def test_windows_that_were_found_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"query": "언제?", "right": ["내일"], "wrong": ["어제"]}\n', encoding="utf-8")
    assert remembered(path, lambda: pytest.fail("sought again"), 0) == [Asked("언제?", ["내일"], ["어제"])]


def test_the_questions_written_for_this_have_right_windows_and_wrong_neighbours() -> None:
    rows = list(written())
    assert len(rows) > 150
    assert all(row.right and row.wrong and not set(row.right) & set(row.wrong) for row in rows)
