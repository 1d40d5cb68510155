"""Models of sentence-transformers, on tiny ones that have KLUE's traps."""

from __future__ import annotations

import logging
import shutil
import time
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langchain_klue_rerank.engine.models.options import CrossEncoderOptions
from langchain_klue_rerank.engine.models.transformer.bi_encoder import TorchBiEncoder
from langchain_klue_rerank.engine.models.transformer.cross_encoder import TransformerCrossEncoder
from langchain_klue_rerank.errors import ModelLoadError, ModelOutputError
from tests.conftest import POSITIONS, USABLE_LENGTH, save_klue_cross_encoder
from tests.parallel import in_threads
from tests.unit_tests.engine import helpers

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

OPTIONS = CrossEncoderOptions(device="cpu", batch_size=8)
QUERIES = ["강물 산 가나", "계약 기간", "일"]
PASSAGES = [
    ["산 강물", "가나 다라 마바 사아", "모르는 쿼츠 말", "물"],
    ["계약 기간 결정", "보험 금"],
    ["일 월 시간", "연", "국 경 강 산 물"],
]


@pytest.fixture(scope="module")
def cross_encoder(klue_cross_encoder_folder: Path) -> TransformerCrossEncoder:
    return TransformerCrossEncoder(str(klue_cross_encoder_folder), OPTIONS)


@pytest.fixture(scope="module")
def bi_encoder(klue_bi_encoder_folder: Path) -> TorchBiEncoder:
    return TorchBiEncoder(str(klue_bi_encoder_folder), OPTIONS)


def score(model: Any, query: str, *passages: str) -> list[float]:
    [scores] = helpers.score(model, [query], [list(passages)])
    assert scores.dtype == np.float32
    return list(scores.tolist())


# Cross-encoders


def test_the_trap_is_there(klue_cross_encoder_folder: Path) -> None:
    """Without the repair every pair crashes; should this pass one day, the repair can go."""
    plain = sentence_transformers.CrossEncoder(str(klue_cross_encoder_folder), device="cpu")
    with pytest.raises(IndexError, match="out of range"):
        plain.predict([("강물", "산")])


def test_nothing_to_score(cross_encoder: TransformerCrossEncoder) -> None:
    assert helpers.score(cross_encoder, [], []) == []
    assert [own.tolist() for own in helpers.score(cross_encoder, ["강", "산"], [[], []])] == [[], []]
    first, second, third = helpers.score(cross_encoder, ["강", "산", "물"], [[], ["가나"], []])
    assert (len(first), len(second), len(third)) == (0, 1, 0)


def test_empty_texts_and_odd_characters_get_a_score(cross_encoder: TransformerCrossEncoder) -> None:
    for query in ("", "강", "😀", "\ud83d", "\x00"):
        for value in score(cross_encoder, query, "", " ", "강", "😀", "반 \udc00 쪽", "\u200b"):
            assert 0 <= value <= 1


def test_decomposed_text_gets_the_same_score(cross_encoder: TransformerCrossEncoder) -> None:
    decomposed = unicodedata.normalize("NFD", "계약 기간")
    assert score(cross_encoder, decomposed, decomposed) == score(cross_encoder, "계약 기간", "계약 기간")


FILLER = "강 산 물 국 경 시 군 구 도 동"


def words(count: int) -> list[str]:
    return (FILLER.split() * count)[:count]


def test_all_tokens_that_the_model_has_positions_for_are_read(cross_encoder: TransformerCrossEncoder) -> None:
    room = USABLE_LENGTH - 3 - 1  # [CLS], two [SEP], a query of one token
    full = words(room)
    changed = [*full[:-1], "일"]
    [one, other] = score(cross_encoder, "강", " ".join(full), " ".join(changed))
    assert one != pytest.approx(other, abs=1e-6)  # the last token counts
    assert POSITIONS - 2 == USABLE_LENGTH


def test_a_long_passage_counts_as_its_best_window(cross_encoder: TransformerCrossEncoder) -> None:
    room = USABLE_LENGTH - 3 - 1
    step = int(room * 0.75)
    candidates = ["계 약 기 간", "보 험 금 일", "일 월 원 연", "서 식 신 용", "업 무 부 분", "연 장 입 국"]
    filler = words(room + 2 * step - 4)  # three windows, the last of them full
    windows = {}
    for end in candidates:  # what stands at the far end decides for one of them at least
        passage = [*filler, *end.split()]
        windows[end] = score(
            cross_encoder,
            "강",
            *(" ".join(passage[start : start + room]) for start in range(0, len(passage) - room + 1, step)),
        )
        [whole] = score(cross_encoder, "강", " ".join(passage))
        assert whole == pytest.approx(max(windows[end]), abs=1e-5)
    assert any(scores[-1] == max(scores) and scores[-1] > scores[0] + 1e-3 for scores in windows.values())


def test_a_very_long_passage_is_read_to_its_end(cross_encoder: TransformerCrossEncoder) -> None:
    [without] = score(cross_encoder, "강", " ".join(words(400)))
    ends = [" ".join([*words(400), *end.split()]) for end in ("계 약 기 간", "보 험 금", "일 월 원", "서 식 신 용")]
    assert any(value > without + 1e-4 for value in score(cross_encoder, "강", *ends))


