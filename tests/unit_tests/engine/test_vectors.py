from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError
from tests.unit_tests.engine.helpers import files_in


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


def several(counts: list[int], seed: int = 0) -> PassageVectors:
    """Passages with so many windows each."""
    return PassageVectors.of_windows(random_vectors(sum(counts), seed=seed), np.cumsum([0, *counts]))


def test_one_vector_a_passage_is_compared_exactly() -> None:
    vectors, query = random_vectors(30), random_vectors(1, seed=1)[0]
    joined = PassageVectors.join([PassageVectors.checked(part) for part in np.array_split(vectors, 3)])
    rows = np.asarray([29, 3, 4])
    np.testing.assert_allclose(joined.best_of(query, rows), vectors[rows] @ query, atol=1e-6)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.data())
def test_the_best_window_counts(counts: list[int], data: st.DataObject) -> None:
    vectors, query = random_vectors(sum(counts)), random_vectors(1, seed=1)[0]
    ends = np.cumsum([0, *counts])
    cut = data.draw(st.integers(0, len(counts)))
    whole = PassageVectors.of_windows(vectors, ends)
    joined = PassageVectors.join([whole.take(np.arange(cut)), whole.take(np.arange(cut, len(counts)))])
    rows = np.asarray(data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=8)), np.int64)
    expected = [max(vectors[ends[row] : ends[row + 1]] @ query) for row in rows]
    np.testing.assert_allclose(joined.best_of(query, rows), expected, atol=0.01)  # windows are rounded to bytes
    means = [vectors[start:end].sum(axis=0) for start, end in pairwise(ends)]
    np.testing.assert_allclose(joined.wholes, as_unit_vectors(means), atol=1e-6)


def test_many_passages_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, query = several([1, 3, 2, 1, 4, 2, 1]), random_vectors(1, seed=1)[0]
    rows = np.asarray([6, 0, 4, 2, 1, 5, 3])
    expected = vectors.best_of(query, rows)
    monkeypatch.setattr("langchain_klue_rerank.engine.index.vectors._AT_ONCE", 2)
    np.testing.assert_allclose(vectors.best_of(query, rows), expected, atol=1e-6)


def test_more_or_fewer_vectors_than_windows_are_refused() -> None:
    for count in (0, 2, 4):
        with pytest.raises(ModelOutputError, match=f"{count} vectors for 3 texts"):
            PassageVectors.of_windows(random_vectors(count), np.asarray([0, 2, 3]))


@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 1, 5]])
def test_saved_and_loaded(tmp_path: Path, counts: list[int]) -> None:
    vectors, query = several(counts), random_vectors(1, seed=1)[0]
    vectors.save(tmp_path / "vectors")
    loaded = PassageVectors.load(files_in(tmp_path), "vectors", 3)
    np.testing.assert_array_equal(loaded.wholes, vectors.wholes)
    every = np.arange(len(vectors))
    np.testing.assert_array_equal(loaded.best_of(query, every), vectors.best_of(query, every))
    assert len(list(tmp_path.iterdir())) == (4 if max(counts) > 1 else 1)
    with pytest.raises(IndexFormatError, match="3 vectors for 4 passages"):
        PassageVectors.load(files_in(tmp_path), "vectors", 4)


def test_windows_of_another_dimension_are_refused(tmp_path: Path) -> None:
    several([2, 1]).save(tmp_path / "vectors")
    np.save(tmp_path / "vectors.npy", np.zeros((2, 4), np.float32))
    with pytest.raises(IndexFormatError, match="another dimension"):
        PassageVectors.load(files_in(tmp_path), "vectors", 2)


@pytest.mark.parametrize("scale", [1e-300, 1e-44, 1e-25, 1e-10, 1.0, 1e20, 1e38, 1e300])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_vectors_of_any_scale_get_length_1(scale: float, kind: type[np.floating]) -> None:
    given = np.asarray([[3, 4], [0, 0], [-1, 0]], kind)
    if float(np.finfo(kind).smallest_normal) <= scale <= float(np.finfo(kind).max) / 5:
        np.testing.assert_allclose(as_unit_vectors(given * kind(scale)), [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6)


def test_lists_beyond_the_range_of_float32_get_length_1() -> None:
    np.testing.assert_allclose(as_unit_vectors([[3e300, 4e300], [3e-300, 4e-300]]), [[0.6, 0.8]] * 2, rtol=1e-6)
