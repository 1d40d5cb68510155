"""A start for a small transformer from which it learns to compare two texts in minutes: the first matches are wired.

From random numbers a transformer needs millions of examples before a token looks at its like in the other text at all;
until then a cross-encoder's loss does not move. So this start sets attention so that equal and similar tokens attend to
each other from the first step on (as the mimetic initialization of Trockman & Kolter 2023 does with
``W_Q W_K^T ~ I``). It needs no data but the tokens' vectors. It is a start only: the model is a plain RoBERTa, and all
its weights train.

What three layers do at first; a model with more has layers between them that at first pass everything on:

1. One head finds the first ``[SEP]``: a token's side is whether it stands behind it. Two heads fetch a little of the
   token before and of the token behind.
2. Every head compares a part of the token vectors with those of the other side. ``[CLS]`` attracts tokens that have
   no match there, so what is left of a head's attention says how sure a match is.
3. ``[CLS]`` collects from the first text how much of its weight was found in the second, and how much was not.

The last `RESERVED` dimensions of the hidden state hold sides, positions, weights and matches, the others token vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

#: Dimensions kept for everything that is no word vector.
RESERVED = 32
#: Layers that are wired.
WIRED = 3

#: A feature that is there has about this value; layer normalisation brings the average number to 1.
_ON = 3.0
#: Positions that can be told apart to find a token's side: the longest first text.
_RAMP = 64
#: Angles by which a position turns: tokens nearer than 164 to each other never look like neighbours if they are not.
_ANGLES = (1.0, 0.61, 2.3, 0.23, 1.57, 2.83)
#: A token without weight has this much in common with all others, beside 64 dimensions of its meaning.
_LIGHT = 20.0
#: Of weights that are not wired: small where they write, so that a layer at first passes on what it gets.
_NOISE = 0.002

# Where the features stand, counted from the first reserved dimension.
_WEIGHT, _SEP, _CLS, _RAMP_AT, _RAMP_REST, _FIRST, _SIDE = range(7)
_MATCH = 7  # 4 heads
_FOUND, _MISSING = 11, 13  # exact, similar
_SUM, _SHARE = 15, 19  # 4 sums, 1 share
_TURNS = 20  # sine and cosine of 6 angles


def check_shape(layers: int, hidden: int, heads: int) -> None:
    """Check that a model is large enough to be wired.

    Raises:
        ValueError: If it is not.
    """
    if layers < WIRED or hidden < 2 * RESERVED or heads < 4 or hidden // heads < 16:
        raise ValueError(
            f"{layers} layers x {hidden} with {heads} heads are too small to find matches: give at least {WIRED} "
            "layers and 4 heads of 16 dimensions"
        )


def wire(model: Any, vectors: NDArray[np.float32], seed: int = 0) -> None:
    """Set a model's weights to the start described above.

    Args:
        model: A `RobertaModel`, or a model with one as ``roberta``; at least 3 layers and 4 heads of 16 dimensions. Its
            first and separating token are those of its configuration (``bos_token_id``, ``eos_token_id``).
        vectors: float32, (tokens, dimension): the tokens' vectors, whose lengths are their weights.
        seed: Of the projections.

    Raises:
        ValueError: If the model is too small.
    """
    body = getattr(model, "roberta", model)
    config = body.config
    width, heads = config.hidden_size, config.num_attention_heads
    check_shape(config.num_hidden_layers, width, heads)
    config.matching_start = True  # whoever puts something on this body can fit it to it
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        _embeddings(body.embeddings, vectors, config, generator)
        for layer in body.encoder.layer:
            for linear in (layer.attention.output.dense, layer.output.dense):
                linear.weight.mul_(_NOISE / config.initializer_range)
        layers = [body.encoder.layer[number * config.num_hidden_layers // WIRED] for number in range(WIRED)]
        first, second, third = (_Wiring(layer, width, heads) for layer in layers)
        _tell_sides(first, generator)
        _compare(second, generator)
        _collect(third)


def token_projection(hidden: int, dimension: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a projection for late interaction, under which a wired model scores by its tokens' own vectors.

    One dimension is the larger the lighter a token is. It is common to all light tokens, so that they always find a
    match and say little, while a heavy one must find its like.

    Args:
        hidden: Width of the wired model.
        dimension: Of a token's vector, at least 2.
        seed: Of the projection.

    Returns:
        Weights (dimension, hidden) and bias (dimension,) of a linear layer.
    """
    content = hidden - RESERVED
    weights, bias = torch.zeros(dimension, hidden), torch.zeros(dimension)
    meaning = min(dimension - 1, content)
    weights[:meaning, :content] = _tensor(_orthonormal(meaning, content, np.random.default_rng(seed)))
    weights[-1, content + _WEIGHT] = -_LIGHT * (meaning / 64) ** 0.5 / _ON
    bias[-1] = _LIGHT * (meaning / 64) ** 0.5
    return weights, bias


