"""The body of a new language model: KLUE's shape, and weights that need not be random numbers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import RobertaConfig, set_seed

from langchain_klue_rerank.engine.models.opening import packaged_bi_encoder
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from training.experiments.masking import MaskedModel
from training.recipes import matching_start

Start = Literal["random", "warm", "matching"]


def make_body(
    tokenizer: Any,
    *,
    layers: int,
    hidden: int,
    heads: int,
    intermediate: int,
    max_positions: int,
    start: Start,
    seed: int,
) -> MaskedModel:
    """Make a body of klue/roberta's kind.

    Args:
        tokenizer: Its tokens.
        layers: Transformer layers.
        hidden: Width.
        heads: Attention heads.
        intermediate: Width of the feed-forward part.
        max_positions: Positions; two fewer tokens can be read.
        start: Random weights; ``warm`` token embeddings from the packaged bi-encoder; or ``matching``, which wires
            attention besides (see `matching_start`) and, since it relies on single dimensions, drops none out.
        seed: Of everything random.

    Raises:
        ValueError: If the shape is too small for ``matching``.
    """
    set_seed(seed)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=max_positions,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        layer_norm_eps=1e-5,
        **({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if start == "matching" else {}),
    )
    model = MaskedModel(config)
    if start == "warm":
        table = warm_embeddings(tokenizer, hidden, config.initializer_range)
        ordinary = [number for number in range(len(tokenizer)) if number not in tokenizer.all_special_ids]
        with torch.no_grad():
            model.get_input_embeddings().weight[ordinary] = torch.from_numpy(table)[ordinary]
    elif start == "matching":
        matching_start.wire(model, token_vectors(tokenizer), seed)
    return model


def token_vectors(tokenizer: Any) -> NDArray[np.float32]:
    """Return the packaged bi-encoder's vectors of the tokens' texts; their lengths are the tokens' weights.

    Args:
        tokenizer: The tokens; ``##`` is left out of their texts.

    Returns:
        float32, (tokens, 512); zeros for special tokens and those without any letter or digit.
    """
    encoder = packaged_bi_encoder()
    texts = [token.removeprefix("##") for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    for number in tokenizer.all_special_ids:
        texts[number] = ""
    tokens = tokenize(texts, shared_analyzer())
    by_word = encoder.word_vectors(tokens.words, tokens.morphemes)
    vectors = np.zeros((len(texts), encoder.dimension), np.float32)
    np.add.at(vectors, np.repeat(np.arange(len(texts)), tokens.lengths()), by_word[tokens.word_ids])
    return vectors


def warm_embeddings(tokenizer: Any, hidden: int, scale: float) -> NDArray[np.float32]:
    """Return the tokens' vectors, brought to the model's width.

    The vectors are not scaled to one length each: a particle's is shorter than a noun's, and that alone lifts the mean
    over a sentence's tokens from nearly useless to a fair sentence vector.

    Args:
        tokenizer: The tokens.
        hidden: The width; the bi-encoder's 512 dimensions are projected on their first principal components. A wider
            model gets random numbers behind them.
        scale: Standard deviation of the result, that of the usual random start.

    Returns:
        float32, (tokens, hidden); zeros for tokens without any letter or digit.
    """
    vectors = token_vectors(tokenizer)
    known = np.abs(vectors).sum(axis=1) > 0
    _, _, directions = np.linalg.svd(vectors[known] - vectors[known].mean(axis=0), full_matrices=False)
    table = np.zeros((len(vectors), hidden), np.float32)
    projected = vectors @ directions[:hidden].T
    table[:, : projected.shape[1]] = projected * (scale / projected[known].std())
    if projected.shape[1] < hidden:
        noise = np.random.default_rng(0).standard_normal((int(known.sum()), hidden - projected.shape[1]))
        table[known, projected.shape[1] :] = noise * scale
    return table
