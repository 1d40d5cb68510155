"""Documents with the scores of one query in their metadata, which are still the same documents for another query."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from langchain_core.documents import Document

#: The keys that our retrievers and rerankers write.
SCORE_KEYS = ("relevance_score", "first_stage_score", "rerank_score", "confidence", "reranked")


class ScoredMetadata(dict[str, Any]):
    """Metadata in which some keys are scores of one query; they do not count when two are compared.

    `MultiQueryRetriever` and recipes like it ask several questions and keep what is new: documents are compared with
    their metadata. By another question the same document has other scores.

    Args:
        metadata: All keys and values.
        scores: The keys that are scores.
    """

    def __init__(self, metadata: dict[str, Any], scores: Iterable[str] = ()) -> None:
        super().__init__(metadata)
        self.scores = frozenset(scores)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dict):
            return NotImplemented
        scores = self.scores | (other.scores if isinstance(other, ScoredMetadata) else frozenset())
        return {k: v for k, v in self.items() if k not in scores} == {k: v for k, v in other.items() if k not in scores}

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ScoredMetadata, (dict(self), self.scores)


def with_metadata(document: Document, **scores: Any) -> Document:
    """Return a copy of a document with scores in its metadata; its id and everything else stay.

    Nothing in the copy is shared with the document: changing one leaves the other as it is.
    """
    old = document.metadata
    known = (*scores, *(old.scores if isinstance(old, ScoredMetadata) else ()))
    metadata = ScoredMetadata({**{key: _copy(value) for key, value in old.items()}, **scores}, known)
    return document.model_copy(update={"metadata": metadata})


def without_scores(document: Document) -> Document:
    """Return a copy of a document without the scores that an earlier query has left in its metadata."""
    metadata = {key: _copy(value) for key, value in document.metadata.items() if key not in SCORE_KEYS}
    return document.model_copy(update={"metadata": metadata})


def _copy(value: Any) -> Any:
    """Copy a value of metadata; what cannot be copied, such as a lock, is shared."""
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if kind is dict:
        return {key: _copy(one) for key, one in value.items()}
    if kind is list:
        return [_copy(one) for one in value]
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever the object's own copying raises
        return value