def _embeddings(embeddings: Any, vectors: NDArray[np.float32], config: Any, generator: np.random.Generator) -> None:
    """Tokens: direction and weight, all of one length, so that layer normalisation scales all alike. Positions."""
    words, places = embeddings.word_embeddings.weight, embeddings.position_embeddings.weight
    content = config.hidden_size - RESERVED
    lengths = np.linalg.norm(vectors, axis=1)
    known = lengths > 0
    weights = np.clip(lengths / np.quantile(lengths[known], 0.95), 0, 1)
    table = generator.standard_normal((len(vectors), content)).astype(np.float32)
    centred = vectors[known] - vectors[known].mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    projected = centred @ directions[:content].T
    # Rotated, so that every head gets as much of the meaning as the others.
    rotation = _orthonormal(projected.shape[1], content, generator)
    table[known] = projected @ rotation
    table -= table.mean(axis=1, keepdims=True)
    features = np.zeros((len(vectors), RESERVED), np.float32)
    features[:, _WEIGHT] = _ON * weights
    features[config.eos_token_id, _SEP] = features[config.bos_token_id, _CLS] = _ON
    left = content - (features**2).sum(axis=1)
    table *= (np.sqrt(left) / np.linalg.norm(table, axis=1))[:, None]
    rows = np.concatenate([table, features], axis=1)
    rows[config.pad_token_id] = 0
    words.copy_(torch.from_numpy(rows))
    # Positions start behind the padding's number.
    position = np.maximum(np.arange(len(places)) - config.pad_token_id - 1, 0)
    ramp = np.minimum(position, _RAMP) / _RAMP
    turned = position[:, None] * np.asarray(_ANGLES)
    codes = np.zeros((len(places), RESERVED))
    codes[:, _RAMP_AT], codes[:, _RAMP_REST] = _ON * ramp, _ON * np.sqrt(1 - ramp**2)
    codes[:, _TURNS::2], codes[:, _TURNS + 1 :: 2] = np.cos(turned), np.sin(turned)
    places.zero_()
    places[:, content:] = torch.from_numpy(codes).float()
    places[config.pad_token_id] = 0
    embeddings.token_type_embeddings.weight.zero_()


class _Wiring:
    """Sets single weights of a layer; reserved dimensions are named by their number."""

    def __init__(self, layer: Any, width: int, heads: int) -> None:
        own = layer.attention.self
        self.query, self.key, self.value = own.query, own.key, own.value
        self.write = layer.attention.output.dense
        self.inner, self.outer = layer.intermediate.dense, layer.output.dense
        self.content, self.size, self.heads = width - RESERVED, width // heads, heads
        self._units = 0

    def clear(self, head: int) -> slice:
        """Empty a head and return its dimensions."""
        own = slice(head * self.size, (head + 1) * self.size)
        for linear in (self.query, self.key, self.value):
            linear.weight[own] = 0
            linear.bias[own] = 0
        self.write.weight[:, own] = 0
        return own

    def bonus(self, row: int, query: dict[int, float], key: dict[int, float], constant: float = 0.0) -> None:
        """Let one dimension of a head add (constant + query features) x (key features) to its scores."""
        self.query.bias[row] = constant * self.size**0.5
        for feature, weight in query.items():
            self.query.weight[row, self.content + feature] = weight * self.size**0.5
        for feature, weight in key.items():
            self.key.weight[row, self.content + feature] = weight

    def carry(self, row: int, value: dict[int, float], target: int, constant: float = 0.0, gain: float = 1.0) -> None:
        """Let one dimension of a head fetch a sum of features and add it to another one."""
        self.value.bias[row] = constant
        for feature, weight in value.items():
            self.value.weight[row, self.content + feature] = weight
        self.write.weight[self.content + target, row] = gain

    def unit(self, features: dict[int, float], constant: float, target: int, gain: float) -> None:
        """Let one unit of the feed-forward part add gain x GELU(constant + features) to a feature."""
        self.inner.weight[self._units] = 0
        self.outer.weight[:, self._units] = 0
        self.inner.bias[self._units] = constant
        for feature, weight in features.items():
            self.inner.weight[self._units, self.content + feature] = weight
        self.outer.weight[self.content + target, self._units] = gain
        self._units += 1


