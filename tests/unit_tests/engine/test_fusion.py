from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from langchain_klue_rerank.engine.index.fusion import (
    ACCIDENT,
    fuse_scores,
    reciprocal_rank_fusion,
    top,
    with_leading,
)
from langchain_klue_rerank.engine.rerank.ranker import blend_scores

SCORES = arrays(
    np.float32, st.integers(0, 30), elements=st.sampled_from([0.0, 0.1, 0.25, 0.25, 0.5, 0.75, 1.0]).map(np.float32)
)


def test_fused_scores_are_a_weighted_mean() -> None:
    lexical = np.asarray([1.0, 0.5, 0.0], np.float32)
    dense = np.asarray([0.5, -0.5, 1.0], np.float32)
    fused = fuse_scores(lexical, dense, 2.0)
    assert fused.dtype == np.float32
    evidence = [1 / (1 + ACCIDENT**4), 0.5**5 / (0.5**4 + ACCIDENT**4), 0]
    np.testing.assert_allclose(fused, [(evidence[0] + 1) / 3, evidence[1] / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(fuse_scores(lexical, dense, 0.0), evidence, rtol=1e-6)


def test_words_decide_where_they_match_and_the_meaning_where_they_hardly_do() -> None:
    right, other = np.asarray([0.4, 0.3], np.float32), np.asarray([0.3, 0.5], np.float32)
    assert fuse_scores(right, other, 0.25).argmax() == 0
    accidents = np.asarray([0.08, 0.04], np.float32)  # the same cosines, and the same order of the words
    assert fuse_scores(accidents, other, 0.25).argmax() == 1


@given(SCORES)
def test_without_dense_scores_the_order_is_that_of_the_words(lexical: np.ndarray) -> None:
    fused = fuse_scores(lexical, np.zeros_like(lexical), 0.0)
    assert np.argsort(-fused, kind="stable").tolist() == np.argsort(-lexical, kind="stable").tolist()


@given(SCORES, st.floats(0, 100))
def test_fused_scores_stay_between_0_and_1(lexical: np.ndarray, weight: float) -> None:
    fused = fuse_scores(lexical, lexical[::-1] * 2 - 1, weight)
    assert ((fused >= 0) & (fused <= 1 + 1e-6)).all()


def test_reciprocal_rank_fusion_by_hand() -> None:
    fused = reciprocal_rank_fusion([["가", "나", "다"], ["나", "라"]])
    assert list(fused) == ["나", "가", "라", "다"]
    assert fused["나"] == pytest.approx((61 / 62 + 1) / 2)
    assert fused["가"] == pytest.approx(1 / 2)
    assert fused["라"] == pytest.approx(61 / 62 / 2)
    assert fused["다"] == pytest.approx(61 / 63 / 2)
    assert reciprocal_rank_fusion([["가"], ["가"]]) == {"가": 1.0}
    assert reciprocal_rank_fusion([]) == {}
    assert reciprocal_rank_fusion([[], []]) == {}


def test_reciprocal_rank_fusion_counts_an_item_once_a_ranking() -> None:
    assert reciprocal_rank_fusion([["가", "가", "나"]]) == reciprocal_rank_fusion([["가", "나"]])


def test_reciprocal_rank_fusion_keeps_the_order_of_ties() -> None:
    assert list(reciprocal_rank_fusion([["가", "나"], ["나", "가"]])) == ["가", "나"]


@given(SCORES, st.integers(0, 40), st.data())
def test_top_is_a_stable_sort(scores: np.ndarray, k: int, data: st.DataObject) -> None:
    allowed = data.draw(st.none() | arrays(bool, len(scores)))
    candidates = [row for row in range(len(scores)) if scores[row] > 0 and (allowed is None or allowed[row])]
    expected = sorted(candidates, key=lambda row: (-scores[row], row))[:k]
    assert top(scores, k, allowed).tolist() == expected
    everything = [row for row in range(len(scores)) if allowed is None or allowed[row]]
    assert top(scores, k, allowed, above=-1).tolist() == sorted(everything, key=lambda row: (-scores[row], row))[:k]


def test_a_reranker_that_finds_nothing_leaves_the_first_stages_order() -> None:
    first = [0.5, 0.4, 0.3]
    blended = blend_scores([0.001, 0.002, 0.003], first, 0.5)
    assert sorted(range(3), key=lambda i: -blended[i]) == [0, 1, 2]


def test_a_reranker_that_is_sure_decides() -> None:
    assert max(range(3), key=blend_scores([0.1, 0.2, 0.95], [0.5, 0.4, 0.3], 0.5).__getitem__) == 2


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=10),
    st.floats(0, 1),
)
def test_blended_scores_lie_between_the_two(pairs: list[tuple[float, float]], weight: float) -> None:
    blended = blend_scores([a for a, _ in pairs], [b for _, b in pairs], weight)
    for score, (a, b) in zip(blended, pairs, strict=True):
        assert min(a, b) - 1e-9 <= score <= max(a, b) + 1e-9


@given(SCORES, SCORES, st.integers(1, 12), st.data())
def test_what_leads_stays_among_the_best(scores: np.ndarray, words: np.ndarray, k: int, data: st.DataObject) -> None:
    scores, words = scores[: len(words)], words[: len(scores)]
    leading = top(words, data.draw(st.integers(0, k)))
    kept = with_leading(top(scores, k, above=-1), leading, scores, k)
    assert set(leading.tolist()) <= set(kept.tolist())
    assert len(kept) == len(set(kept.tolist())) == min(k, len(scores))
    assert (np.diff(scores[kept]) <= 0).all()
    others = [number for number in kept.tolist() if number not in leading]
    left = [number for number in range(len(scores)) if number not in kept]
    assert all(scores[one] >= scores[other] for one in others for other in left)


def test_what_has_to_be_found_as_it_is_written_is_left_to_the_words() -> None:
    lexical, dense = np.asarray([0.12, 0.10], np.float32), np.asarray([0.2, 0.6], np.float32)
    assert fuse_scores(lexical, dense, 0.25).argmax() == 1
    assert fuse_scores(lexical, dense, 0.25, exact=0.9).argmax() == 0
    np.testing.assert_allclose(fuse_scores(lexical, dense, 0.25, exact=1.0), lexical, rtol=1e-3)
