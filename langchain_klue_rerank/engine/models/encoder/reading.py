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
from langchain_klue_rerank.engine.text.windows import cut_texts

#: Words of a window, as in training.
READ_WORDS: Final = 80
#: Words of a first line that counts as the title, at most: it is read with every window.
_TITLE_WORDS: Final = 12

_NO_WORD = re.compile(r"\W+")


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
    """Return the window of a passage that shares most with a query; of equals the first.

    Args:
        query: The query.
        passage: The passage, its title on the first line.
    """
    title, _, body = passage.partition("\n")
    if not body.strip() or len(title.split()) > _TITLE_WORDS:
        title, body = "", passage
    windows, _ = cut_texts([body], [title], READ_WORDS)
    wanted = _bigrams(query)
    return max(windows, key=lambda window: len(wanted & _bigrams(window)))


def _bigrams(text: str) -> set[str]:
    letters = _NO_WORD.sub("", text)
    return {letters[place : place + 2] for place in range(len(letters) - 1)}
