"""What two sources know of morphemes: Kiwi's language model, and which morphemes stand near each other in plain text.

Both give vectors whose largest directions say little more than how frequent a morpheme is and of what kind; they are
taken out ("all but the top", Mu and Viswanath 2018). The sum of such vectors, frequent morphemes weighing less (Arora
et al. 2017, "A simple but tough-to-beat baseline for sentence embeddings"), says what a text is about before anything
is trained.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds
from tqdm import tqdm

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

logger = logging.getLogger(__name__)

#: Morphemes that count as neighbours stand at most so many others apart, in one line of text.
WINDOW = 12
#: Neighbours are counted for morphemes that occur so often.
LEAST = 8


def count_neighbours(
    texts: TokenizedTexts,
    vocabulary: Sequence[str],
    counts: NDArray[np.int64],
    seed: int,
    subsampling: float = 1e-4,
) -> tuple[NDArray[np.int64], sparse.csr_matrix]:
    """Count which morphemes stand near each other.

    Args:
        texts: Lines of text, tokenized with morphemes.
        vocabulary: Morphemes with a number.
        counts: (vocabulary,): how often each occurs in the texts.
        seed: For the occurrences of frequent morphemes that count.
        subsampling: Of morphemes that make up a larger share of the text only some occurrences count, as in word2vec
            (Mikolov et al. 2013). Default 1e-4.

    Returns:
        The numbers of the m morphemes that occur at least `LEAST` times; and (m, m): their neighbourhoods, the nearer
        the more.
    """
    chosen = np.flatnonzero(counts >= LEAST)
    number = {vocabulary[morpheme]: place for place, morpheme in enumerate(chosen.tolist())}
    of_words = Ragged.from_rows([number[m] for m in found if m in number] for found in texts.morphemes)
    lines = Ragged(texts.word_ids, texts.offsets).through(of_words)
    sequence, line = lines.values, np.repeat(np.arange(len(texts)), lines.lengths())
    share = counts[chosen] / counts.sum()
    keep = np.minimum(1, np.sqrt(subsampling / share) + subsampling / share)
    kept = np.random.default_rng(seed).random(len(sequence)) < keep[sequence]
    sequence, line = sequence[kept], line[kept]
    near = sparse.csr_matrix((len(chosen), len(chosen)), dtype=np.float32)
    for distance in tqdm(range(1, WINDOW + 1), desc="neighbours"):
        first, second = sequence[:-distance], sequence[distance:]
        same = line[:-distance] == line[distance:]
        weight = np.full(int(same.sum()), 1 / (1 + (distance - 1) / 10), np.float32)
        near = near + sparse.coo_matrix((weight, (first[same], second[same])), shape=near.shape).tocsr()
    return chosen, (near + near.T).tocsr()


def neighbour_vectors(near: sparse.csr_matrix, dimension: int, drop: int = 3) -> NDArray[np.float32]:
    """Factorize positive pointwise mutual information (Levy, Goldberg and Dagan 2015).

    Args:
        near: (m, m), symmetric: see `count_neighbours`.
        dimension: Of the vectors.
        drop: How many of the largest directions are left out. Default 3.

    Returns:
        float32, (m, dimension), rows of length 1.
    """
    entries = near.tocoo()
    totals = np.asarray(near.sum(axis=1)).ravel()
    context = totals**0.75
    context /= context.sum()
    information = np.log(entries.data / (totals[entries.row] * context[entries.col]))
    positive = information > 0
    places = (entries.row[positive], entries.col[positive])
    matrix = sparse.coo_matrix((information[positive].astype(np.float32), places), shape=near.shape).tocsr()
    size = dimension + drop
    left, values, _ = svds(matrix, k=size, v0=np.ones(near.shape[0], np.float32))
    order = np.argsort(-values)
    # Little of the singular values: equal weight for all directions loses nothing of what tells similar texts.
    return unit((left[:, order] * values[order] ** 0.25)[:, drop:])


def all_but_the_top(
    vectors: NDArray[np.float32], known: NDArray[np.bool_], counts: NDArray[np.int64], drop: int = 4
) -> NDArray[np.float32]:
    """Centre vectors and take their largest directions out, frequent morphemes counting more.

    Args:
        vectors: (n, dimension).
        known: (n,): which rows are vectors; the others stay zero.
        counts: (n,): how often each morpheme occurs.
        drop: How many directions are taken out. Default 4.

    Returns:
        float32, (n, dimension), known rows of length 1.
    """
    weight = np.where(known, np.sqrt(counts + 1), 0)[:, None]
    centred = np.where(known[:, None], vectors - (vectors * weight).sum(axis=0) / weight.sum(), 0)
    directions = np.linalg.eigh((centred * weight).T @ centred)[1][:, -drop:]
    return unit(centred - (centred @ directions) @ directions.T)


def complete(
    vectors: NDArray[np.float32], known: NDArray[np.bool_], others: NDArray[np.float32], others_known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Guess the vectors that one source lacks from those of the other, by ridge regression on the common ones."""
    common = known & others_known
    inputs = others[common].astype(np.float64)
    weights = np.linalg.solve(inputs.T @ inputs + 30 * np.eye(inputs.shape[1]), inputs.T @ vectors[common])
    completed = vectors.copy()
    missing = ~known & others_known
    completed[missing] = others[missing] @ weights
    logger.info("%d vectors of morphemes guessed", int(missing.sum()))
    return completed


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale rows to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
