"""A filter of documents: metadata that a document must have, or a function of a Document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.documents import Document

from langchain_klue_rerank.adapters.convert import to_document
from langchain_klue_rerank.engine.index.filters import matches, parse
from langchain_klue_rerank.engine.index.passages import Passage

#: What may be given as a filter: a function of a document, or metadata values that a document must have.
Filter = Callable[[Document], bool] | dict[str, Any]


def to_predicate(condition: Filter | None) -> Callable[[Passage], bool] | None:
    """Turn a filter into a function of a passage.

    Args:
        condition: A function of a Document; or a dictionary of metadata, see `engine.index.filters.parse`.

    Raises:
        TypeError: If it is neither, or the dictionary has an operator that is none of ours.
        ValueError: If a value in it cannot be compared.
    """
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        wanted = parse(condition)
        return lambda passage: matches(wanted, passage.metadata)
    if callable(condition):
        return lambda passage: bool(condition(to_document(passage)))
    raise TypeError(f"filter={condition!r} is neither a dictionary of metadata nor a function of a Document.")
