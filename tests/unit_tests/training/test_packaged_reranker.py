"""The parts of the recipe of the packaged reranker."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from langchain_klue_rerank.engine.models import packaged_bi_encoder
from langchain_klue_rerank.engine.text import shared_analyzer, tokenize
from training.data import Pair
from training.reranker_examples import FirstStage, make_kind

PASSAGE = "이사한 사람은 14일 안에 주민센터에서 전입신고를 해야 한다."


def test_the_first_stage_is_that_of_the_retriever() -> None:
    others = [f"{name}에서는 매주 {number}번 장이 선다." for number, name in enumerate(("동해", "남해", "서해"))]
    kind = make_kind(
        "사람", [Pair("전입신고는 언제 하나요?", f"전입신고\n{PASSAGE}"), *(Pair("장", o) for o in others)]
    )
    scores, cosines = FirstStage(kind, packaged_bi_encoder(), 0.25).scores(
        tokenize(["전입신고는 언제 하나요?"], shared_analyzer())
    )
    assert scores.shape == cosines.shape == (4,)
    assert scores.argmax() == cosines.argmax() == 0
    assert ((scores >= 0) & (scores <= 1)).all()
