"""The files of an encoder: what a folder holds, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.mapped import open_regular, packaged_config, read_small
from langchain_klue_rerank.engine.models.encoder.blocks import BLOCK, BlockMatrix
from langchain_klue_rerank.engine.models.encoder.byte_matrix import ByteMatrix

FORMAT: Final = "klue-encoder"
FORMAT_VERSION: Final = 4
CONFIG_FILE: Final = "config.json"
#: The most bytes that the configuration may have.
_CONFIG_BYTES: Final = 1 << 20
#: Matrices of a layer: queries, keys and values; what attention returns; and the two of the feed-forward part.
MATRICES: Final = ("attention", "attention_output", "intermediate", "output")
#: Vectors of a layer.
VECTORS: Final = (
    *(f"{name}_bias" for name in MATRICES),
    *(f"{name}_norm_{part}" for name in ("attention", "output") for part in ("weight", "bias")),
)
#: Turns the mean of a question and a passage that are read together into log odds; the last number is the bias.
READING: Final = "reading"
#: What a matrix has beside its bytes; see `ByteMatrix`.
_OF_MATRICES: Final = ("scales", "lows", "steps")
_FILES: Final = (
    *("blocks.npy", "block_scales.npy", "bytes.npy", "floats.npy", "positions.npy"),
    *("pieces.txt", "piece_scores.npy"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a BERT encoder.

    Attributes:
        pieces: Rows of the table of pieces.
        hidden: Numbers of a vector, a multiple of 32.
        layers: Layers.
        heads: Heads of attention.
        feed_forward: Numbers within the feed-forward part.
        positions: Longest text in pieces.
        epsilon: Of the normalisation of layers.
    """

    pieces: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    epsilon: float = 1e-12

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Return the shape of every matrix, in the order of the file."""
        own = {
            "attention": (3 * self.hidden, self.hidden),
            "attention_output": (self.hidden, self.hidden),
            "intermediate": (self.feed_forward, self.hidden),
            "output": (self.hidden, self.feed_forward),
        }
        return {f"{layer}.{name}": own[name] for layer in range(self.layers) for name in MATRICES}

    def vectors(self) -> dict[str, int]:
        """Return the length of every vector, those of matrices included, in the order of the file."""
        own = dict.fromkeys(VECTORS, self.hidden)
        own |= {"attention_bias": 3 * self.hidden, "intermediate_bias": self.feed_forward}
        layers = {f"{layer}.{name}": size for layer in range(self.layers) for name, size in own.items()}
        shapes = self.matrices()
        given = {f"{name}_{part}": shapes[name][part != "scales"] for name in shapes for part in _OF_MATRICES}
        return {"norm_weight": self.hidden, "norm_bias": self.hidden, **layers, READING: self.hidden + 1, **given}


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """An encoder's weights.

    Attributes:
        sizes: Its sizes.
        prompts: What stands before a ``"query"`` and a ``"passage"``.
        table: (pieces, hidden).
        matrices: By name, `Sizes.matrices`.
        vectors: By name, those of `Sizes.vectors` that are not of matrices, float32.
        positions: (positions, hidden) float16, what is added to the piece at each place.
        pieces: The pieces.
        piece_scores: Their log likelihoods.
    """

    sizes: Sizes
    prompts: dict[str, str]
    table: BlockMatrix
    matrices: dict[str, ByteMatrix]
    vectors: dict[str, NDArray[np.float32]]
    positions: NDArray[np.float16]
    pieces: list[str]
    piece_scores: NDArray[np.float32]

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write the files.

        Args:
            folder: Where to; made if it is not there.
            about: How it was made, for the configuration.
        """
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "blocks.npy", self.table.packed)
        np.save(folder / "block_scales.npy", self.table.scales)
        values = [self.matrices[name].values.reshape(-1) for name in self.sizes.matrices()]
        np.save(folder / "bytes.npy", np.concatenate(values))
        vectors = self.vectors | {
            f"{name}_{part}": getattr(matrix, part) for name, matrix in self.matrices.items() for part in _OF_MATRICES
        }
        np.save(folder / "floats.npy", np.concatenate([vectors[name] for name in self.sizes.vectors()]))
        np.save(folder / "positions.npy", self.positions)
        np.save(folder / "piece_scores.npy", self.piece_scores)
        (folder / "pieces.txt").write_bytes("".join(f"{piece}\n" for piece in self.pieces).encode())
        config = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **asdict(self.sizes),
            "prompts": self.prompts,
            "sha256": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _FILES},
            "about": dict(about),
        }
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Say whether a folder holds such weights."""
        try:
            config = json.loads(read_small(Path(folder) / CONFIG_FILE, _CONFIG_BYTES))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(config, dict) and config.get("format") == FORMAT

    @classmethod
    def load(cls, folder: Path) -> EncoderWeights:
        """Open what `save` wrote.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the folder holds something else, another format version, or files that are damaged.
        """
        config = packaged_config(Path(folder) / CONFIG_FILE, FORMAT, FORMAT_VERSION)
        checksums = config.get("sha256")
        if not isinstance(checksums, dict) or sorted(checksums) != sorted(_FILES):
            raise ValueError(f"{folder} has no checksums of its files.")
        for name in _FILES:
            with open(open_regular(folder / name), "rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
            if checksum != checksums[name]:
                raise ValueError(f"{folder / name} is damaged: its checksum is another one. Install the package again.")
        try:
            sizes = Sizes(**{name: config[name] for name in Sizes.__dataclass_fields__})
            prompts = {kind: str(config["prompts"][kind]) for kind in ("query", "passage")}
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / CONFIG_FILE} does not say the sizes and prompts ({error}).") from error
        given = {name: size for name, size in asdict(sizes).items() if name != "epsilon"}
        if not all(type(size) is int and 0 < size < 1 << 24 for size in given.values()) or sizes.hidden % sizes.heads:
            raise ValueError(f"{folder / CONFIG_FILE} has sizes that are none: {given}.")
        blocks = np.load(folder / "blocks.npy", mmap_mode="r", allow_pickle=False)
        scales = np.load(folder / "block_scales.npy", allow_pickle=False)
        floats = np.load(folder / "floats.npy", allow_pickle=False)
        positions = np.load(folder / "positions.npy", allow_pickle=False)
        pieces = (folder / "pieces.txt").read_bytes().decode().split("\n")[:-1]
        piece_scores = np.load(folder / "piece_scores.npy", allow_pickle=False)
        values = np.load(folder / "bytes.npy", mmap_mode="r", allow_pickle=False)
        shapes, lengths = sizes.matrices(), sizes.vectors()
        ends = np.cumsum([rows * columns for rows, columns in shapes.values()]).tolist()
        if (
            (blocks.dtype, blocks.shape) != (np.uint8, (sizes.pieces, sizes.hidden // BLOCK, BLOCK // 2))
            or scales.shape != blocks.shape[:2]
            or (values.dtype, values.shape) != (np.int8, (ends[-1],))
            or floats.shape != (sum(lengths.values()),)
            or positions.shape != (sizes.positions, sizes.hidden)
            or not len(pieces) == len(piece_scores) == sizes.pieces
        ):
            raise ValueError(f"The files in {folder} are not of the sizes that {CONFIG_FILE} says.")
        cuts = np.cumsum(list(lengths.values()))[:-1]
        vectors = dict(zip(lengths, np.split(floats, cuts), strict=True))
        matrices = {
            name: ByteMatrix(
                values[end - rows * columns : end].reshape(rows, columns),
                *(vectors.pop(f"{name}_{part}") for part in _OF_MATRICES),
            )
            for (name, (rows, columns)), end in zip(shapes.items(), ends, strict=True)
        }
        return cls(sizes, prompts, BlockMatrix(blocks, scales), matrices, vectors, positions, pieces, piece_scores)
