"""The start for cross-encoders: from the first step on, tokens find their like in the other text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import RobertaConfig, RobertaModel  # noqa: E402

from training.recipes import matching_start  # noqa: E402

_CLS, _PAD, _SEP = 0, 1, 2
_QUESTION = [20, 21, 22, 23]
#: Holds the tokens 21 and 23 of the question.
_PASSAGE = [40, 41, 21, 42, 43, 44, 23, 45, 46, 47]


def make(layers: int = 3) -> Any:
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=100,
        hidden_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=_PAD,
        bos_token_id=_CLS,
        eos_token_id=_SEP,
        layer_norm_eps=1e-5,
        attn_implementation="eager",
    )
    model = RobertaModel(config).eval()
    vectors = np.random.default_rng(1).standard_normal((100, 64)).astype(np.float32)
    vectors[[_CLS, _PAD, _SEP]] = 0
    vectors[30] = vectors[20] + 0.2 * vectors[50]  # 30 and 20 mean nearly the same
    vectors[22] *= 0.2  # a light token, as a particle
    matching_start.wire(model, vectors)
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    return make()


def read(model: Any, question: list[int], passage: list[int]) -> Any:
    ids = torch.tensor([[_CLS, *question, _SEP, *passage, _SEP]])
    with torch.inference_mode():
        return model(ids, output_attentions=True, output_hidden_states=True)


def looks_at(found: Any, token: int, other: int) -> float:
    """Return how much of its attention a token pays another one in the layer that compares, mean over the heads."""
    return float(found.attentions[1][0, :, token, other].mean())


def test_a_token_attends_to_its_copy_in_the_other_text_in_both_directions(model: Any) -> None:
    found = read(model, _QUESTION, _PASSAGE)
    passage = 2 + len(_QUESTION)  # where it begins
    for token in (21, 23):
        here, there = 1 + _QUESTION.index(token), passage + _PASSAGE.index(token)
        assert looks_at(found, here, there) > 0.8
        assert looks_at(found, there, here) > 0.8


def test_a_token_without_its_like_attends_to_the_first_token(model: Any) -> None:
    found = read(model, _QUESTION, _PASSAGE)
    for token in (20, 22):
        assert looks_at(found, 1 + _QUESTION.index(token), 0) > 0.5


def test_a_similar_token_is_found_too(model: Any) -> None:
    found = read(model, _QUESTION, [30, *_PASSAGE])
    assert looks_at(found, 1, 2 + len(_QUESTION)) > 0.5


@pytest.mark.parametrize("layers", [3, 5, 6])
def test_the_first_token_reads_how_much_of_the_question_was_found(layers: int) -> None:
    model = make(layers)
    fillers = list(range(60, 90))
    states = []
    for count in (0, 1, 2, 4):  # tokens of the question in the passage
        passage = [*fillers[:10], *_QUESTION[:count], *fillers[10 : 20 - count]]
        states.append(read(model, _QUESTION, passage).last_hidden_state[0, 0])
    direction = states[-1] - states[0]
    along = [float(state @ direction) for state in states]
    assert along == sorted(along)
    assert (along[-1] - along[0]) / float(states[0] @ states[0]) ** 0.5 > 1  # well above rounding and noise


def test_more_layers_pass_on_what_they_get() -> None:
    states = [read(make(layers), _QUESTION, _PASSAGE).last_hidden_state[0] for layers in (3, 6)]
    assert torch.nn.functional.cosine_similarity(*states, dim=1).min() > 0.9


@pytest.mark.parametrize("shape", [(2, 256, 4), (3, 256, 2), (3, 48, 4), (3, 64, 8)])
def test_a_model_that_is_too_small_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="too small"):
        matching_start.check_shape(*shape)


def best_cosines(model: Any, question: list[int], passage: list[int]) -> float:
    """Return the mean best cosine of late interaction, each text read by itself."""
    weights, bias = matching_start.token_projection(256, 64)
    sides = []
    for tokens in (question, passage):
        with torch.inference_mode():
            states = model(torch.tensor([[_CLS, *tokens, _SEP]])).last_hidden_state[0]
        sides.append(torch.nn.functional.normalize(states @ weights.T + bias, dim=1))
    return float((sides[0] @ sides[1].T).max(dim=1).values.mean())


def test_late_interaction_starts_with_matches_and_heavy_tokens_count_more() -> None:
    model, heavy, light = make(), 20, 22
    fillers = list(range(60, 72))
    neither, both = fillers, [heavy, *fillers, light]
    scores = [
        best_cosines(model, [heavy, light], passage)
        for passage in (neither, [light, *fillers], [heavy, *fillers], both)
    ]
    assert scores == sorted(scores)
    assert scores[2] - scores[1] > 0.05
