"""Passages of about 300 characters made of plain text, as many as a benchmark of large indexes asks for."""

from __future__ import annotations

import lzma
import random
from collections.abc import Iterator
from pathlib import Path

from langchain_klue_rerank.engine.index.passages import Passage

#: Characters of a passage, before it is shortened to whole words.
CHARACTERS = 300
#: Where the cuts of the same text begin: each gives passages that no other one gives.
_CUTS = (0, 150, 75, 225, 37, 187, 112, 262)


def raw_passages(folder: Path, count: int) -> list[Passage]:
    """Cut the texts of a folder into passages.

    Args:
        folder: Text files, one paragraph a line, ``*.txt`` or ``*.txt.xz``.
        count: How many passages.

    Returns:
        Passages in an order that is mixed but always the same, so that the first n of a larger number are a fair sample
        of all texts. Their metadata is the kind that people filter by: source, number, year, tags.

    Raises:
        ValueError: If the folder's texts do not suffice.
    """
    texts = {path.name.split(".")[0]: _read(path) for path in sorted(folder.glob("*.txt*"))}
    pieces = [piece for cut in _CUTS for name, text in texts.items() for piece in _cut(name, text, cut, count)]
    if len(pieces) < count:
        raise ValueError(f"{str(folder)!r} gives {len(pieces)} passages of {CHARACTERS} characters, not {count}.")
    generator = random.Random(0)
    generator.shuffle(pieces)
    return [
        Passage(
            f"{name}-{number}",
            text,
            {"source": name, "number": number, "year": 2000 + number % 25, "tags": ["가", "나"] if number % 3 else []},
        )
        for number, (name, text) in enumerate(pieces[:count])
    ]


def _read(path: Path) -> str:
    content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return " ".join(content.decode().split())


def _cut(name: str, text: str, first: int, most: int) -> Iterator[tuple[str, str]]:
    for start in range(first, min(len(text), first + most * CHARACTERS), CHARACTERS):
        piece = text[start : start + CHARACTERS]
        words = piece.split(" ")
        yield name, " ".join(words[1:-1] if len(words) > 2 else words)
