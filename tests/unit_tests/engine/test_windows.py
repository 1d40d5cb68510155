"""Windows of long passages, and the choice among them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.models.transformer.windows import cut, promising


def ids(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int32)


@given(st.integers(0, 500), st.integers(1, 100))
def test_windows_hold_every_token_and_none_is_too_long(length: int, room: int) -> None:
    spans = cut(length, room)
    assert all(0 <= start <= end <= length and end - start <= room for start, end in spans)
    assert {place for start, end in spans for place in range(start, end)} == set(range(length))
    assert len(spans) == 1 or length > room
    assert len(set(spans)) == len(spans)


def test_neighbours_overlap() -> None:
    assert cut(200, 100) == [(0, 100), (75, 175), (150, 200)]


def test_the_window_with_the_querys_words_is_chosen() -> None:
    passage = np.full(400, 9, np.int32)
    passage[310:313] = [1, 2, 3]
    [[(start, end)]] = promising(ids(1, 2, 3), [passage], 40, 1)
    assert start <= 310
    assert end >= 313
    assert end - start == 40


def test_what_all_candidates_share_decides_nothing() -> None:
    def passage(rare: int) -> np.ndarray:
        values = np.full(300, 9, np.int32)
        values[20:24] = [5, 6, 5, 6]  # in every passage
        values[200] = rare
        return values

    spans = promising(ids(5, 6, 7), [passage(7), passage(8), passage(8), passage(8), passage(8), passage(8)], 40, 1)
    start, end = spans[0][0]
    assert start <= 200 < end
    assert spans[1][0][0] <= 20


def test_several_windows_lie_apart_and_the_best_comes_first() -> None:
    passage = np.full(600, 9, np.int32)
    passage[100] = 1
    passage[500:502] = [1, 2]
    [[first, second]] = promising(ids(1, 2), [passage], 40, 2)
    assert first[0] <= 500 < first[1]
    assert second[0] <= 100 < second[1]


def test_a_passage_that_needs_no_more_windows_is_read_whole() -> None:
    passage = np.arange(100, dtype=np.int32)
    assert promising(ids(3), [passage, passage[:30]], 60, 2) == [cut(100, 60), cut(30, 60)]


@given(st.lists(st.integers(0, 300), max_size=4), st.integers(1, 50), st.integers(1, 4))
def test_no_more_windows_than_asked_for_and_all_within_the_passage(lengths: list[int], room: int, count: int) -> None:
    passages = [np.arange(length, dtype=np.int32) % 17 for length in lengths]
    for passage, spans in zip(passages, promising(ids(2, 40), passages, room, count), strict=True):
        assert 1 <= len(spans) <= count
        assert all(0 <= start <= end <= len(passage) and end - start <= room for start, end in spans)


def test_a_query_without_tokens_takes_the_beginning() -> None:
    assert promising(ids(), [np.arange(100, dtype=np.int32)], 20, 1) == [[(0, 20)]]
