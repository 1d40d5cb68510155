"""An index of which every version can be told from every other, and found to be whole."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.index import saved
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from tests.unit_tests.engine.helpers import SETTINGS, add, passage, tokens_of, vectors_of

KEPT = [passage(f"늘 {number}", f"언제나 있는 글 {number} 번째 전입신고", number=number) for number in range(12)]


def keep_segments(chance: random.Random) -> None:
    """Let every second process save as a large index is saved: what the folder has already is not written."""
    if chance.random() < 0.5:
        saved._FEW = saved._MANY = 0


def first(folder: Path) -> None:
    """Save version 0."""
    index = PassageIndex(SETTINGS)
    add(index, *KEPT)
    change(index, 0)
    index.save(folder)


def change(index: PassageIndex, version: int) -> None:
    """Turn the version before, or any that an interrupt left, into this one."""
    index.delete([one.id for one in index.get(index.find(lambda one: one.id.startswith("판 ")))])
    passages = [
        passage(f"판 {number}", f"{version} 판의 {number} 번째 글", version=version)
        for number in range(members(version))
    ]
    add(index, *passages)


def members(version: int) -> int:
    """How many passages of its own a version has."""
    return 1 + version % 5


def fault_of(index: PassageIndex, least: int, most: int, *, interrupted: bool = False) -> str | None:
    """Say what is wrong with an index that was loaded.

    Args:
        index: The index.
        least: The newest version that is known to be saved.
        most: The newest version that was begun.
        interrupted: Whether a change may have been saved half done, its removal without its addition.
    """
    if index.get([one.id for one in KEPT]) != KEPT:
        return "passages are lost"
    found = index.get(index.find(lambda one: one.id.startswith("판 ")))
    versions = {one.metadata["version"] for one in found}
    if interrupted and not found:
        versions, found = {most}, []
    elif len(versions) != 1 or len(found) != members(next(iter(versions))):
        return f"versions are mixed: {[(one.id, one.metadata) for one in found]}"
    if not least <= next(iter(versions)) <= most:
        return f"version {versions} instead of {least} to {most}"
    if len(index) != len(KEPT) + len(found):
        return f"{len(index)} passages"
    return parts_fault(index)


def parts_fault(index: PassageIndex) -> str | None:
    """Say whether every passage has its own vector and its own tokens."""
    passages = index.get(index.find(lambda _: True))
    texts = [one.text for one in passages]
    vectors = index.vectors([one.id for one in passages])
    if vectors.shape != (len(texts), 256):
        return f"vectors of shape {vectors.shape}"
    if not np.allclose(vectors, as_unit_vectors(vectors_of(texts)), atol=1e-5):
        return "vectors are those of other passages"
    for number in {0, len(texts) - 1}:
        [found] = index.search(3, tokens=tokens_of([texts[number]]))
        if passages[number].id not in [one.id for one in found.passages]:
            return f"passage {passages[number].id!r} is not found by its words"
    return None


def load_fault(folder: Path, least: int, most: int, *, interrupted: bool = False) -> str | None:
    """Load an index and say what is wrong with it."""
    try:
        index = PassageIndex.load(folder)
    except Exception as error:
        return f"cannot be loaded: {error!r}"
    return fault_of(index, least, most, interrupted=interrupted)
