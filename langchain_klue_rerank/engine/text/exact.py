"""Exact parts of a text: quoted forms, numbers and codes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_klue_rerank.engine.text.words import split_words

_QUOTED = re.compile(
    r"'([^']{1,60})'|\"([^\"]{1,60})\"|‘([^‘’]{1,60})’|“([^“”]{1,60})”|「([^」]{1,60})」|『([^』]{1,60})』|`([^`]{1,60})`"
)
_DIGIT = re.compile(r"\d")


def quoted_forms(text: str) -> list[tuple[str, ...]]:
    """Return what stands in quotation marks, each as words; only around something short they quote a form.

    Args:
        text: Any string.

    Returns:
        The distinct forms in order, none empty.
    """
    forms = (tuple(split_words("".join(groups))) for groups in _QUOTED.findall(text))
    return list(dict.fromkeys(form for form in forms if form))


def exact_share(text: str, words: Sequence[str] | None = None) -> float:
    """Return the share of a query that must match exactly: of its letters, those in numbers and quotes.

    No vector tells "제12조" from "제21조", or "-던" from "-든". Fusion gives vectors so much less weight; on kinds of
    questions without such things it loses nothing (see docs/failures.md).

    Args:
        text: The query.
        words: Its words in order, if the caller has them.

    Returns:
        0..1; 0 for a query without words.
    """
    if words is None:
        words = split_words(text)
    quoted = {word for form in quoted_forms(text) for word in form}
    exact = sum(len(word) for word in words if word in quoted or _DIGIT.search(word))
    return exact / max(sum(map(len, words)), 1)
