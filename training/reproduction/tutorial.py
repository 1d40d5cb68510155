"""The tutorial's closing table, measured as the tutorial measures it.

The questions are the rows that ``train_test_split(test_size=1000, seed=42)`` draws from KLUE-MRC's validation rows, the
corpus is their contexts, as often as they stand there. Vectors go raw into a flat L2 index of FAISS, questions are
embedded one by one, the cross-encoder truncates as it likes, and all of it is timed but for embedding the corpus.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from tqdm import tqdm

from langchain_klue_rerank.errors import MissingExtraError
from training.inputs import Question
from training.recipes.fitting import load_model
from training.recipes.precision import computing_in
from training.recipes.retrieval import DEPTH, Measured

#: Name of the corpus in tables.
CORPUS = "the tutorial's"
Find = Callable[[str], NDArray[np.int64]]


@dataclass(frozen=True)
class Models:
    """Folders of the three models."""

    base: str
    fine_tuned: str
    cross_encoder: str


def choose_rows(count: int, wanted: int, seed: int) -> list[int]:
    """Return the rows that ``train_test_split(test_size=wanted, seed=seed)["test"]`` of the `datasets` library has.

    Args:
        count: Rows there are.
        wanted: Rows to choose; all, in their order, if there are no more.
        seed: Of the draw.
    """
    if wanted >= count:
        return list(range(count))
    rows = Dataset.from_dict({"row": range(count)})
    return list(rows.train_test_split(test_size=wanted, seed=seed)["test"]["row"])


def check_faiss() -> None:
    """Make sure, before hours of training, that the index is there.

    Raises:
        MissingExtraError: Without FAISS.
    """
    if importlib.util.find_spec("faiss") is None:
        raise MissingExtraError("faiss-cpu", "train", "--protocol tutorial")


def measure(
    part: str,
    rows: Sequence[Question],
    models: Models,
    fetch_k: int,
    lengths: tuple[int | None, int | None],
    precision: str,
) -> Measured:
    """Measure one row of the tutorial's closing table.

    Args:
        part: ``"base"``, ``"fine_tuned"`` or ``"reranked"``.
        rows: The questions; their passages are the corpus.
        models: Where the models lie.
        fetch_k: Candidates that are reranked.
        lengths: Longest input in tokens of bi-encoder and cross-encoder; None for the models' own.
        precision: To compute in: auto, bf16, fp16 or fp32.

    Raises:
        ModelLoadError: If a model cannot be loaded.
    """
    contexts = [row.passage for row in rows]
    folder = models.base if part == "base" else models.fine_tuned
    model = load_model("SentenceTransformer", folder, lengths[0])
    with computing_in(precision, model.device.type):
        find = _index(model, contexts, min(fetch_k if part == "reranked" else DEPTH, len(contexts)))
        if part == "reranked":
            cross_encoder = load_model("CrossEncoder", models.cross_encoder, lengths[1])
            find = _reranking(cross_encoder, contexts, find)
        began = time.perf_counter()
        ranks = []
        for row in tqdm(rows, desc=f"{part}, as the tutorial", mininterval=1, leave=False):
            found = find(row.question)[:DEPTH].tolist()
            ranks.append(next((n for n, place in enumerate(found, 1) if contexts[place] == row.passage), 0))
        seconds = time.perf_counter() - began
    return Measured(part, CORPUS, len(contexts), ranks, round(seconds, 2))


def _index(model: Any, contexts: Sequence[str], count: int) -> Find:
    """Embed the corpus; return what finds the nearest of it."""
    import faiss

    vectors = _encode(model, contexts)
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    return lambda question: np.asarray(index.search(_encode(model, [question]), count)[1][0])


def _encode(model: Any, texts: Sequence[str]) -> NDArray[np.float32]:
    vectors = model.encode(list(texts), show_progress_bar=len(texts) > 1)
    return np.ascontiguousarray(vectors, np.float32)


def _reranking(cross_encoder: Any, contexts: Sequence[str], find: Find) -> Find:
    """Return what finds candidates and puts them in the cross-encoder's order."""

    def ranked(question: str) -> NDArray[np.int64]:
        places = find(question)
        scores = cross_encoder.predict([(question, contexts[place]) for place in places], show_progress_bar=False)
        return places[np.argsort(np.asarray(scores, np.float32))[::-1]]

    return ranked
