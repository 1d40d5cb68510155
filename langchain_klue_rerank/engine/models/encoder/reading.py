"""Reading: the encoder takes a question and a passage together and says whether the passage answers.

The same layers that embed texts have learned it beside that (`training.packaged.encoder_tuning`). Reading knows what a
passage says that a cosine does not: that it is about the question's topic and still has no answer. Passages are ordered
better by their scores than by reading, so it has a say in the confidence, and between two close scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.encoder.bi_encoder import EncoderBiEncoder

#: Words of a part, and parts of the window that is read. Training had 80 words; half of them tell answers better from
#: what is only about the same.
_PART_WORDS, _PARTS = 10, 4
#: Words of a first line that counts as the title, at most: it is read with every window.
_TITLE_WORDS: Final = 12

_NO_WORD = re.compile(r"\W+")
_WORD = re.compile(r"\S+")


def odds_of_answers(encoder: EncoderBiEncoder, query: str, passages: Sequence[str]) -> NDArray[np.float32]:
    """Return the log odds that passages answer a query.

    Args:
        encoder: What reads.
        query: The query.
        passages: n passages, their titles on the first line. Of a long one the window is read that shares most
            with the query.

    Returns:
        (n,) float32.

    Raises:
        ModelOutputError: If the model returns NaN or infinity.
    """
    return encoder.read(query, [window_to_read(query, passage) for passage in passages])


def window_to_read(query: str, passage: str) -> str:
    """Return the 40 words of a passage that share most with a query, after its title.

    Of windows that share as much, the middle one is returned: what they share stands in its midst.

    Args:
        query: The query.
        passage: The passage, its title on the first line.
    """
    title, _, body = passage.partition("\n")
    if not body.strip() or len(title.split()) > _TITLE_WORDS:
        title, body = "", passage
    words = [word.span() for word in _WORD.finditer(body)]
    if len(words) <= _PARTS * _PART_WORDS:
        return passage
    parts = [words[start : start + _PART_WORDS] for start in range(0, len(words), _PART_WORDS)]
    wanted = _bigrams(query)
    shared = [wanted & _bigrams(body[part[0][0] : part[-1][1]]) for part in parts]
    counts = [len(set().union(*shared[start : start + _PARTS])) for start in range(len(parts) - _PARTS + 1)]
    most = max(counts)
    best = [start for start, count in enumerate(counts) if count == most]
    start = best[len(best) // 2]
    window = body[parts[start][0][0] : parts[start + _PARTS - 1][-1][1]]
    return f"{title}\n{window}" if title else window


def _bigrams(text: str) -> set[str]:
    letters = _NO_WORD.sub("", text)
    return {letters[place : place + 2] for place in range(len(letters) - 1)}
