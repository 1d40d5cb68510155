"""Two scores that are close, and what has read both."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.rerank.close_scores import close_leaders, put_first


def test_only_nearly_equal_scores_are_close() -> None:
    assert close_leaders(np.array([0.1, 0.51, 0.3, 0.5])) == (1, 3)
    assert close_leaders(np.array([0.1, 0.54, 0.3, 0.5])) is None
    assert close_leaders(np.array([0.0105, 0.01])) == (0, 1)
    assert close_leaders(np.array([0.5, 0.5, 0.5])) == (0, 1)
    assert close_leaders(np.array([0.5])) is None
    assert close_leaders(np.array([])) is None


def test_reading_decides_where_it_says_more_than_the_scores() -> None:
    scores = np.array([0.50, 0.52, 0.1])
    assert put_first(scores, (1, 0), [-1.0, 1.0]).argmax() == 0
    assert put_first(scores, (1, 0), [1.0, -1.0]).argmax() == 1
    assert put_first(scores, (1, 0), [0.0, 0.1]).argmax() == 1  # the score says more


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(-9, 9), st.floats(-9, 9))
def test_scores_stay_scores(scores: list[float], first: float, second: float) -> None:
    given_scores = np.array(scores)
    leaders = close_leaders(given_scores)
    if leaders is None:
        return
    changed = put_first(given_scores, leaders, [first, second])
    assert ((changed >= 0) & (changed <= 1)).all()
    assert changed.max() == given_scores.max()
    others = np.delete(np.arange(len(scores)), leaders)
    assert (changed[others] == given_scores[others]).all()
    assert np.argsort(-changed, kind="stable")[0] in leaders
