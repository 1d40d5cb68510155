"""Token vectors: rounding, pooling, the best match of every token, keeping them in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.models.transformer.late_interaction import pool
from langchain_klue_rerank.errors import IndexFormatError
from tests.unit_tests.engine.helpers import files_in

pytest.importorskip("scipy")


def unit_vectors(count: int, dimension: int = 8, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def passages(counts: list[int]) -> list[NDArray[np.float32]]:
    return [unit_vectors(count, seed=number) for number, count in enumerate(counts)]


def same(one: TokenVectors, other: TokenVectors) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("values", "scales", "offsets"))


counts = st.lists(st.integers(0, 6), min_size=1, max_size=8)


@given(counts)
def test_what_is_saved_is_loaded(tmp_path: Path, counts: list[int]) -> None:
    vectors = TokenVectors.of(passages(counts))
    vectors.save(tmp_path / "token_vectors")
    assert same(TokenVectors.load(files_in(tmp_path), "token_vectors", len(counts)), vectors)


@given(counts, st.data())
def test_taking_and_joining_give_what_rounding_those_passages_gives(counts: list[int], data: st.DataObject) -> None:
    own = passages(counts)
    vectors = TokenVectors.of(own)
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1))
    assert same(vectors.take(np.asarray(rows)), TokenVectors.of([own[row] for row in rows]))
    cut = data.draw(st.integers(1, len(counts)))
    parts = [TokenVectors.of(part) for part in (own[:cut], own[cut:]) if part]
    assert same(TokenVectors.join(parts), vectors)


@given(counts)
def test_best_cosines_are_those_of_the_vectors_before_rounding(counts: list[int]) -> None:
    own, query = passages(counts), unit_vectors(3, seed=99)
    expected = [(query @ vectors.T).max(axis=1).mean() if len(vectors) else -1 for vectors in own]
    assert TokenVectors.of(own).best_cosines(query) == pytest.approx(expected, abs=0.01)


def test_a_vector_takes_its_dimension_in_bytes_and_two() -> None:
    vectors = TokenVectors.of(passages([5, 7]))
    assert vectors.nbytes == 12 * (8 + 2) + 3 * 8


def test_zero_vectors_stay_zero() -> None:
    vectors = TokenVectors.of([np.zeros((2, 8), np.float32)])
    assert not vectors.values.any()
    assert vectors.best_cosines(unit_vectors(2)) == pytest.approx([0])


def test_files_of_other_passages_are_refused(tmp_path: Path) -> None:
    TokenVectors.of(passages([2, 3])).save(tmp_path / "token_vectors")
    with pytest.raises(IndexFormatError, match="3 passages"):
        TokenVectors.load(files_in(tmp_path), "token_vectors", 3)
    np.save(tmp_path / "token_vectors_offsets.npy", np.asarray([0, 9, 5]))
    with pytest.raises(IndexFormatError, match="token_vectors"):
        TokenVectors.load(files_in(tmp_path), "token_vectors", 2)


def test_pooling_keeps_few_vectors_as_they_are() -> None:
    vectors = unit_vectors(5)
    assert pool(vectors, 5) is vectors


@pytest.mark.parametrize("count", [6, 40, 3000])
def test_pooling_gives_at_most_so_many_unit_vectors(count: int) -> None:
    pooled = pool(unit_vectors(count), 5)
    assert 1 <= len(pooled) <= 5
    assert np.linalg.norm(pooled, axis=1) == pytest.approx(1, abs=1e-5)


def test_pooling_merges_what_is_alike() -> None:
    """Three meanings, each many times with little noise, in mixed order: each keeps a vector of its own."""
    meanings = np.eye(8, dtype=np.float32)[:3]
    noisy = np.repeat(meanings, 20, axis=0)[np.random.default_rng(1).permutation(60)] + 0.05 * unit_vectors(60)
    pooled = pool(np.asarray(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), np.float32), 3)
    assert (meanings @ pooled.T).max(axis=1) == pytest.approx(1, abs=0.01)
