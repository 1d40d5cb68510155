"""Pre-training on a few sentences of our own: the tokenizer, hidden words, warm vectors, the run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit_tests.training.texts import question_rows, scored_rows

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")

import numpy as np  # noqa: E402
from sentence_transformers import CrossEncoder, SentenceTransformer  # noqa: E402
from transformers import AutoTokenizer, RobertaForMaskedLM  # noqa: E402

from training.experiments import klue_tokenizer, pretrain, warm_start  # noqa: E402
from training.experiments.masking import WordMasking, pack  # noqa: E402
from training.recipes import late_interaction  # noqa: E402
from training.recipes.fitting import load_model  # noqa: E402
from training.recipes.runs import Outcome  # noqa: E402
from training.settings import SettingsError  # noqa: E402

_SENTENCES = [row["context"] for row in question_rows()] + [row["sentence1"] for row in scored_rows()]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return klue_tokenizer.learn(_SENTENCES * 3, 1500, 64)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "own.txt"
    lines = [f"{number}번째 글. {sentence}" for number in range(60) for sentence in _SENTENCES[number % 7 :: 7]]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def settings(text: Path, output: Path, **others: Any) -> pretrain.Settings:
    shape = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 64, "vocab": 1000, "max_positions": 66}
    values = {"batch_size": 8, "learning_rate": 1e-2, "steps": 6, "checkpoint_steps": 3, **shape, **others}
    return pretrain.Settings(data=text, output=output, max_length=32, **values)


def prepared(outcome: Outcome, folder: Path) -> None:
    """Give a run the tokenizer and the blocks of another one."""
    shutil.copytree(outcome.model.parent / "tokenizer", folder / "tokenizer")
    shutil.copy(outcome.model.parent / "blocks.npz", folder)


@pytest.fixture(scope="module")
def outcome(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return pretrain.train(settings(text, tmp_path_factory.mktemp("run") / "pretrain", steps=40))


def test_special_tokens_have_the_numbers_of_klue(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids(["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]) == [0, 1, 2, 3, 4]


def test_the_vocabulary_keeps_to_morphemes_and_knows_all_that_it_learnt_from(tokenizer: Any) -> None:
    assert len(tokenizer) <= 1500
    assert tokenizer.tokenize("여권은") == ["여권", "##은"]
    assert all(tokenizer.unk_token not in tokenizer.tokenize(sentence) for sentence in _SENTENCES)


def test_a_saved_tokenizer_is_a_bert_tokenizer_with_two_token_types(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded).__name__.startswith("BertTokenizer")
    assert loaded("가", "나")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert loaded("Kim과 kim")["input_ids"] == tokenizer("Kim과 kim")["input_ids"]


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        klue_tokenizer.learn(["하나 둘"], 100, 64)


def test_blocks_are_full_and_lose_no_token_but_the_last_ones(tokenizer: Any) -> None:
    blocks = pack(_SENTENCES, tokenizer, 16)
    assert (blocks[:, 0] == 0).all()
    assert (blocks[:, -1] == 2).all()
    expected = [n for text in _SENTENCES for n in [*tokenizer(text, add_special_tokens=False)["input_ids"], 2]]
    assert blocks[:, 1:-1].ravel().tolist() == expected[: blocks.shape[0] * 14]


def test_whole_words_are_hidden_and_special_tokens_never(tokenizer: Any) -> None:
    ids = torch.from_numpy(pack(_SENTENCES * 5, tokenizer, 32)).long()
    hidden = WordMasking(tokenizer, 0.3).hide(ids, torch.Generator().manual_seed(0))
    asked = hidden["labels"] != -100
    assert 0.2 < asked.float().mean() < 0.4
    assert (hidden["labels"][asked] == ids[asked]).all()
    assert not asked[ids < 5].any()
    follows = torch.tensor([[token.startswith("##") for token in tokenizer.convert_ids_to_tokens(row)] for row in ids])
    assert (asked[:, 2:] == asked[:, 1:-1])[follows[:, 2:]].all()  # a block may begin within a word
    unchanged = (hidden["input_ids"] == ids)[asked].float().mean()
    assert unchanged < 0.3
    assert (hidden["input_ids"] == ids)[~asked].all()


@pytest.mark.parametrize("hidden", [32, 600])
def test_warm_vectors_know_what_is_alike(tokenizer: Any, hidden: int) -> None:
    table = warm_start.warm_embeddings(tokenizer, hidden, 0.02)
    assert table.shape == (len(tokenizer), hidden)
    assert not table[tokenizer.all_special_ids].any()
    assert not table[tokenizer.convert_tokens_to_ids(".")].any()
    days = table[tokenizer.convert_tokens_to_ids(["월요일", "화요일", "여권"])]
    days = days / np.linalg.norm(days, axis=1, keepdims=True)
    assert days[0] @ days[1] > days[0] @ days[2]


def test_the_run_learns_and_leaves_a_model_of_klues_kind(outcome: Outcome) -> None:
    assert outcome.complete
    assert outcome.steps == 40
    assert outcome.after["held-out loss"] < outcome.before["held-out loss"]
    assert type(RobertaForMaskedLM.from_pretrained(outcome.model)).__name__ == "RobertaForMaskedLM"
    folder = outcome.model.parent
    assert Outcome.load(folder / "outcome.json") == outcome
    assert (folder / "training.png").stat().st_size > 0
    assert "held-out loss" in (outcome.model / "README.md").read_text(encoding="utf-8").lower()


def test_the_model_is_a_base_for_the_recipes(outcome: Outcome) -> None:

    bi_encoder = load_model("SentenceTransformer", str(outcome.model), None)
    assert isinstance(bi_encoder, SentenceTransformer)
    assert bi_encoder.encode(["도서관은 월요일마다 쉰다."]).shape == (1, 32)
    cross_encoder = load_model("CrossEncoder", str(outcome.model), None)
    assert isinstance(cross_encoder, CrossEncoder)
    assert len(cross_encoder.predict([("도서관", "책")])) == 1


def test_a_resumed_run_ends_like_an_uninterrupted_one(
    text: Path, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same vocabulary for both: two learnt from one text differ where pieces are equally frequent.
    prepared(outcome, tmp_path / "whole")
    prepared(outcome, tmp_path / "cut")
    whole = pretrain.train(settings(text, tmp_path / "whole", resume=True))

    def stop(self: Any, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.global_step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretrain.Budget, "on_step_end", stop)
        with pytest.raises(KeyboardInterrupt):
            pretrain.train(settings(text, tmp_path / "cut", resume=True))
    resumed = pretrain.train(settings(text, tmp_path / "cut", resume=True))
    assert resumed.after == whole.after
    assert resumed.before == whole.before
    assert resumed.steps == whole.steps


def test_a_time_budget_is_planned_in_steps_and_kept(text: Path, tmp_path: Path) -> None:
    outcome = pretrain.train(settings(text, tmp_path / "run", steps=None, max_minutes=0.02))
    assert outcome.steps >= 1
    assert (tmp_path / "run" / "plan.json").exists()
    assert (
        pretrain.train(settings(text, tmp_path / "run", steps=None, max_minutes=9, resume=True)).steps >= outcome.steps
    )


def test_a_folder_with_a_run_is_not_overwritten(text: Path, outcome: Outcome) -> None:
    with pytest.raises(SettingsError, match="--resume"):
        pretrain.train(settings(text, outcome.model.parent, steps=40))
    with pytest.raises(SettingsError, match="layers=1"):
        pretrain.train(settings(text, outcome.model.parent, steps=40, layers=2, resume=True))


@pytest.mark.parametrize(
    ("others", "part"),
    [({"heads": 5}, "--heads 5"), ({"max_positions": 20}, "--max-positions"), ({"masking": 1.0}, "--masking")],
)
def test_impossible_settings(others: dict[str, Any], part: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=part):
        settings(tmp_path / "none.txt", tmp_path, **others)


def test_missing_data_ends_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="error: "):
        pretrain.main(["--data", str(tmp_path / "nowhere"), "--output", str(tmp_path / "out")])


def test_a_start_that_finds_matches_is_a_base_of_the_pair_recipes(text: Path, outcome: Outcome, tmp_path: Path) -> None:
    prepared(outcome, tmp_path / "run")
    shape = {"layers": 3, "hidden": 64, "heads": 4, "steps": 0, "start": "matching", "resume": True}
    started = pretrain.train(settings(text, tmp_path / "run", **shape))
    config = RobertaForMaskedLM.from_pretrained(started.model).config
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0
    assert config.matching_start
    cross_encoder = load_model("CrossEncoder", str(started.model), None)
    assert len(cross_encoder.predict([("도서관", "책")])) == 1
    late = load_model("MultiVectorEncoder", str(started.model), None)
    late_interaction._project(late, 128)  # the dimension it has anyway, of random numbers
    assert late[1].linear.bias is not None
    assert late.encode_query(["도서관"])[0].shape[1] == 128


def test_a_body_too_small_to_find_matches_is_refused_at_once(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too small"):
        settings(text, tmp_path / "run", start="matching")
