"""The files of a packaged bi-encoder: a configuration with checksums, the vocabulary, vectors of four bits, scales."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.files import SavedFiles, write_array
from langchain_klue_rerank.engine.arrays.mapped import map_file, packaged_config
from langchain_klue_rerank.engine.arrays.unit_vectors import to_four_bits

FORMAT: Final = "klue-static-bi-encoder"
#: Raised when a reader of the old version would misread the new files. 2: n-grams of uncovered words only.
FORMAT_VERSION: Final = 2

CONFIG_FILE: Final = "config.json"
VOCABULARY_FILE: Final = "vocabulary.txt"
VECTORS_FILE: Final = "vectors.npy"
SCALES_FILE: Final = "scales.npy"

_FILES: Final = (VECTORS_FILE, SCALES_FILE, VOCABULARY_FILE)
#: Most dimensions.
_MOST_DIMENSIONS: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class StaticConfig:
    """What, beside the arrays, decides a vector.

    Attributes:
        dimension: Length of a vector, an even number.
        morphemes: Size of the vocabulary.
        unknown_rows: Shared rows for morphemes outside the vocabulary.
        ngram_rows: Shared rows for character bigrams and trigrams.
        repeat_power: A word that occurs ``tf`` times in a text counts ``tf ** repeat_power`` times.
    """

    dimension: int
    morphemes: int
    unknown_rows: int
    ngram_rows: int
    repeat_power: float

    def __post_init__(self) -> None:
        for name, least in (("dimension", 2), ("morphemes", 0), ("unknown_rows", 1), ("ngram_rows", 1)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value < 1 << 31:
                raise ValueError(f"{name} is {value!r}; expected a whole number from {least} up.")
        if self.dimension % 2 or self.dimension > _MOST_DIMENSIONS:
            raise ValueError(f"dimension is {self.dimension}; expected an even number up to {_MOST_DIMENSIONS}.")
        if type(self.repeat_power) not in (int, float) or not 0 <= self.repeat_power <= 1:
            raise ValueError(f"repeat_power is {self.repeat_power!r}; expected a number in 0..1.")

    @property
    def rows(self) -> int:
        """Rows of the table: the vocabulary, then the unknown, then the n-grams."""
        return self.morphemes + self.unknown_rows + self.ngram_rows


def is_at(folder: Path) -> bool:
    """Return whether a folder holds weights in this format, whole or damaged; no other kind of model has such files."""
    return (folder / VECTORS_FILE).is_file() or (folder / SCALES_FILE).is_file()


def read(folder: Path) -> tuple[StaticConfig, list[str], NDArray[np.uint8], NDArray[np.float32]]:
    """Read what `save` wrote; the large array is mapped.

    Returns:
        The configuration, the vocabulary, the vectors and their scales: the arguments of `StaticBiEncoder`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the folder holds something else, a newer format, or damaged files.
    """
    folder = Path(folder)
    settings = packaged_config(folder / CONFIG_FILE, FORMAT, FORMAT_VERSION)
    names = StaticConfig.__dataclass_fields__
    missing = [name for name in names if name not in settings]
    if missing:
        raise ValueError(f"{folder / CONFIG_FILE} lacks {', '.join(missing)}.")
    config = StaticConfig(**{name: settings[name] for name in names})
    checksums = settings.get("sha256")
    if not isinstance(checksums, dict) or set(checksums) != set(_FILES):
        raise ValueError(f"{folder / CONFIG_FILE} lacks the checksums of {', '.join(_FILES)}. Make it again.")
    files = SavedFiles({name: map_file(folder / name) for name in _FILES}, str(folder))
    for name in _FILES:
        if hashlib.sha256(files.content(name)).hexdigest() != checksums[name]:
            raise ValueError(f"{folder / name} was edited or damaged. Restore it from a copy, or make it again.")
    return (
        config,
        list(files.lines(VOCABULARY_FILE)),
        files.array(VECTORS_FILE.removesuffix(".npy"), np.uint8, ndim=2),
        files.array(SCALES_FILE.removesuffix(".npy"), np.float32),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(
    folder: Path,
    config: StaticConfig,
    vocabulary: Sequence[str],
    vectors: NDArray[np.float32],
    about: dict[str, object],
) -> None:
    """Quantize vectors to four bits and write a folder that `StaticBiEncoder.load` opens.

    Args:
        folder: An existing folder; files of the same names are replaced.
        config: The numbers that decide a vector.
        vocabulary: Morphemes in the order of their rows.
        vectors: float32, (rows, dimension).
        about: Further JSON-serialisable entries for the configuration, for people to read.
    """
    packed, scales = to_four_bits(vectors)
    write_array(folder / VECTORS_FILE, packed)
    write_array(folder / SCALES_FILE, scales)
    (folder / VOCABULARY_FILE).write_text("".join(f"{morpheme}\n" for morpheme in vocabulary), encoding="utf-8")
    checksums = {name: _sha256(folder / name) for name in (VECTORS_FILE, SCALES_FILE, VOCABULARY_FILE)}
    settings = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **asdict(config),
        "sha256": checksums,
        "about": about,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
