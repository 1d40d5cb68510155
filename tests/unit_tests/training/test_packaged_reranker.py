"""The parts of the recipe of the packaged reranker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.models.opening import packaged_bi_encoder
from langchain_klue_rerank.engine.models.packaged.cross_encoder import PairScorer
from langchain_klue_rerank.engine.models.packaged.match_features import PAIR_FEATURES, pair_features
from langchain_klue_rerank.engine.models.packaged.query_terms import prepare_query
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from training.data import Pair, heading_pairs
from training.experiments.unseen_kinds import folds
from training.packaged.reranker import Network, Settings, write_weights
from training.packaged.reranker_examples import FirstStage, make_kind

PASSAGE = "이사한 사람은 14일 안에 주민센터에서 전입신고를 해야 한다."


def test_the_first_stage_is_that_of_the_retriever() -> None:
    others = [f"{name}에서는 매주 {number}번 장이 선다." for number, name in enumerate(("동해", "남해", "서해"))]
    kind = make_kind(
        "사람", [Pair("전입신고는 언제 하나요?", f"전입신고\n{PASSAGE}"), *(Pair("장", o) for o in others)]
    )
    scores, cosines, lexical = FirstStage(kind, packaged_bi_encoder(), 0.25).scores(
        tokenize(["전입신고는 언제 하나요?"], shared_analyzer()), "전입신고는 언제 하나요?"
    )
    assert scores.shape == cosines.shape == lexical.shape == (4,)
    assert scores.argmax() == cosines.argmax() == lexical.argmax() == 0
    assert ((scores >= 0) & (scores <= 1)).all()


def test_headings_ask_for_the_text_below_them() -> None:
    text = "창을 닫으면 저장하지 않은 글은 사라집니다."
    lines = [
        "머리말",
        "## 창을 닫는 방법",
        text,
        text,
        "# 짧은 글의 제목",
        "끝",
        "# 둘뿐",
        text,
        "# 두 번 나오는 제목",
        text,
        "# 두 번 나오는 제목",
        text,
    ]
    assert heading_pairs(lines, shortest=20, limit=30) == [Pair("창을 닫는 방법", f"{text} {text}"[:30])]


def test_questions_about_one_thing_are_in_one_fold() -> None:
    pairs = [Pair(f"질문 {number}", f"글 {number}") for number in range(40)]
    kind = make_kind("welfare", pairs, [f"제도 {number // 4}" for number in range(40)])
    found = folds(kind).reshape(10, 4)
    assert (found == found[:, :1]).all()
    assert len(np.unique(found)) == 3


def test_the_networks_that_serve_are_those_that_were_trained(tmp_path: Path) -> None:
    passages = tokenize([PASSAGE, "동해에서는 매주 장이 선다.", "", "신고 안내"], shared_analyzer())
    query = tokenize(["전입신고는 언제까지 해야 하나요?"], shared_analyzer())
    cosines = np.asarray([0.5, 0.1, 0.0, 0.3], np.float32)
    packaged = PairScorer.load(WEIGHTS / "reranker")
    torch.manual_seed(0)
    settings = Settings()
    networks = [Network(settings, torch.zeros(PAIR_FEATURES), torch.ones(PAIR_FEATURES)).eval() for _ in range(2)]
    vectors = np.ones((1, 4), np.int8)
    out = tmp_path / "reranker"
    write_weights(out, packaged.statistics, ["신고/NNG"], vectors, networks, settings.anchor, (0.7, -1.0), {})

    scorer = PairScorer.load(out)
    terms = prepare_query(query, packaged.statistics.idf, scorer.vectors)
    features = pair_features(terms, passages, scorer.vectors, cosines, None, 0)
    inputs = [features.matches, features.terms, np.asarray(len(features.terms)), features.pairs]
    # padded, as a batch of training is
    room = ((0, 0), (0, 3), (0, 0))
    inputs[0], inputs[1] = np.pad(inputs[0], room), np.pad(inputs[1], room[1:])
    with torch.no_grad():
        logits = np.mean(
            [one(*(torch.from_numpy(each)[None] for each in inputs))[0].numpy() for one in networks], axis=0
        )
    expected = np.where(passages.lengths() > 0, 1 / (1 + np.exp(-(0.7 * logits - 1.0))), 0)
    np.testing.assert_allclose(scorer.score(query, passages, cosines), expected, atol=1e-5)
