"""Indexing makes way for searches, and is not stopped by them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from langchain_klue_rerank.engine import threads
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


def test_indexing_goes_on_where_nobody_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 3600.0)
    indexing = in_thread(give_way)
    indexing.join(10)
    assert not indexing.is_alive()


def test_indexing_waits_for_a_search_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 3600.0)
    with searching():
        indexing = in_thread(give_way)
        indexing.join(0.1)
        assert indexing.is_alive()
    indexing.join(10)
    assert not indexing.is_alive()


def test_searches_without_end_do_not_stop_indexing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 0.01)
    with searching():
        indexing = in_thread(give_way)
        indexing.join(10)
        assert not indexing.is_alive()


def test_after_a_pause_indexing_works_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 0.3)
    waits = []

    def index() -> None:
        for _ in range(3):
            start = time.monotonic()
            give_way()
            waits.append(time.monotonic() - start)

    with searching():
        in_thread(index).join(10)
    assert waits[0] >= 0.3 > max(waits[1:])


def test_a_search_never_waits_for_itself_or_another() -> None:
    with searching(), searching():
        give_way()
        other = in_thread(searching()(give_way))
        other.join(10)
        assert not other.is_alive()
    assert not threads._searching


@pytest.mark.parametrize(("count", "waits"), [(64, False), (65, True)])
def test_a_long_loop_waits_for_searches_and_a_short_one_does_not(
    monkeypatch: pytest.MonkeyPatch, count: int, waits: bool
) -> None:
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 3600.0)
    done: list[int] = []
    with searching():
        loop = in_thread(lambda: done.extend(gently(range(count), 64)))
        loop.join(0.2 if waits else 10)
        assert loop.is_alive() == waits
    loop.join(10)
    assert done == list(range(count))


def test_a_filter_that_reads_every_passage_waits_for_other_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 3600.0)
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


def embeds(_: Path) -> Callable[[], object]:
    texts = tokens_of([" ".join(f"낱말{number}{letter}" for letter in "가나다라마바") for number in range(200)])
    model = StaticBiEncoder.load(WEIGHTS / "bi_encoder")
    return lambda: model.encode(texts)


def joins_windows(_: Path) -> Callable[[], object]:
    vectors, offsets = np.ones((2000, 4), np.float32), np.arange(0, 2001, 2)
    return lambda: PassageVectors.of_windows(vectors, offsets)


@pytest.mark.parametrize("prepare", [saves, merges, embeds, joins_windows])
def test_what_takes_long_waits_for_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], Callable[[], object]]
) -> None:
    work = prepare(tmp_path)
    monkeypatch.setattr(threads, "_LONGEST_PAUSE", 3600.0)
    with searching():
        thread = in_thread(work)
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()
