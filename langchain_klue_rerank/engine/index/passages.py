"""A passage as a caller gave it, and as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from langchain_klue_rerank.engine.arrays.mapped import RESTORE
from langchain_klue_rerank.engine.index.metadata import plain_metadata
from langchain_klue_rerank.errors import IndexFormatError

#: Types of plain values that need no copy.
_IMMUTABLE = frozenset({str, int, float, bool, type(None)})


class Passage(NamedTuple):
    """A passage as the caller gave it.

    Attributes:
        id: Its identifier, unique in an index.
        text: Its text.
        metadata: Whatever the caller keeps with it.
    """

    id: str
    text: str
    metadata: dict[str, Any]

    def plain(self) -> Passage:
        """Return a passage whose metadata is its own and holds plain values; see `metadata.plain`.

        Raises:
            ValueError: If the metadata holds what has no plain value, such as a lock or an open file.
        """
        try:
            return self._replace(metadata=plain_metadata(self.metadata))
        except (TypeError, ValueError) as error:
            raise ValueError(f"Document {self.id!r}: {error}") from error


def copies(passages: Iterable[Passage]) -> list[Passage]:
    """Return copies of passages with metadata of plain values."""
    return [Passage(id, text, _copy(metadata)) for id, text, metadata in passages]


def _copy(value: Any) -> Any:
    """Copy plain values, faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: item if type(item) in _IMMUTABLE else _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [item if type(item) in _IMMUTABLE else _copy(item) for item in value]
    return value


def to_line(passage: Passage) -> bytes:
    """Write a passage, without its identifier, as a line of JSON."""
    return to_json({"text": passage.text, "metadata": passage.metadata})


def from_line(identifier: str, line: str) -> Passage:
    """Read what `to_line` wrote.

    Raises:
        IndexFormatError: If it is something else.
    """
    try:
        record = json.loads(line)
        text, metadata = record["text"], record["metadata"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise IndexFormatError(f"Passage {identifier!r} cannot be read from the index ({error}). {RESTORE}") from error
    if not isinstance(text, str) or not isinstance(metadata, dict):
        raise IndexFormatError(f"Passage {identifier!r} of the index has no text or no metadata. {RESTORE}")
    return Passage(identifier, text, metadata)


def to_json(value: Any) -> bytes:
    """Write a value as JSON, each lone surrogate by itself: escaped, two neighbours would become one character."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
