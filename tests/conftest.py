"""What all tests share: no network in unit tests, and tiny models shaped like KLUE's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, enable_socket

from tests.tiny_models import TINY

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

for _name, _examples in (("repeatable", 60), ("quick", 12)):
    settings.register_profile(
        _name,
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=_examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
settings.load_profile("repeatable")

UNIT_TESTS = Path(__file__).parent / "unit_tests"

#: Files and folders of unit tests that `make quick` leaves out: they start processes, train or attack.
SLOW = {
    "test_data_loss.py",
    "test_exact_sets.py",
    "test_fork.py",
    "test_hostile.py",
    "test_late_interaction.py",
    "test_package.py",
    "test_plain_pickle.py",
    "test_torture.py",
    "test_transformers.py",
    "training",
}

#: Positions of the tiny models; RoBERTa keeps the first two (padding token 1, plus one) for itself.
POSITIONS = 66
#: Tokens that they can read.
USABLE_LENGTH = 64

_SYLLABLES = (
    "가각간강개거건검게결경계고공과관교구국군그금급기길김나날남내너노눈는니다당대도동되두드들등라람려로를름리마만말머면모무문물"
    "미바반발방버법보부분비사산상생서석선설성세소속수술시식신실심아안알약양어언업에여연영예오와용우운원월유은을음의이인일입자작장"
)


def _is_quick(config: pytest.Config) -> bool:
    return config.option.markexpr == "not slow"


def pytest_configure(config: pytest.Config) -> None:
    if _is_quick(config):
        settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A module that is slow as a whole is not even imported by `make quick`: some import the trainers."""
    return True if _is_quick(config) and _is_slow(collection_path) else None


def _is_slow(path: Path) -> bool:
    return UNIT_TESTS in path.parents and bool(SLOW & set(path.relative_to(UNIT_TESTS).parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_slow(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if UNIT_TESTS in item.path.parents:
        disable_socket(allow_unix_socket=True)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    enable_socket()


def klue_tokenizer(folder: Path) -> Any:
    """A BertTokenizer as KLUE's: padding is number 1, pairs get token types 0 and 1."""
    from transformers import BertTokenizerFast

    vocabulary = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *_SYLLABLES]
    vocabulary += [f"##{syllable}" for syllable in _SYLLABLES[: 200 - len(vocabulary)]]
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(vocabulary)}, do_lower_case=False)
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.save_pretrained(str(folder))
    return tokenizer


def klue_config(**others: Any) -> Any:
    """The shape of klue/roberta, tiny: one token type, positions counted from after the padding."""
    from transformers import RobertaConfig

    return RobertaConfig(
        vocab_size=200,
        **TINY,
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        initializer_range=0.3,  # so that different texts get clearly different scores
        **others,
    )


def save_klue_cross_encoder(folder: Path, num_labels: int = 1) -> Path:
    """Save a cross-encoder as published KLUE derivatives are: nothing repaired."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    from transformers import RobertaForSequenceClassification

    torch.manual_seed(7)
    RobertaForSequenceClassification(klue_config(num_labels=num_labels)).eval().save_pretrained(str(folder))
    klue_tokenizer(folder)
    return folder


def save_klue_language_model(folder: Path) -> Path:
    """Save a tiny language model as klue/roberta is: nothing repaired."""
    import torch
    from transformers import RobertaForMaskedLM

    torch.manual_seed(7)
    RobertaForMaskedLM(klue_config()).save_pretrained(str(folder))
    klue_tokenizer(folder)
    return folder


def save_klue_body(folder: Path) -> None:
    """Save a tiny body without a head as klue/roberta is: nothing repaired."""
    import torch
    from transformers import RobertaModel

    torch.manual_seed(7)
    RobertaModel(klue_config(), add_pooling_layer=False).eval().save_pretrained(str(folder))
    klue_tokenizer(folder)


@pytest.fixture(scope="session")
def klue_language_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny language model, shaped like KLUE's and not repaired: what the recipes train."""
    return str(save_klue_language_model(tmp_path_factory.mktemp("klue-language-model")))


@pytest.fixture(scope="session")
def klue_cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny KLUE-shaped cross-encoder that crashes on every pair unless it is repaired."""
    pytest.importorskip("torch")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = tmp_path_factory.mktemp("klue-cross-encoder")
    save_klue_cross_encoder(folder / "body")
    model = sentence_transformers.CrossEncoder(str(folder / "body"), device="cpu")
    model.save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="session")
def late_interaction_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny KLUE-shaped late-interaction model, vectors of 16 numbers."""
    torch = pytest.importorskip("torch")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    if not hasattr(sentence_transformers, "MultiVectorEncoder"):
        pytest.skip("late interaction needs sentence-transformers 6.0")
    from sentence_transformers.base.modules.dense import Dense

    folder = tmp_path_factory.mktemp("late-interaction")
    save_klue_body(folder / "body")
    model = sentence_transformers.MultiVectorEncoder(str(folder / "body"), device="cpu")
    model[1] = Dense(32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    model.save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="session")
def klue_bi_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny KLUE-shaped bi-encoder, mean pooling."""
    pytest.importorskip("torch")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = tmp_path_factory.mktemp("klue-bi-encoder")
    save_klue_body(folder / "body")
    model = sentence_transformers.SentenceTransformer(str(folder / "body"), device="cpu")
    model.save_pretrained(str(folder / "model"))
    return folder / "model"
