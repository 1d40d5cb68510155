"""Long passages in windows of words, each of which gets a vector of its own: words drown in a vector of two hundred."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

#: Words of a window by default; chosen on KLUE-MRC validation (`python -m benchmarks.windows`).
WINDOW_WORDS = 50

_WORD = re.compile(r"\S+")


def starts(length: int, words: int) -> NDArray[np.int64]:
    """Spread windows evenly over a text, as few as hold all of it.

    Args:
        length: Words of the text.
        words: Words of a window, at least 1.

    Returns:
        The first word of each window, at least one window. The last ends with the text, neighbours overlap a little.
    """
    count = max(1, -(-length // words))
    return np.arange(count) * max(0, length - words) // max(1, count - 1)


def cut_tokens(texts: TokenizedTexts, headings: Sequence[int], words: int) -> tuple[TokenizedTexts, NDArray[np.int64]]:
    """Cut tokenized passages into windows.

    Args:
        texts: The passages.
        headings: How many of each one's first words are its title, which stands before every window. More than a
            window's words count as text.
        words: Words of a window, the title not counted; at least 1.

    Returns:
        The windows; and where each passage's begin, int64, one more than there are passages.
    """
    first, last = texts.offsets[:-1], texts.offsets[1:]
    heading = np.asarray(headings, np.int64)
    body = np.minimum(last, first + np.where(heading <= words, heading, 0))
    counts = np.maximum(1, -((body - last) // words))
    offsets = np.zeros(len(texts.offsets), np.int64)
    np.cumsum(counts, out=offsets[1:])
    owners = np.repeat(np.arange(len(counts)), counts)
    places = np.arange(len(owners)) - offsets[owners]  # of each window among those of its passage, as `starts` says
    begins = body[owners] + places * np.maximum(0, last - body - words)[owners] // np.maximum(1, counts - 1)[owners]
    spans = np.empty((len(owners), 2, 2), np.int64)  # from and to: the title, then the window
    spans[:, 0, 0], spans[:, 0, 1] = first[owners], body[owners]
    spans[:, 1, 0], spans[:, 1, 1] = begins, np.minimum(begins + words, last[owners])
    pieces = Ragged(texts.word_ids, texts.offsets).spans(spans[..., 0].ravel(), spans[..., 1].ravel())
    return TokenizedTexts(texts.words, texts.morphemes, pieces.values, pieces.offsets[::2]), offsets


def cut_texts(texts: Sequence[str], titles: Sequence[str], words: int) -> tuple[list[str], NDArray[np.int64]]:
    """Cut passages into windows for a model that reads strings.

    Args:
        texts: The passages, without their titles.
        titles: The title of each, which stands on a line before every window; "" for none.
        words: Words of a window, what stands between spaces; at least 1.

    Returns:
        As `cut_tokens`.
    """
    windows: list[str] = []
    offsets = np.zeros(len(texts) + 1, np.int64)
    for number, (text, title) in enumerate(zip(texts, titles, strict=True)):
        places = [match.span() for match in _WORD.finditer(text)]
        for start in starts(len(places), words).tolist():
            own = places[start : start + words]
            window = text[own[0][0] : own[-1][1]] if len(own) < len(places) else text
            windows.append(f"{title}\n{window}" if title else window)
        offsets[number + 1] = len(windows)
    return windows, offsets
