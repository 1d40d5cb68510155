"""Passages, tokens and vectors for the tests of the index."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.files import SavedFiles
from langchain_klue_rerank.engine.contracts import CrossEncoder, Evidence, ScoreRequest
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.windows import cut_texts
from langchain_klue_rerank.engine.text.words import split_words

DIMENSION = 256  # many, so that the vectors of different words are nearly at right angles
SETTINGS = IndexSettings(kiwi=False)


def files_in(folder: Path) -> SavedFiles:
    """The files of a folder, as if a manifest named them."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return SavedFiles({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}, str(folder))


def passage(identifier: str, text: str, **metadata: Any) -> Passage:
    return Passage(identifier, text, metadata)


def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """A vector per text that is the same for the same words."""
    table = np.zeros((len(texts), DIMENSION), np.float32)
    for row, text in zip(table, texts, strict=True):
        for word in split_words(text):
            row += np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIMENSION)
    return table


def windows_of(texts: Sequence[str], words: int) -> PassageVectors:
    """The vectors of windows of so many words."""
    windows, offsets = cut_texts(texts, [""] * len(texts), words)
    return PassageVectors.of_windows(vectors_of(windows), offsets)


def tokens_of(texts: Sequence[str]) -> TokenizedTexts:
    return tokenize(texts, None)


def add(index: PassageIndex, *passages: Passage) -> None:
    texts = [one.text for one in passages]
    words = index.settings.window_words
    index.add(
        passages,
        tokens_of(texts) if index.settings.lexical else None,
        (vectors_of(texts) if words is None else windows_of(texts, words)) if index.settings.dense else None,
    )


def search(index: PassageIndex, query: str, k: int = 10, **options: Any) -> list[tuple[str, float]]:
    [found] = index.search(
        k,
        tokens=tokens_of([query]) if index.settings.lexical else None,
        vectors=vectors_of([query]) if index.settings.dense else None,
        **options,
    )
    return [(one.id, score) for one, score in zip(found.passages, found.scores.tolist(), strict=True)]


def ids(found: list[tuple[str, float]]) -> list[str]:
    return [identifier for identifier, _ in found]


def small_index(settings: IndexSettings = SETTINGS) -> PassageIndex:
    index = PassageIndex(settings)
    add(
        index,
        passage("가", "전입신고 14일 주민센터", title="전입"),
        passage("나", "체류기간 연장 출입국", title="체류", tags=["비자"]),
        passage("다", "건강보험 가입 외국인", title="보험"),
    )
    return index


def score(
    encoder: CrossEncoder,
    queries: Sequence[str],
    passages: Sequence[Sequence[str]],
    evidence: Sequence[Evidence | None] | None = None,
    *,
    alone: bool = True,
    deadline: float | None = None,
) -> list[NDArray[np.float32]]:
    """Score lists of texts; NaN for a text that was not read in time."""
    requests = [
        ScoreRequest(
            query,
            texts,
            evidence[number] if evidence is not None else None,
            None if alone else np.zeros(len(texts), np.float32),
            1.0 if alone else 0.5,
        )
        for number, (query, texts) in enumerate(zip(queries, passages, strict=True))
    ]
    return [np.where(own.is_read, own.values, np.float32("nan")) for own in encoder.score(requests, deadline)]
