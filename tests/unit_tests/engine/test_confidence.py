"""The confidence of a first result: more evidence never means less of it, and it is a probability."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.rerank.confidence import (
    CONFIG_FILE,
    FIRST,
    FORMAT_VERSION,
    READ,
    SECOND,
    SIGNALS,
    SIGNALS_OF,
    ConfidenceModel,
    packaged_confidence,
    signals,
)
from langchain_klue_rerank.engine.text.tokenized import tokenize

TEXTS = tokenize(["주차장은 지하 이 층입니다", "연차는 열다섯 날입니다", "택배는 경비실에서 찾습니다"], None)
SHARES = st.floats(0, 1, allow_nan=False)


@given(st.lists(st.tuples(SHARES, SHARES, st.floats(-1, 1)), min_size=3, max_size=3))
def test_it_is_a_probability_whatever_the_scores(rows: list[tuple[float, float, float]]) -> None:
    scores, lexical, cosines = zip(*rows, strict=True)
    assert 0 <= float(packaged_confidence()(signals(scores, lexical, cosines, TEXTS))) <= 1


@pytest.mark.parametrize("key", [FIRST, SECOND])
@given(one=SHARES, other=SHARES, rest=SHARES)
def test_a_better_best_candidate_never_lowers_it(key: str, one: float, other: float, rest: float) -> None:
    low, high = sorted((one, other))
    model, count = packaged_confidence(key), 4 if key == SECOND else 3
    for place in range(count):
        columns = [np.array([0.5, 0.1, 0.05]) * rest for _ in range(count)]
        columns[0][0] = max(columns[0][0], 0.5 * rest)
        worse, better = [column.copy() for column in columns], [column.copy() for column in columns]
        worse[place][0] += low / 2
        better[place][0] += high / 2
        least = float(model(signals(*worse[:3], TEXTS, *worse[3:])))
        assert float(model(signals(*better[:3], TEXTS, *better[3:]))) >= least - 1e-12


def test_a_runner_up_close_behind_makes_doubt() -> None:
    model = packaged_confidence()
    alone = model(signals([0.4, 0.02, 0.01], [0.5, 0.1, 0.1], [0.5, 0.2, 0.1], TEXTS))
    pressed = model(signals([0.4, 0.38, 0.01], [0.5, 0.1, 0.1], [0.5, 0.2, 0.1], TEXTS))
    assert pressed < alone


def test_what_reading_says_counts() -> None:
    known = signals([0.1, 0.05, 0.01], [0.2, 0.1, 0.1], [0.2, 0.2, 0.1], TEXTS, [0.2, 0.1, 0.1])
    yes, no = (float(packaged_confidence(READ)(np.append(known, odds))) for odds in (3.0, -3.0))
    assert yes > no + 0.2


def test_a_copy_of_the_best_passage_makes_no_doubt() -> None:
    once = signals([0.4, 0.02, 0.01], [0.5, 0.1, 0.1], [0.5, 0.2, 0.1], TEXTS)
    twice = TEXTS.take(np.array([0, 0, 1, 2]))
    assert signals([0.4, 0.4, 0.02, 0.01], [0.5, 0.5, 0.1, 0.1], [0.5, 0.5, 0.2, 0.1], twice) == pytest.approx(once)


@pytest.mark.parametrize("key", SIGNALS_OF)
def test_the_packaged_weights_are_what_the_release_reads(key: str) -> None:
    model = packaged_confidence(key)
    assert model.weights.shape == (len(SIGNALS_OF[key]),)
    assert model.weights.max() > 0
    assert 0 < model.threshold < 1


def _model(weights: dict[str, float]) -> dict[str, object]:
    return {"weights": weights, "bias": 0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "does not describe"),
        ({"format_version": 99}, "format version 99"),
        ({FIRST: _model({"score": 1.0})}, "expected score, lead"),
        ({FIRST: _model(dict.fromkeys(SIGNALS, -1.0))}, "negative"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    good = {key: _model(dict.fromkeys(names, 1.0)) for key, names in SIGNALS_OF.items()}
    config = {"format": "klue-confidence", "format_version": FORMAT_VERSION, **good, "threshold": 0.5}
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        ConfidenceModel.load(tmp_path)
