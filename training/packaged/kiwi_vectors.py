"""Morpheme vectors recovered from the language model inside Kiwi, without a download.

Kiwi (kiwipiepy, Apache-2.0) tells through its public API how similar any two morphemes are: the cosine of vectors it
does not hand out. The similarities of a few hundred landmark morphemes to all 70,488 are enough to compute vectors with
the same cosines (the Nystroem method): with C the similarities of all morphemes to the landmarks and W those among the
landmarks, C W^(-1/2) has inner products C W^-1 C', which equals the whole similarity matrix once the landmarks span
the space. That space has 256 dimensions, so 600 landmarks are plenty.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kiwipiepy import Kiwi
from numpy.typing import NDArray
from tqdm import tqdm

logger = logging.getLogger(__name__)

#: Landmarks asked for; every one costs about 0.2 s.
LANDMARKS = 600

#: Dimensions of the vectors inside Kiwi 0.24: the similarity matrix has this rank up to rounding.
DIMENSION = 256


@dataclass(frozen=True, slots=True)
class KiwiVectors:
    """A unit vector for every morpheme that Kiwi's language model knows.

    Attributes:
        names: Morphemes as ``form/TAG``, lower case, without the suffix of irregular verbs; no duplicates.
        vectors: float32, (number of names, 256), rows of length 1.
    """

    names: list[str]
    vectors: NDArray[np.float32]


def recover(kiwi: Kiwi, landmarks: int = LANDMARKS, seed: int = 0) -> KiwiVectors:
    """Ask Kiwi for similarities and factorize them into vectors.

    Args:
        kiwi: A Kiwi whose language model is CoNg (the default one since 0.21).
        landmarks: How many morphemes to ask about, at least `DIMENSION`. Default 600.
        seed: For the choice of landmarks. Default 0.

    Returns:
        The vectors. Of several senses of one form and tag the first, which is the most frequent, is kept.

    Raises:
        RuntimeError: If the vectors do not reproduce the similarities that they were computed from.
    """
    everything = kiwi.most_similar_morphemes(("사과", "NNG"), top_n=1_000_000)
    count = max(morpheme.id for morpheme in everything) + 1
    names: dict[int, str] = {m.id: f"{m.form.lower()}/{m.tag.split('-')[0]}" for m in everything}
    known = np.asarray(sorted(names))
    # Frequent morphemes have low numbers and well trained vectors; the first numbers are symbols and letters.
    pool = known[(known >= 100) & (known < 20_000)]
    chosen = np.random.default_rng(seed).choice(pool, size=landmarks, replace=False)
    similarity = np.zeros((count, landmarks), dtype=np.float64)
    for column, landmark in enumerate(tqdm(chosen, desc="Kiwi similarities")):
        answer = kiwi.most_similar_morphemes(int(landmark), top_n=1_000_000)
        ids = np.fromiter((m.id for m in answer), dtype=np.int64, count=len(answer))
        similarity[ids, column] = np.fromiter((m.score for m in answer), dtype=np.float64, count=len(answer))
        similarity[landmark, column] = 1.0  # Kiwi answers -100,000 for the morpheme itself
    values, basis = np.linalg.eigh(similarity[chosen])
    values, basis = values[-DIMENSION:], basis[:, -DIMENSION:]
    vectors = similarity @ (basis / np.sqrt(np.maximum(values, 1e-6)))
    error = float(np.abs(vectors @ vectors[chosen].T - similarity).max())
    logger.info("largest error of a recovered similarity: %.4f", error)
    if error > 0.05:
        raise RuntimeError(f"recovered vectors miss a similarity by {error:.3f}: has Kiwi's model changed?")
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    first: dict[str, int] = {}
    for number in known.tolist():
        first.setdefault(names[number], number)
    return KiwiVectors(list(first), vectors[list(first.values())].astype(np.float32))


def load_or_recover(cache: Path, kiwi: Kiwi) -> KiwiVectors:
    """Return the vectors out of a file, or recover them (about two minutes) and write that file.

    Args:
        cache: An ``.npz`` file; its folder must exist.
        kiwi: Used only when the file is missing.

    Returns:
        The vectors.
    """
    if not cache.exists():
        found = recover(kiwi)
        np.savez(cache, names=np.asarray(found.names), vectors=found.vectors.astype(np.float16))
    with np.load(cache, allow_pickle=False) as stored:
        return KiwiVectors(stored["names"].tolist(), stored["vectors"].astype(np.float32))
