from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.vectors import VectorIndex, as_unit_vectors
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError


def random_vectors(count: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    return as_unit_vectors(np.random.default_rng(seed).normal(size=(count, dimension)))


def test_vectors_are_scaled_to_length_1_and_the_input_stays() -> None:
    given_vectors = np.asarray([[3, 4], [0, 0], [-2, 0]], np.float32)
    units = as_unit_vectors(given_vectors)
    np.testing.assert_allclose(units, [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6)
    assert units.dtype == np.float32
    assert given_vectors[0, 0] == 3


def test_lists_and_single_vectors_are_taken_too() -> None:
    assert as_unit_vectors([[3.0, 4.0]]).shape == (1, 2)
    assert as_unit_vectors([3.0, 4.0]).shape == (1, 2)


@pytest.mark.parametrize("none", [[], np.zeros((0, 3)), np.zeros((0, 0))])
def test_no_texts_are_no_vectors(none: object) -> None:
    assert as_unit_vectors(none, 3).shape == (0, 3)  # type: ignore[arg-type]
    assert len(as_unit_vectors(none)) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, float("nan")]], "text number 0"),
        ([[1.0, 0.0], [float("inf"), 0.0]], "text number 1"),
        ([[1.0, 2.0, 3.0]], "dimension 3, the index holds dimension 2"),
        ([[[1.0, 2.0]]], r"shape \(1, 1, 2\)"),
        ([[1.0, 2.0], [3.0]], "no table of numbers"),
        ([["가", "나"]], "no table of numbers"),
        ([[]], "shape"),
    ],
)
def test_unusable_vectors_are_refused(vectors: list[object], message: str) -> None:
    with pytest.raises(ModelOutputError, match=message):
        as_unit_vectors(vectors, 2)  # type: ignore[arg-type]


@given(st.data())
def test_search_finds_what_sorting_finds(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 30))
    removed = data.draw(st.sets(st.integers(0, max(0, count - 1)), max_size=count)) if count else set()
    allowed = data.draw(st.none() | st.lists(st.booleans(), min_size=count, max_size=count))
    k = data.draw(st.integers(0, 35))
    vectors, queries = random_vectors(count), random_vectors(3, seed=1)
    index = VectorIndex(8)
    for part in np.array_split(vectors, 3):
        index.add(part)
    for row in removed:
        index.remove(row)
    scores, rows = index.search(queries, k, None if allowed is None else np.asarray(allowed, bool))
    candidates = [row for row in range(count) if row not in removed and (allowed is None or allowed[row])]
    similarities = queries @ vectors.T
    for number in range(3):
        expected = sorted(candidates, key=lambda row: -similarities[number, row])[:k]
        assert rows[number].tolist() == expected
        np.testing.assert_allclose(scores[number], similarities[number, expected], atol=1e-6)


def test_saved_and_loaded(tmp_path: Path) -> None:
    index = VectorIndex(8)
    index.add(random_vectors(5))
    index.save(tmp_path / "vectors")
    loaded = VectorIndex.load(tmp_path / "vectors", 5)
    np.testing.assert_array_equal(loaded.vectors, index.vectors)
    with pytest.raises(IndexFormatError, match="5 vectors for 4 passages"):
        VectorIndex.load(tmp_path / "vectors", 4)