def _tell_sides(layer: _Wiring, generator: np.random.Generator) -> None:
    # The first [SEP]: 42 more than any other token; the second one loses a third of a point with every position.
    row = layer.clear(0).start
    layer.bonus(row, {}, {_SEP: 14.0, _RAMP_AT: -7.0}, constant=1.0)
    layer.carry(row, {_RAMP_AT: 1.0}, _FIRST)
    # The neighbours: turned by one position, a token's code is that of the token beside it.
    for head, shift in ((1, -1), (2, 1)):
        own = layer.clear(head)
        for number, angle in enumerate(_ANGLES):
            cosine, sine = np.cos(shift * angle), np.sin(shift * angle)
            here, there = layer.content + _TURNS + 2 * number, own.start + 2 * number
            scale = 4.0 * layer.size**0.5
            layer.query.weight[there, here], layer.query.weight[there, here + 1] = scale * cosine, -scale * sine
            layer.query.weight[there + 1, here], layer.query.weight[there + 1, here + 1] = scale * sine, scale * cosine
            layer.key.weight[there, here] = layer.key.weight[there + 1, here + 1] = 1.0
        size = layer.size
        layer.value.weight[own, : layer.content] = _tensor(_orthonormal(size, layer.content, generator))
        layer.write.weight[: layer.content, own] = 0.4 * _tensor(_orthonormal(size, layer.content, generator)).T
    # A step from 0 to 1 between the position of [SEP] and the next one: the difference of two GELUs.
    step = _ON / _RAMP
    slope, height = 6.0 / step, 3.0
    for start, sign in ((0.25, 1.0), (0.75, -1.0)):
        layer.unit({_RAMP_AT: slope, _FIRST: -slope}, -6.0 * start, _SIDE, sign * _ON / height)


def _compare(layer: _Wiring, generator: np.random.Generator) -> None:
    projection = _orthonormal(layer.content, layer.content, generator)
    part = min(layer.size - 2, layer.content // layer.heads)
    sharp, apart = 22.0, 16.0  # the score of a token's copy, and what being on the other side is worth
    for head in range(layer.heads):
        own = layer.clear(head)
        rows = slice(own.start, own.start + part)
        block = _tensor(projection[head * part : (head + 1) * part])
        layer.query.weight[rows, : layer.content] = block * (sharp / part * layer.size**0.5)
        layer.key.weight[rows, : layer.content] = block
        # A token of the first side looks at the second and the other way round.
        layer.bonus(own.stop - 2, {_SIDE: -2 * apart / _ON / _ON}, {_SIDE: 1.0}, constant=apart / _ON)
        # [CLS] has the score that a match must beat; one head is content with a similar token.
        threshold = 0.6 * sharp if head else 0.45 * sharp
        layer.bonus(own.stop - 1, {_SIDE: -apart / _ON / _ON}, {_CLS: 1.0}, constant=(apart + threshold) / _ON)
        layer.carry(
            own.start,
            {_CLS: -1.0},
            _MATCH + min(head, 3),
            constant=_ON,
            gain=1.0 if head < 3 else 1 / (layer.heads - 3),
        )
    # Of the first side's tokens: the weight if the token was found, and if it was not.
    exact = {_MATCH + number: 1 / 3 for number in (1, 2, 3)}
    for number, match in enumerate((exact, {_MATCH: 1.0})):
        layer.unit({_WEIGHT: 2, **{k: 2 * v for k, v in match.items()}, _SIDE: -4}, -2 * _ON, _FOUND + number, 0.5)
        layer.unit({_WEIGHT: 2, **{k: -2 * v for k, v in match.items()}, _SIDE: -4}, 0.0, _MISSING + number, 0.5)


def _collect(layer: _Wiring) -> None:
    # The mean over the first side of what was found and what was not.
    own = layer.clear(0)
    layer.bonus(own.start, {}, {_SIDE: -4.0}, constant=1.0)
    for number in range(4):
        layer.carry(own.start + number, {_FOUND + number: 1.0}, _SUM + number, gain=3.0)
    # The share of matches, heavy tokens counting more.
    own = layer.clear(1)
    layer.bonus(own.start, {}, {_SIDE: -4.0, _WEIGHT: 1.5, _CLS: -2.0, _SEP: -2.0}, constant=1.0)
    layer.carry(own.start, {_MATCH + number: 1 / 3 for number in (1, 2, 3)}, _SHARE, gain=2.0)


def _orthonormal(rows: int, columns: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Return a random matrix whose rows, or columns where these are fewer, are orthonormal."""
    tall = generator.standard_normal((max(rows, columns), min(rows, columns)))
    basis = np.linalg.qr(tall)[0].astype(np.float32)
    return basis if rows >= columns else basis.T


def _tensor(values: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
