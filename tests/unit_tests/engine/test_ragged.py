from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.arrays.ragged import Ragged

ROWS = st.lists(st.lists(st.integers(0, 1000), max_size=6), max_size=8)


def rows_of(table: Ragged) -> list[list[int]]:
    ends = table.offsets.tolist()
    return [table.values[start:end].tolist() for start, end in pairwise(ends)]


@given(ROWS)
def test_rows_come_back_as_they_went_in(rows: list[list[int]]) -> None:
    table = Ragged.from_rows(rows)
    assert rows_of(table) == rows
    assert len(table) == len(rows)
    assert table.lengths().tolist() == [len(row) for row in rows]


@given(st.data(), ROWS.filter(bool))
def test_take(data: st.DataObject, rows: list[list[int]]) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    taken = Ragged.from_rows(rows).take(np.asarray(numbers, np.int64))
    assert rows_of(taken) == [rows[number] for number in numbers]


@given(st.data(), ROWS.filter(bool))
def test_through(data: st.DataObject, table: list[list[int]]) -> None:
    rows = data.draw(st.lists(st.lists(st.integers(0, len(table) - 1), max_size=5), max_size=5))
    found = Ragged.from_rows(rows).through(Ragged.from_rows(table))
    assert rows_of(found) == [[value for number in row for value in table[number]] for row in rows]
