"""Round the matrices of the packaged encoder to bytes, layer by layer, on texts.

Rounding each weight to its nearest byte adds up to twelve layers of errors. Two things keep them small. The weights of
an output are rounded one after the other, and what is still to be rounded makes up for the error so far on the inputs
that texts lead to (GPTQ, Frantar et al. 2023). And each matrix is fitted on the inputs that it will get, which the
rounding before it has changed, to the outputs of the network that is not rounded.

An input of a matrix has 256 values between the lowest and the highest that these texts lead to. Some units of the
feed-forward part reach values that are twenty times those of the others; they are split into several equal ones, each
with a part of the outgoing weights, so that they do not set the scale of all the others' weights.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.encoder.byte_matrix import ByteMatrix
from langchain_klue_rerank.engine.models.encoder.network import attend, embed_pieces, gelu, normalised
from langchain_klue_rerank.engine.models.encoder.pieces import PieceTokenizer
from langchain_klue_rerank.engine.models.encoder.weights import MATRICES, EncoderWeights
from training.data import RAW_TEXTS, read_raw, read_written

Floats = NDArray[np.float32]

#: Texts of a kind to round on, words of a passage and of a question, and pieces of what is read together.
_TEXTS: Final = 32
_PASSAGE_WORDS: Final = 40
_QUERY_WORDS: Final = 12
_PAIR_PIECES: Final = 224
#: Long texts, and their pieces: what stands late in a text has other positions.
_LONG: Final = 8
_LONG_PIECES: Final = 512
#: What else people write.
_UNUSUAL: Final = (
    *("a", "네", "ㅋㅋㅋㅋㅋㅋ", "!!!???", "1234567890", "010-1234-5678", "2024-01-01 12:34", "😀😀🎉", "½ ㈜ ☃"),
    *("The library is closed on Mondays.", "SELECT * FROM users WHERE id = 42;", "def f(x): return x + 1"),
    *(
        "https://example.com/a/b?c=d#e",
        '{"a": [1, 2, 3]}',
        "日本語のテキスト",
        "뷁뷁뷁",
        "A" * 40,
        "0 " * 60,
        "가 " * 60,
    ),
)
#: The lowest value of a Gaussian error linear unit is above -0.17; the byte that stands for its 0.
_LOWEST_UNIT: Final = 0.17
_ZERO: Final = 40
#: Units that are added to each feed-forward part.
_MORE_UNITS: Final = 64
#: How much wider than on the texts the range of an input is, for other texts.
_MARGIN: Final = 1.05
#: Weight of the original matrix when one is fitted, and of numerical safety when it is rounded.
_STAY: Final = 0.01
#: Shares of the largest weight of an output that may get the highest byte.
_REACHES: Final = (1.0, 0.9, 0.8, 0.7, 0.6)
#: Weights that are rounded before the others are told.
_BLOCK: Final = 64


def texts_to_round_on(data: Path, tokenizer: PieceTokenizer, prompts: Mapping[str, str]) -> list[NDArray[np.int64]]:
    """Return the pieces of questions, windows of passages, pairs of both, and unusual texts.

    Args:
        data: The data folder.
        tokenizer: What cuts texts into pieces.
        prompts: What stands before a ``"query"`` and a ``"passage"``.
    """
    generator = random.Random(0)
    written = [pair for _, pairs in read_written() for pair in pairs]
    pairs = generator.sample(written, 2 * _TEXTS)
    passages, queries = [pair.passage for pair in pairs], [pair.query for pair in pairs]
    for name in RAW_TEXTS:
        lines = generator.sample(read_raw(data, name), 2 * _TEXTS)
        passages += lines[:_TEXTS]
        queries += [" ".join(line.split()[:_QUERY_WORDS]) for line in lines[_TEXTS:]]
    longest = sorted(passages, key=len)[-_LONG:]
    texts = [prompts["passage"] + " ".join(text.split()[:_PASSAGE_WORDS]) for text in passages]
    texts += [prompts["query"] + text for text in (*queries, *_UNUSUAL)]
    found = [tokenizer.encode(text, _PAIR_PIECES) for text in texts]
    long = [*longest, "민원 접수 " * _LONG_PIECES, "12 " * _LONG_PIECES]
    found += [tokenizer.encode(prompts["passage"] + " ".join([text] * 9), _LONG_PIECES) for text in long]
    for pair in pairs[: _TEXTS // 2]:
        query = [*tokenizer.encode(prompts["query"] + pair.query, _PAIR_PIECES // 2), tokenizer.END]
        found.append((query + tokenizer.encode(prompts["passage"] + pair.passage, _PAIR_PIECES)[1:])[:_PAIR_PIECES])
    return [np.array(pieces) for pieces in found]


def split_units(
    inner: Floats, bias: Floats, outer: Floats, highest: Floats, more: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Split the units of a feed-forward part whose outgoing weights, times their highest values, are largest.

    Args:
        inner: (units, hidden) incoming weights.
        bias: (units,).
        outer: (hidden, units) outgoing weights.
        highest: (units,) the highest value of each.
        more: How many units are added.

    Returns:
        The four of (units + more) that compute the same.
    """
    reach = np.abs(outer).max(axis=0) * np.maximum(highest, 0)
    copies = np.ones(len(bias), np.int64)
    for _ in range(more):
        copies[np.argmax(reach / copies)] += 1
    rows = np.repeat(np.arange(len(bias)), copies)
    shares = (1 / copies[rows]).astype(np.float32)
    return inner[rows], bias[rows], outer[:, rows] * shares, highest[rows]


