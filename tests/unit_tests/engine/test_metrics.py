from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from langchain_klue_rerank.evaluation.metrics import (
    METRICS,
    Judged,
    calibration_error,
    hit_rate,
    interval,
    ndcg,
    paired_p_value,
    reciprocal_rank,
    reliability,
)

RANKINGS = [["a", "b", "c"], ["x", "y", "b", "c"], ["x"], []]
RELEVANT = [frozenset("a"), frozenset("bc"), frozenset("q"), frozenset("a")]


@pytest.fixture
def judged() -> Judged:
    return Judged.from_rankings(RANKINGS, RELEVANT)


def test_hit_rate(judged: Judged) -> None:
    assert hit_rate(judged, 1).tolist() == [1, 0, 0, 0]
    assert hit_rate(judged, 3).tolist() == [1, 1, 0, 0]


def test_reciprocal_rank(judged: Judged) -> None:
    assert reciprocal_rank(judged) == pytest.approx([1, 1 / 3, 0, 0])


def test_ndcg(judged: Judged) -> None:
    gain = 1 / math.log2(4) + 1 / math.log2(5)
    assert ndcg(judged) == pytest.approx([1, gain / (1 + 1 / math.log2(3)), 0, 0])


def test_ndcg_is_1_when_more_is_relevant_than_fits() -> None:
    judged = Judged.from_rankings([["a", "b"]], [frozenset("abcde")], depth=2)
    assert ndcg(judged) == pytest.approx([1])


def test_nothing_counts_beyond_the_depth() -> None:
    judged = Judged.from_rankings([[*map(str, range(10)), "a"]], [frozenset("a")])
    assert all(not metric(judged).any() for metric in METRICS.values())


def test_every_metric_gives_one_value_a_question_between_0_and_1(judged: Judged) -> None:
    assert list(METRICS) == ["HitRate@1", "HitRate@3", "HitRate@5", "HitRate@10", "MRR@10", "nDCG@10"]
    for metric in METRICS.values():
        values = metric(judged)
        assert values.shape == (4,)
        assert ((values >= 0) & (values <= 1)).all()


def test_questions_and_answers_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Judged.from_rankings(RANKINGS, RELEVANT[:2])


def test_interval_holds_the_mean_and_narrows_with_more_questions() -> None:
    values = np.asarray([0.0, 1.0] * 20)
    low, high = interval(values)
    assert 0 < low < 0.5 < high < 1
    # half as wide as two standard errors of a mean of 40 coins on either side
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(40), rel=0.15)
    narrow = interval(np.tile(values, 25))
    assert narrow[1] - narrow[0] < (high - low) / 3
    assert interval(values) == (low, high)  # repeatable
    assert interval(np.ones(5)) == (1.0, 1.0)


def test_paired_test_is_the_exact_test_within_its_error() -> None:
    ours = np.asarray([1, 1, 1, 0, 1, 0.5, 1, 1])
    theirs = np.asarray([0, 0, 1, 1, 0, 0.0, 0.5, 1])
    differences = (ours - theirs)[ours != theirs]
    outcomes = [abs(np.dot(signs, differences)) for signs in itertools.product([-1, 1], repeat=len(differences))]
    exact = np.mean(np.asarray(outcomes) >= abs(differences.sum()) - 1e-9)
    assert paired_p_value(ours, theirs) == pytest.approx(exact, abs=0.02)
    assert paired_p_value(ours, theirs) == paired_p_value(theirs, ours)


def test_paired_test_at_its_ends() -> None:
    same = np.asarray([0.5, 1.0, 0.0])
    assert paired_p_value(same, same) == 1.0
    assert paired_p_value(np.ones(50), np.zeros(50)) < 0.001
    assert paired_p_value(np.asarray([1.0, 0.0]), np.asarray([0.0, 1.0])) > 0.9


def test_paired_test_of_hit_rates_is_exact() -> None:
    ours, theirs = np.asarray([1.0] * 9 + [0.0] + [1.0] * 90), np.asarray([0.0] * 9 + [1.0] + [1.0] * 90)
    assert paired_p_value(ours, theirs) == pytest.approx(2 * (1 + 10) / 2**10)  # 1 of 10 or fewer, on either side


def test_calibration_error_of_probabilities_that_are_right_is_0() -> None:
    scores = np.asarray([0.25] * 4 + [0.75] * 4)
    right = np.asarray([True, False, False, False, True, True, True, False])
    assert calibration_error(scores, right) == pytest.approx(0)
    # twice as sure as it should be, then never right at all
    assert calibration_error(np.full(4, 0.5), right[:4]) == pytest.approx(0.25)
    assert calibration_error(scores, np.zeros(8, bool)) == pytest.approx(0.5)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_bins_hold_every_score_once() -> None:
    table = reliability(np.asarray([0.0, 0.05, 0.1, 0.95, 1.0]), np.asarray([False, False, True, True, True]))
    assert [one.count for one in table] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (table[-1].score, table[-1].right) == (pytest.approx(0.975), 1)
    assert (table[2].score, table[2].right) == (0, 0)
