"""What an encoder computes: by ONNX Runtime where that is installed, otherwise by NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.encoder.weights import MATRICES, EncoderWeights

#: Pieces that are computed at a time: with more, what a layer computes no longer fits the caches of a core.
_PIECES_AT_ONCE: Final = 384


class Network(Protocol):
    """Turns pieces into vectors. May be called from several threads.

    Attributes:
        uses_all_cores: Whether one call computes on all cores; otherwise several calls at the same time do.
    """

    uses_all_cores: bool

    def means(self, texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return the mean of the last layer's vectors of each text, (n, hidden) float32.

        Args:
            texts: The pieces of n texts of the same length, none empty.
        """
        ...


def embed_pieces(weights: EncoderWeights, texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Return what goes into the first layer's normalisation, all texts one after the other, (pieces, hidden)."""
    places = np.concatenate([np.arange(len(text)) for text in texts])
    states = weights.table.rows(np.concatenate(texts))
    states += weights.positions[places]
    return states


def batches(lengths: NDArray[np.int64], threads: int) -> list[NDArray[np.int64]]:
    """Return the numbers of texts in batches of the same length, the longest first.

    No text is padded, so its vector is the same in any batch, and attention needs no mask.

    Args:
        lengths: Of each text, in pieces.
        threads: How many compute batches at the same time; none gets more than its share of a few texts.
    """
    most = min(_PIECES_AT_ONCE, int(lengths.sum()) // threads)
    order = np.argsort(-lengths, kind="stable")
    found: list[NDArray[np.int64]] = []
    start = 0
    for end in range(1, len(order) + 1):
        length = lengths[order[start]]
        if end == len(order) or lengths[order[end]] < length or (end + 1 - start) * length > most:
            found.append(order[start:end])
            start = end
    return found


class NumpyNetwork:
    """The network in NumPy, its matrices in float32.

    Args:
        weights: The weights.
    """

    uses_all_cores = True

    def __init__(self, weights: EncoderWeights) -> None:
        self._weights = weights
        self._matrices = {name: np.ascontiguousarray(matrix.floats().T) for name, matrix in weights.matrices.items()}

    def means(self, texts: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return the mean of each text; see `Network`."""
        sizes, vectors = self._weights.sizes, self._weights.vectors
        epsilon = sizes.epsilon
        bounds = np.cumsum([0, *map(len, texts)])
        spans = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        states = normalised(embed_pieces(self._weights, texts), vectors["norm_weight"], vectors["norm_bias"], epsilon)
        for layer in range(sizes.layers):
            own = {name: vectors[f"{layer}.{name}_bias"] for name in MATRICES}
            given = {name: self._matrices[f"{layer}.{name}"] for name in MATRICES}
            norms = [
                (vectors[f"{layer}.{name}_norm_weight"], vectors[f"{layer}.{name}_norm_bias"])
                for name in ("attention", "output")
            ]
            mixed = attend(states @ given["attention"] + own["attention"], spans, sizes.heads)
            mixed = mixed @ given["attention_output"]
            mixed += own["attention_output"]
            mixed += states
            states = normalised(mixed, *norms[0], epsilon)
            inner = states @ given["intermediate"]
            inner += own["intermediate"]
            result = gelu(inner) @ given["output"]
            result += own["output"]
            result += states
            states = normalised(result, *norms[1], epsilon)
        sums = np.add.reduceat(states, bounds[:-1], axis=0)
        return np.asarray(sums / np.diff(bounds)[:, None], np.float32)


def normalised(
    states: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32], epsilon: float
) -> NDArray[np.float32]:
    """Return vectors of mean 0 and variance 1, weighted."""
    states -= states.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", states, states) / states.shape[1]
    states *= (1 / np.sqrt(variance + max(epsilon, 1e-12)))[:, None]
    states *= weight
    states += bias
    return states


def attend(mixed: NDArray[np.float32], spans: Sequence[tuple[int, int]], heads: int) -> NDArray[np.float32]:
    """Return what attention mixes of the queries, keys and values of several texts."""
    hidden = mixed.shape[1] // 3
    found = np.empty((len(mixed), hidden), np.float32)
    scale = np.float32(1 / math.sqrt(hidden // heads))
    for start, end in spans:
        queries, keys, values = mixed[start:end].reshape(end - start, 3, heads, -1).transpose(1, 2, 0, 3)
        weights = (queries * scale) @ keys.transpose(0, 2, 1)
        weights -= weights.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=-1, keepdims=True)
        found[start:end] = (weights @ values).transpose(1, 0, 2).reshape(end - start, hidden)
    return found


def gelu(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Gaussian error linear units, in place, by their formula with tanh."""
    inner = values * values
    inner *= np.float32(0.044715)
    inner += 1
    inner *= values
    inner *= np.float32(math.sqrt(2 / math.pi))
    np.tanh(inner, out=inner)
    inner += 1
    values *= inner
    values *= np.float32(0.5)
    return values