def test_more_than_the_model_can_read_is_refused(klue_cross_encoder_folder: Path, klue_bi_encoder_folder: Path) -> None:
    for wanted in (USABLE_LENGTH + 1, POSITIONS, 512):
        with pytest.raises(ValueError, match=f"max_length={wanted} .* {USABLE_LENGTH} tokens"):
            TransformerCrossEncoder(
                str(klue_cross_encoder_folder), CrossEncoderOptions(device="cpu", max_length=wanted)
            )
        with pytest.raises(ValueError, match=f"max_length={wanted} .* {USABLE_LENGTH} tokens"):
            TorchBiEncoder(str(klue_bi_encoder_folder), CrossEncoderOptions(device="cpu", max_length=wanted))
    TransformerCrossEncoder(str(klue_cross_encoder_folder), CrossEncoderOptions(device="cpu", max_length=USABLE_LENGTH))


@pytest.mark.parametrize("max_length", [8, 16])
def test_a_shorter_window_reads_the_whole_passage_too(klue_cross_encoder_folder: Path, max_length: int) -> None:
    model = TransformerCrossEncoder(
        str(klue_cross_encoder_folder), CrossEncoderOptions(device="cpu", max_length=max_length)
    )
    room = max_length - 3 - 1
    passage = words(40)
    step = int(room * 0.75)
    parts = [" ".join(passage[start : start + room]) for start in range(0, 40, step)]
    [whole] = score(model, "강", " ".join(passage))
    assert whole >= max(score(model, "강", *parts[: (40 - room) // step + 1])) - 1e-5


def test_a_long_query_is_cut_with_a_warning(
    cross_encoder: TransformerCrossEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    limit = (USABLE_LENGTH - 3) // 2
    with caplog.at_level(logging.WARNING):
        long = score(cross_encoder, " ".join(words(200)), "계약 기간")
    assert f"200 tokens; {cross_encoder._name} reads its first {limit}" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        cut = score(cross_encoder, " ".join(words(limit)), "계약 기간")
    assert caplog.text == ""
    assert long == pytest.approx(cut, abs=1e-6)


class OneAtATime:
    """Says whether several threads were ever inside at once."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.calls = 0

    def watch(self, function: Any) -> Any:
        def watched(*arguments: Any, **settings: Any) -> Any:
            self.inside += 1
            self.calls += 1
            self.most = max(self.most, self.inside)
            try:
                time.sleep(0.002)
                return function(*arguments, **settings)
            finally:
                self.inside -= 1

        return watched


def test_a_bi_encoders_tokenizer_is_never_used_by_two_threads_at_once(
    bi_encoder: TorchBiEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fast tokenizer keeps its truncation in one object: counting in one thread crashes another that predicts."""
    guard = OneAtATime()
    monkeypatch.setattr(bi_encoder._model, "encode_document", guard.watch(bi_encoder._model.encode_document))
    in_threads(lambda: bi_encoder.encode(["강물"], "passage"), 6)
    assert guard.calls == 6
    assert guard.most == 1


def spoil(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))


def test_nan_weights_are_an_error(klue_cross_encoder_folder: Path, klue_bi_encoder_folder: Path) -> None:
    cross_encoder = TransformerCrossEncoder(str(klue_cross_encoder_folder), OPTIONS)
    spoil(cross_encoder._model.compute.model)
    with pytest.raises(ModelOutputError, match="NaN"):
        helpers.score(cross_encoder, ["강"], [["산"]])
    bi_encoder = TorchBiEncoder(str(klue_bi_encoder_folder), OPTIONS)
    spoil(bi_encoder._model)
    with pytest.raises(ModelOutputError, match="NaN"):
        bi_encoder.encode(["강"], "query")


def test_a_classifier_is_no_reranker(tmp_path: Path) -> None:
    save_klue_cross_encoder(tmp_path, num_labels=3)
    with pytest.raises(ModelLoadError, match="3 outputs"):
        TransformerCrossEncoder(str(tmp_path), OPTIONS)


@pytest.mark.parametrize("damage", [b"", b"no weights", None])
def test_damaged_weights_name_the_model(klue_cross_encoder_folder: Path, tmp_path: Path, damage: bytes | None) -> None:
    folder = tmp_path / "model"
    shutil.copytree(klue_cross_encoder_folder, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000] if damage is None else damage)
    with pytest.raises(ModelLoadError) as caught:
        TransformerCrossEncoder(str(folder), OPTIONS)
    assert str(folder) in str(caught.value)


# Bi-encoders


@pytest.mark.parametrize(
    ("name", "prompt"), [("multilingual-e5-small", "query: "), ("multilingual-e5-large-instruct", ""), ("bge-m3", "")]
)
def test_e5_gets_its_prompts_though_its_files_name_none(
    klue_bi_encoder_folder: Path, tmp_path: Path, name: str, prompt: str
) -> None:
    folder = shutil.copytree(klue_bi_encoder_folder, tmp_path / name)
    plain, named = TorchBiEncoder(str(klue_bi_encoder_folder), OPTIONS), TorchBiEncoder(str(folder), OPTIONS)
    assert named.encode(["강물"], "query") == pytest.approx(plain.encode([prompt + "강물"], "query"), abs=1e-5)
    unprompted = TorchBiEncoder(str(folder), OPTIONS, query_prompt="")
    assert unprompted.encode(["강물"], "query") == pytest.approx(plain.encode(["강물"], "query"), abs=1e-5)
