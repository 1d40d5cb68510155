"""What travels to a rented GPU and back, and the run there, in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit_tests.training.test_base import original
from tests.unit_tests.training.texts import data_folder

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("faiss")

from sentence_transformers import CrossEncoder, SentenceTransformer  # noqa: E402

from training.experiments import rented_gpu  # noqa: E402
from training.recipes import base  # noqa: E402

TEXTS = ["강물이 바다로", "산에서 바다를 본다", "강과 산"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    body, tokenizer = original()
    folder = tmp_path_factory.mktemp("packed")
    base.save(body, tokenizer, folder / "base")
    data = data_folder(folder / "data", apart=True)
    rented_gpu.main(
        ["pack", "--base-model", str(folder / "base"), "--data", str(data), "--output", str(folder / "packed")]
    )
    return folder


def test_a_packed_model_is_a_quarter_as_large_and_almost_the_same(packed: Path, tmp_path: Path) -> None:
    rented_gpu.main(["unpack", "--packed", str(packed / "packed" / "base.zip"), "--output", str(tmp_path / "model")])
    before, after = (SentenceTransformer(str(folder), device="cpu") for folder in (packed / "base", tmp_path / "model"))
    cosines = np.einsum("ij,ij->i", before.encode(TEXTS), after.encode(TEXTS))
    assert cosines.min() > 0.999
    assert {path.name for path in (tmp_path / "model").iterdir()} == {path.name for path in (packed / "base").iterdir()}


def test_what_is_too_large_is_refused(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rented_gpu, "LARGEST", 1000)
    with pytest.raises(SystemExit, match="may travel"):
        rented_gpu.pack(packed / "base", packed / "data", tmp_path / "packed")


@pytest.mark.slow
def test_the_run_brings_back_report_figures_and_models(packed: Path, tmp_path: Path) -> None:
    small = ["--batch-size", "4", "--questions", "4", "--fetch-k", "4", "--max-length", "32"]
    assert rented_gpu.train(packed / "packed", tmp_path / "out", 5, small) == 0, (tmp_path / "out/log.txt").read_text()
    assert "72.47" in (tmp_path / "out" / "report" / "report.md").read_text(encoding="utf-8")
    rented_gpu.unpack_model(tmp_path / "out" / "cross_encoder.zip", tmp_path / "cross")
    assert len(CrossEncoder(str(tmp_path / "cross"), device="cpu").predict([("강", "산"), ("강", "바다")])) == 2
    assert (tmp_path / "out" / "retrieval" / "tutorial_reranked.json").exists()
    assert not list((tmp_path / "out").rglob("wrong_passages.json"))


@pytest.mark.slow
def test_when_the_minutes_are_over_what_is_finished_comes_back(packed: Path, tmp_path: Path) -> None:
    assert rented_gpu.train(packed / "packed", tmp_path / "out", 31 / 60) == -1
    assert (tmp_path / "out" / "log.txt").exists()
