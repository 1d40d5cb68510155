"""Stopping when the answer is surely found, and how the value for it is calibrated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from langchain_klue_rerank.engine.contracts import ScoreRequest, Scores, State
from langchain_klue_rerank.engine.rerank.early_stop import calibrate, score_until_sure


class Table:
    """A cross-encoder whose passages are their own scores."""

    def __init__(self) -> None:
        self.read = 0

    def score(self, requests: Sequence[ScoreRequest], deadline: float | None = None) -> list[Scores]:
        self.read += sum(len(request.passages) for request in requests)
        return [Scores.read(np.asarray([float(text) for text in one.passages], np.float32)) for one in requests]


def requests(passages: Sequence[Sequence[str]]) -> list[ScoreRequest]:
    return [ScoreRequest(str(number), texts) for number, texts in enumerate(passages)]


def texts(*scores: float) -> list[str]:
    return [str(score) for score in scores]


def test_the_rest_is_skipped_once_one_is_sure() -> None:
    table = Table()
    passages = [texts(*[0.1] * 4, 0.9, *[0.2] * 20), texts(*[0.1] * 7, 0.95, *[0.3] * 22), texts(0.3, 0.4)]
    scores = score_until_sure(table, requests(passages), sure=0.9)
    assert [int(own.is_read.sum()) for own in scores] == [5, 10, 2]
    assert all((own.states[~own.is_read] == State.SKIPPED).all() for own in scores)
    assert table.read == 17


def test_without_certainty_everything_is_read() -> None:
    passages = [texts(*np.linspace(0, 0.5, 33).round(3)), []]
    table = Table()
    [scores, empty] = score_until_sure(table, requests(passages), sure=0.9)
    assert scores.values.tolist() == pytest.approx([float(text) for text in passages[0]])
    assert len(empty) == 0
    assert score_until_sure(table, [], sure=0.5) == []


def test_a_calibrated_value_misses_the_best_as_seldom_as_promised() -> None:
    generator = np.random.default_rng(3)
    sets = [generator.beta(0.3, 1.0, 30).astype(np.float32) for _ in range(400)]
    for error in (0.0, 0.01, 0.1):
        sure = calibrate(sets, error)
        read = score_until_sure(Table(), requests([texts(*own) for own in sets]), sure=sure)
        missed = sum(own.values.max() < whole.max() - 1e-6 for own, whole in zip(read, sets, strict=True))
        assert missed <= error * len(sets)
    assert calibrate(sets, 0.1) < calibrate(sets, 0.0)


def test_calibrating_with_nothing_to_miss_stops_at_once() -> None:
    assert calibrate([np.asarray([0.5, 0.1], np.float32)], 0.0) == 0.0