def ranges(inputs: Floats) -> tuple[Floats, Floats]:
    """Return the lows and steps of the inputs of a matrix, (k,) each, of (rows, k) inputs."""
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    half = np.maximum((high - low) / 2 * _MARGIN, 1e-3)
    return (high + low) / 2 - half, half / np.float32(127.5)


def unit_ranges(highest: Floats) -> tuple[Floats, Floats]:
    """Return the lows and steps of units whose lowest value is known and whose zero is the same byte for all."""
    steps = np.maximum(highest * _MARGIN / (255 - _ZERO), _LOWEST_UNIT / _ZERO).astype(np.float32)
    return -_ZERO * steps, steps


def rounded_to_bytes(inputs: Floats, lows: Floats, steps: Floats) -> Floats:
    """Return the bytes of inputs, as floats."""
    return np.clip(np.rint((inputs - lows) / steps), 0, 255)


def fitted(matrix: Floats, given: Floats, wanted: Floats, lows: Floats, steps: Floats) -> tuple[ByteMatrix, Floats]:
    """Round a matrix.

    Args:
        matrix: (n, k).
        given: (rows, k) its inputs.
        wanted: (rows, n) what the network that is not rounded has in their place, bias included.
        lows: (k,) of the inputs.
        steps: (k,) of the inputs.

    Returns:
        The matrix and its bias.
    """
    inputs = rounded_to_bytes(given, lows, steps)
    middle = inputs.mean(axis=0)
    inputs -= middle
    goal = wanted.mean(axis=0)
    likeness = (inputs.T @ inputs / len(inputs)).astype(np.float64)
    likeness[np.diag_indices_from(likeness)] += _STAY * np.diag(likeness).mean()
    weights = (matrix * steps).T
    left = wanted - goal - inputs @ weights
    change = np.linalg.solve(likeness, (inputs.T @ left / len(inputs)).astype(np.float64))
    values, scales = _rounded((weights + change).astype(np.float64), likeness)
    found = ByteMatrix(np.ascontiguousarray(values.T), scales, lows, steps)
    bias = goal - found.product(middle[None])[0]
    return found, bias.astype(np.float32)


def _rounded(weights: NDArray[np.float64], likeness: NDArray[np.float64]) -> tuple[NDArray[np.int8], Floats]:
    """Round (k, n) weights so that their product with inputs of a (k, k) second moment changes least."""
    order = np.argsort(-np.diag(likeness), kind="stable")
    left = weights[order]
    shares = np.linalg.cholesky(np.linalg.inv(likeness[np.ix_(order, order)])).T
    scales = _scales(weights, np.diag(likeness))
    values = np.empty_like(left)
    for start in range(0, len(left), _BLOCK):
        end = min(start + _BLOCK, len(left))
        errors = np.empty((end - start, left.shape[1]))
        for row in range(start, end):
            values[row] = np.clip(np.rint(left[row] / scales), -127, 127)
            errors[row - start] = (left[row] - values[row] * scales) / shares[row, row]
            left[row:end] -= np.outer(shares[row, row:end], errors[row - start])
        left[end:] -= shares[start:end, end:].T @ errors
    found = np.empty(values.shape, np.int8)
    found[order] = values
    return found, scales


