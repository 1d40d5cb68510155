"""The example adapts the packaged weights and then finds what it did not find before."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from examples import adapt_packaged_model
from langchain_klue_rerank import KlueEmbeddings

QUESTION = "집에서 일하고 싶은데 누구 허락을 받나요?"
ANSWER = "재택근무는"


def test_an_adapted_model_finds_what_the_packaged_one_does_not(tmp_path: Path) -> None:
    assert QUESTION not in {q for questions in adapt_packaged_model.HANDBOOK.values() for q in questions}
    [before] = adapt_packaged_model.handbook_retriever(KlueEmbeddings()).invoke(QUESTION)
    assert ANSWER not in before.page_content
    [after] = adapt_packaged_model.build_retriever(tmp_path / "model").invoke(QUESTION)
    assert ANSWER in after.page_content
