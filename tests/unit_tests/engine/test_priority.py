"""Indexing makes way for searches, and is not stopped by them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from langchain_klue_rerank.engine import threads
from langchain_klue_rerank.engine.index.filters import Compare
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.segments import segmented
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.threads import gently, give_way, searching
from tests.unit_tests.engine.helpers import SETTINGS, add, passage, tokens_of


def in_thread(work: object) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


@pytest.fixture(autouse=True)
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has paused yet."""
    monkeypatch.setattr(threads, "_pauses_until", -math.inf)
    monkeypatch.setattr(threads, "_works_since", -math.inf)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause ends when the searches do, and not before."""
    monkeypatch.setattr(threads, "_COUNTED", 3600.0)


class Clock:
    """A clock that only sleeping and working moves."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds

    def work(self, seconds: float) -> float:
        """Work, and return how long the pause after it took."""
        before = self.slept
        self.now += seconds
        give_way()
        return self.slept - before


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(threads, "time", clock)
    monkeypatch.setattr(threads, "_searching", {0})  # another thread searches without end
    return clock


@pytest.mark.usefixtures("endless")
def test_indexing_goes_on_where_nobody_searches() -> None:
    indexing = in_thread(give_way)
    indexing.join(10)
    assert not indexing.is_alive()


@pytest.mark.usefixtures("endless")
def test_indexing_waits_for_a_search_to_end() -> None:
    with searching():
        indexing = in_thread(give_way)
        indexing.join(0.1)
        assert indexing.is_alive()
    indexing.join(10)
    assert not indexing.is_alive()


def test_searches_without_end_do_not_stop_indexing() -> None:
    with searching():
        indexing = in_thread(give_way)
        indexing.join(10)
        assert not indexing.is_alive()


@pytest.mark.parametrize("milliseconds", [0.1, 1, 3])
def test_beside_searches_without_end_indexing_has_a_quarter_of_the_time(clock: Clock, milliseconds: float) -> None:
    clock.work(1)
    start, rounds = clock.now, 1000
    pauses = [clock.work(milliseconds / 1000) for _ in range(rounds)]
    assert rounds * milliseconds / 1000 / (clock.now - start) == pytest.approx(1 / 4, rel=0.1)
    assert max(pauses) <= 3.3 * max(1, milliseconds) / 1000  # short ones: a search of 3 ms is not to meet a long turn


def test_work_before_the_search_began_needs_no_pause_as_long(clock: Clock) -> None:
    assert clock.work(3600) < 0.1


def test_threads_that_index_pause_together(clock: Clock) -> None:
    clock.work(1)
    assert clock.work(0.001) > 0
    other: list[float] = []
    in_thread(lambda: other.append(clock.work(0))).join(10)
    assert other == [0]  # it begins with the others' turn, not with a pause of its own


def test_a_search_never_waits_for_itself_or_another() -> None:
    with searching(), searching():
        give_way()
        other = in_thread(searching()(give_way))
        other.join(10)
        assert not other.is_alive()
    assert not threads._searching


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize(("count", "waits"), [(64, False), (65, True)])
def test_a_long_loop_waits_for_searches_and_a_short_one_does_not(count: int, waits: bool) -> None:
    done: list[int] = []
    with searching():
        loop = in_thread(lambda: done.extend(gently(range(count), 64)))
        loop.join(0.2 if waits else 10)
        assert loop.is_alive() == waits
    loop.join(10)
    assert done == list(range(count))


@pytest.mark.usefixtures("endless")
def test_a_filter_that_reads_every_passage_waits_for_other_searches() -> None:
    index = PassageIndex(SETTINGS)
    add(index, *(passage(str(number), "전입신고 안내") for number in range(3)))
    found: list[str] = []

    def search() -> None:
        [candidates] = index.search(3, tokens=tokens_of(["전입신고"]), keep=lambda one: one.id != "1")
        found.extend(sorted(one.id for one in candidates.passages))

    with searching():
        filtered = in_thread(search)
        filtered.join(0.2)
        assert filtered.is_alive()
    filtered.join(10)
    assert found == ["0", "2"]


def index_of(count: int) -> PassageIndex:
    index = PassageIndex(SETTINGS)
    add(index, *(passage(str(number), f"전입신고 안내 {number}") for number in range(count)))
    return index


def saves(folder: Path) -> Callable[[], object]:
    index = index_of(3)
    return lambda: index.save(folder / "index")


def merges(_: Path) -> Callable[[], object]:
    views = index_of(3)._state.views
    return lambda: segmented.merge_views(views)


def compacts(_: Path) -> Callable[[], object]:
    return index_of(3)._state.compacted


def embeds(_: Path) -> Callable[[], object]:
    texts = tokens_of([" ".join(f"낱말{number}{letter}" for letter in "가나다라마바") for number in range(200)])
    model = StaticBiEncoder.load(WEIGHTS / "bi_encoder")
    return lambda: model.encode(texts)


def joins_windows(_: Path) -> Callable[[], object]:
    vectors, offsets = np.ones((2000, 4), np.float32), np.arange(0, 2001, 2)
    return lambda: PassageVectors.of_windows(vectors, offsets)


def gets(_: Path) -> Callable[[], object]:
    index = index_of(100)
    return lambda: index.get(index.find())


def gets_saved(folder: Path) -> Callable[[], object]:
    index_of(100).save(folder / "index")
    index = PassageIndex.load(folder / "index")
    return lambda: index.get(index.find())


def filters(_: Path) -> Callable[[], object]:
    index = PassageIndex(SETTINGS)
    add(index, *(passage(str(number), "전입신고 안내", date=f"2024-{number:03}") for number in range(100)))
    return lambda: index.find(Compare(("date",), "$gt", "2024-05"))


@pytest.mark.parametrize(
    "prepare", [saves, merges, compacts, embeds, joins_windows, gets, gets_saved, filters], ids=lambda it: it.__name__
)
def test_what_takes_long_waits_for_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], Callable[[], object]]
) -> None:
    work = prepare(tmp_path)
    monkeypatch.setattr(threads, "_COUNTED", 3600.0)
    with searching():
        thread = in_thread(work)
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()
