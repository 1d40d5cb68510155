from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.arrays.files import write_strings
from langchain_klue_rerank.engine.arrays.ragged import Ragged, gather
from langchain_klue_rerank.engine.arrays.strings import StringTable

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


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=10))
def test_the_places_of_stretches(stretches: list[tuple[int, int]]) -> None:
    starts = np.array([start for start, _ in stretches], np.int64)
    ends = starts + np.array([length for _, length in stretches], np.int64)
    places, offsets = gather(starts, ends)
    assert places.tolist() == [place for start, length in stretches for place in range(start, start + length)]
    assert np.diff(offsets).tolist() == [length for _, length in stretches]


@given(st.data(), st.lists(st.text(max_size=4), unique=True, min_size=1, max_size=12))
def test_some_of_a_table_of_strings(data: st.DataObject, strings: list[str]) -> None:
    rows = data.draw(st.lists(st.integers(0, len(strings) - 1), unique=True))
    for some in (rows, sorted(rows)):
        assert [*StringTable.of(strings).take(np.asarray(some, np.int64))] == [strings[row] for row in some]


@given(st.lists(st.text(st.characters(), max_size=4), max_size=12))
def test_strings_are_written_as_a_list_in_json(strings: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "strings.json"
        write_strings(path, strings)
        written = path.read_bytes().decode("utf-8", "surrogatepass")
    assert written == json.dumps(strings, ensure_ascii=False)
