"""Rounding an encoder's matrices to bytes keeps what the network computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from langchain_klue_rerank.engine.models.encoder.blocks import BlockMatrix
from langchain_klue_rerank.engine.models.encoder.byte_matrix import ByteMatrix
from langchain_klue_rerank.engine.models.encoder.network import NumpyNetwork, gelu
from langchain_klue_rerank.engine.models.encoder.weights import MATRICES, EncoderWeights, Sizes
from training.packaged.encoder_rounding import (
    fitted,
    ranges,
    round_layers,
    rounded_to_bytes,
    split_units,
    unit_ranges,
)

Floats = np.ndarray


def random(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def outlying(rows: int, seed: int = 0) -> Floats:
    """Inputs as those of a transformer: related to each other, and one of them far larger."""
    inputs = random(rows, 12, seed=seed) @ random(12, 48, seed=9) / 4 + 0.2 * random(rows, 48, seed=seed + 1)
    inputs[:, 7] *= 30
    return inputs


def test_units_that_are_split_compute_the_same() -> None:
    inputs, inner, bias, outer = random(9, 8), random(20, 8), random(20), random(8, 20, seed=1)
    outer[:, 3] *= 50
    highest = gelu(inputs @ inner.T + bias).max(axis=0)
    wide_inner, wide_bias, wide_outer, wide_highest = split_units(inner, bias, outer, highest, 6)
    assert wide_inner.shape == (26, 8)
    assert np.abs(wide_outer * wide_highest).max() < np.abs(outer * highest).max() / 3
    before = gelu(inputs @ inner.T + bias) @ outer.T
    after = gelu(inputs @ wide_inner.T + wide_bias) @ wide_outer.T
    np.testing.assert_allclose(after, before, atol=1e-3)


def test_a_fitted_matrix_is_nearer_than_one_whose_weights_are_rounded_one_by_one() -> None:
    matrix, bias, seen, unseen = random(16, 48, seed=5), random(16), outlying(3000), outlying(500, seed=7)
    lows, steps = ranges(seen)
    found, found_bias = fitted(matrix, seen, seen @ matrix.T + bias, lows, steps)
    scaled = matrix * steps
    scales = np.abs(scaled).max(axis=1) / 127
    plain = ByteMatrix(np.rint(scaled / scales[:, None]).astype(np.int8), scales, lows, steps)
    given, wanted = rounded_to_bytes(unseen, lows, steps), unseen @ matrix.T + bias
    errors = [np.abs(one.product(given) + own - wanted).mean() for one, own in ((found, found_bias), (plain, bias))]
    assert errors[0] < 0.75 * errors[1]
    assert errors[0] < 0.02 * np.abs(wanted).mean()
    np.testing.assert_allclose(found.product(given), (given * steps + lows) @ found.floats().T, rtol=1e-3, atol=0.05)


def test_every_value_of_a_unit_has_a_byte_and_all_have_the_same_one_for_0() -> None:
    lows, steps = unit_ranges(np.array([0.01, 1.0, 30.0], np.float32))
    assert len(set(np.rint(-lows / steps).tolist())) == 1
    assert (lows <= -0.17).all()
    assert (lows + 255 * steps >= [0.01, 1.0, 30.0]).all()


@pytest.fixture(scope="module")
def small() -> tuple[EncoderWeights, dict[str, Floats]]:
    sizes = Sizes(pieces=40, hidden=32, layers=2, heads=4, feed_forward=64, positions=16)
    matrices = {name: random(*shape, seed=row) / 6 for row, (name, shape) in enumerate(sizes.matrices().items())}
    lengths = {name: size for name, size in sizes.vectors().items() if not name.endswith(("scales", "lows", "steps"))}
    vectors = {name: random(size, seed=row) / 9 for row, (name, size) in enumerate(lengths.items())}
    vectors |= {name: vector + 1 for name, vector in vectors.items() if name.endswith("norm_weight")}
    table, positions = BlockMatrix.rounded(random(40, 32)), random(16, 32).astype(np.float16)
    prompts = {"query": "", "passage": ""}
    pieces = [f"p{number}" for number in range(40)]
    return EncoderWeights(sizes, prompts, table, {}, vectors, positions, pieces, np.zeros(40, np.float32)), matrices


def test_a_rounded_network_computes_nearly_the_same_and_is_saved(
    small: tuple[EncoderWeights, dict[str, Floats]], tmp_path: Path
) -> None:
    weights, matrices = small
    generator = np.random.default_rng(0)
    texts = [generator.integers(0, 40, generator.integers(2, 16)) for _ in range(200)]
    rounded = round_layers(weights, matrices, texts[:150], more_units=8)
    assert rounded.matrices[f"1.{MATRICES[-1]}"].values.shape == (32, 72)

    unrounded = {
        name: ByteMatrix(matrix, np.ones(len(matrix), np.float32), *np.float32([[0], [1]]))
        for name, matrix in matrices.items()
    }
    exact = NumpyNetwork(replace(weights, matrices=unrounded)).means(texts[150:])
    rounded.save(tmp_path, {})
    found = NumpyNetwork(EncoderWeights.load(tmp_path)).means(texts[150:])
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    np.testing.assert_array_equal(found, NumpyNetwork(rounded).means(texts[150:]))
