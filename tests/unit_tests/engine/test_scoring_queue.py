"""One queue for many callers: everyone gets their own scores, their own errors, and in time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from langchain_klue_rerank.engine.models.transformer import scoring_queue
from langchain_klue_rerank.engine.models.transformer.batches import Pair
from langchain_klue_rerank.engine.models.transformer.scoring_queue import ScoringQueue


def pairs(*numbers: int, length: int = 3) -> list[Pair]:
    """Pairs whose score is to be their number."""
    return [Pair(np.full(1, number, np.int32), np.zeros(length - 1, np.int32), number) for number in numbers]


class Model:
    """Gives every pair its number; can be held up, and fails for the number 13."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def __call__(self, batch: Sequence[Pair]) -> np.ndarray:
        self.batches.append([pair.place for pair in batch])
        self.begun.set()
        assert self.go.wait(20)
        if any(pair.place == 13 for pair in batch):
            raise RuntimeError("thirteen")
        return np.asarray([pair.place for pair in batch], np.float32)


@pytest.fixture
def model() -> Model:
    return Model()


def queue(model: Model, workers: int = 1, tokens: int = 12, pairs: int = 8) -> ScoringQueue:
    return ScoringQueue(model, workers=workers, tokens=tokens, pairs=pairs, overhead=0)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_caller_gets_the_own_scores(model: Model, workers: int) -> None:
    shared = queue(model, workers)

    def ask(caller: int) -> bool:
        own = [caller * 100 + number for number in range(caller % 7 + 1)]
        return shared.score(pairs(*own)).tolist() == own

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(80)))
    assert sum(map(len, model.batches)) == sum(caller % 7 + 1 for caller in range(80))


def test_nothing_to_score(model: Model) -> None:
    assert queue(model).score([]).tolist() == []


def test_callers_that_meet_share_batches(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = queue(model, tokens=100)
    model.go.clear()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(shared.score, pairs(1))
        assert model.begun.wait(10)
        others = [pool.submit(shared.score, pairs(number, number + 1)) for number in (20, 30, 40)]
        while len(shared._waiting) < 3:
            time.sleep(0.001)
        model.go.set()
        assert first.result().tolist() == [1]
        assert [one.result().tolist() for one in others] == [[20, 21], [30, 31], [40, 41]]
    assert len(model.batches) == 2


def test_an_error_goes_to_the_callers_of_that_batch_only(model: Model) -> None:
    shared = queue(model, tokens=3)
    with ThreadPoolExecutor(4) as pool:
        bad = pool.submit(shared.score, pairs(12, 13, 14))
        good = [pool.submit(shared.score, pairs(number)) for number in (1, 2)]
        with pytest.raises(RuntimeError, match="thirteen"):
            bad.result()
        assert [one.result().tolist() for one in good] == [[1], [2]]
    assert shared.score(pairs(5)).tolist() == [5]  # and the queue goes on


def test_a_deadline_returns_what_is_known(model: Model) -> None:
    shared = queue(model, tokens=6)
    model.go.clear()
    found = shared.score(pairs(1, 2, 3, 4), time.monotonic() + 0.05)
    assert np.isnan(found).all()
    model.go.set()
    assert shared.score(pairs(1, 2), time.monotonic() + 20).tolist() == [1, 2]


def test_what_nobody_waits_for_any_more_is_not_computed(model: Model) -> None:
    shared = queue(model, tokens=6)
    model.go.clear()
    shared.score(pairs(1, 2, 3, 4), time.monotonic() + 0.5)
    model.go.set()
    assert shared.score(pairs(7)).tolist() == [7]
    assert {number for batch in model.batches for number in batch} == {1, 2, 7}


def test_a_deadline_that_is_over_computes_nothing(model: Model) -> None:
    shared = queue(model)
    shared.score(pairs(1))
    assert np.isnan(shared.score(pairs(2, 3), time.monotonic() - 1)).all()


def test_urgent_callers_go_by_and_by_and_before_patient_ones(model: Model) -> None:
    shared = queue(model, tokens=6)
    model.go.clear()
    with ThreadPoolExecutor(4) as pool:
        held = pool.submit(shared.score, pairs(1))
        assert model.begun.wait(10)
        patient = pool.submit(shared.score, pairs(50, 51))
        while not shared._waiting:
            time.sleep(0.001)
        urgent = [pool.submit(shared.score, pairs(n, n + 1), time.monotonic() + 20) for n in (10, 20)]
        while len(shared._urgent) < 2:
            time.sleep(0.001)
        model.go.set()
        assert held.result().tolist() == [1]
        assert patient.result().tolist() == [50, 51]
        assert [one.result().tolist() for one in urgent] == [[10, 11], [20, 21]]
    assert sorted(model.batches[1]) == [10, 20]  # every caller's first passage
    assert model.batches[2] == [50, 51]  # then the patient one's turn
    assert sorted(model.batches[3]) == [11, 21]


def test_too_high_an_estimate_of_the_cost_does_not_last(model: Model) -> None:
    shared = queue(model)
    shared._token_seconds = 5.0
    for _ in range(2000):
        if not np.isnan(shared.score(pairs(3), time.monotonic() + 0.5)).any():
            break
    assert shared._token_seconds < 1


def test_workers_end_when_idle_and_come_back(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_queue, "_IDLE", 0.01)
    shared = queue(model, workers=3)
    assert shared.score(pairs(1)).tolist() == [1]
    for _ in range(1000):
        if not shared._running:
            break
        time.sleep(0.005)
    assert shared._running == 0
    assert shared.score(pairs(2)).tolist() == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_working_queue(model: Model) -> None:
    shared = queue(model)
    shared.score(pairs(1))
    child = os.fork()
    if child == 0:  # pragma: no cover
        os._exit(0 if shared.score(pairs(4), time.monotonic() + 20).tolist() == [4] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_single_pause_of_the_machine_changes_little(model: Model) -> None:
    shared = queue(model)
    shared.score(pairs(1))
    shared._token_seconds = 1e-4
    model.go.clear()
    with ThreadPoolExecutor(1) as pool:
        paused = pool.submit(shared.score, pairs(2))
        time.sleep(0.3)
        model.go.set()
        paused.result()
    assert shared._token_seconds < 2e-4


@pytest.mark.slow
def test_the_process_ends_after_the_batch_that_is_being_computed() -> None:
    """A library that computes outside of the interpreter aborts when its thread is ended where it stands."""
    script = """
import os, threading, time
import numpy as np
from langchain_klue_rerank.engine.models.transformer.batches import Pair
from langchain_klue_rerank.engine.models.transformer.scoring_queue import ScoringQueue

late = threading.Event()

def compute(pairs):
    late.wait()
    time.sleep(0.5)
    os.write(1, b"computed %d\\n" % len(pairs))  # in one piece, whatever the other worker writes
    return np.zeros(len(pairs), np.float32)

queue = ScoringQueue(compute, workers=2, tokens=3, pairs=1, overhead=0)
ids = np.zeros(1, np.int32)
queue.score([Pair(ids, ids, place) for place in range(9)], time.monotonic() + 1)
late.set()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["computed", "1"] * 2