def _scales(weights: NDArray[np.float64], shares: NDArray[np.float64]) -> Floats:
    """Return the scale of each output with which (k, n) weights, each rounded by itself, change its products least."""
    highest = np.maximum(np.abs(weights).max(axis=0) / 127, 1e-12)
    choices = np.stack([highest * reach for reach in _REACHES]).astype(np.float32)
    losses = [shares @ (np.clip(np.rint(weights / one), -127, 127) * one - weights) ** 2 for one in choices]
    return choices[np.argmin(losses, axis=0), np.arange(len(highest))]


def round_layers(
    weights: EncoderWeights,
    matrices: Mapping[str, Floats],
    texts: Sequence[NDArray[np.int64]],
    more_units: int = _MORE_UNITS,
) -> EncoderWeights:
    """Round all matrices of a network.

    Args:
        weights: All else of it.
        matrices: By name, (n, k) float32; of each layer those of `MATRICES`.
        texts: Pieces of the texts to round on.
        more_units: Units that are added to each feed-forward part.

    Returns:
        The network with rounded matrices, and the biases that belong to them.
    """
    sizes, vectors = weights.sizes, weights.vectors
    found: dict[str, ByteMatrix] = {}
    changed = dict(vectors)
    spans = list(pairwise(np.cumsum([0, *map(len, texts)]).tolist()))

    def through(name: str, given: Floats, wanted: Floats, bounds: tuple[Floats, Floats]) -> Floats:
        matrix = inner[name.split(".")[1]]
        found[name], changed[f"{name}_bias"] = fitted(matrix, given, wanted, *bounds)
        return found[name].product(rounded_to_bytes(given, *bounds)) + changed[f"{name}_bias"]

    def after(sums: Floats, name: str) -> Floats:
        return normalised(sums, vectors[f"{name}norm_weight"], vectors[f"{name}norm_bias"], sizes.epsilon)

    exact = after(embed_pieces(weights, texts), "")
    rough = exact.copy()
    for layer in range(sizes.layers):
        inner = {name: matrices[f"{layer}.{name}"] for name in MATRICES}
        biases = {name: vectors[f"{layer}.{name}_bias"] for name in MATRICES}
        wanted = exact @ inner["attention"].T + biases["attention"]
        mixed = attend(through(f"{layer}.attention", rough, wanted, ranges(exact)), spans, sizes.heads)
        exact_mixed = attend(wanted, spans, sizes.heads)
        wanted = exact_mixed @ inner["attention_output"].T + biases["attention_output"]
        rough = rough + through(f"{layer}.attention_output", mixed, wanted, ranges(exact_mixed))
        exact, rough = after(exact + wanted, f"{layer}.attention_"), after(rough, f"{layer}.attention_")

        highest = gelu(exact @ inner["intermediate"].T + biases["intermediate"]).max(axis=0)
        inner["intermediate"], biases["intermediate"], inner["output"], highest = split_units(
            inner["intermediate"], biases["intermediate"], inner["output"], highest, more_units
        )
        wanted = exact @ inner["intermediate"].T + biases["intermediate"]
        units = gelu(through(f"{layer}.intermediate", rough, wanted, ranges(exact)))
        wanted = gelu(wanted) @ inner["output"].T + biases["output"]
        rough = rough + through(f"{layer}.output", units, wanted, unit_ranges(highest))
        exact, rough = after(exact + wanted, f"{layer}.output_"), after(rough, f"{layer}.output_")
    sizes = replace(sizes, feed_forward=sizes.feed_forward + more_units)
    return replace(weights, sizes=sizes, matrices=found, vectors=changed)
