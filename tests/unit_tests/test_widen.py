"""The benchmark's widened model is the model itself, only slower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.widen import widen
from langchain_klue_rerank import KlueReranker
from tests.tiny_models import save_bert_cross_encoder
from tests.unit_tests.fakes import QUESTION, TEXTS


@pytest.mark.parametrize("shape", ["klue", "bert"])
def test_a_widened_model_gives_the_same_scores(shape: str, klue_cross_encoder_folder: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig

    folder = klue_cross_encoder_folder if shape == "klue" else save_bert_cross_encoder(tmp_path / "bert")
    torch.manual_seed(0)
    wide = widen(folder, tmp_path / "wide", 3)
    [narrow_scores] = KlueReranker(model=str(folder), model_kwargs={"device": "cpu"}).score([QUESTION], [TEXTS])
    [wide_scores] = KlueReranker(model=str(wide), model_kwargs={"device": "cpu"}).score([QUESTION], [TEXTS])
    np.testing.assert_allclose(wide_scores, narrow_scores, atol=1e-5)
    assert np.ptp(narrow_scores) > 0.01
    config, before = AutoConfig.from_pretrained(wide), AutoConfig.from_pretrained(folder)
    assert config.hidden_size == 3 * before.hidden_size
    assert config.num_attention_heads == 3 * before.num_attention_heads
    with pytest.raises(FileExistsError):
        widen(folder, wide)
