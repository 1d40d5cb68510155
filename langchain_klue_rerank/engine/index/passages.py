"""The passages of an index themselves: identifiers, texts and metadata, read from disk only when asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.files import RESTORE, SavedFiles
from langchain_klue_rerank.engine.index.metadata import plain_metadata
from langchain_klue_rerank.errors import IndexFormatError


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

    def copy(self) -> Passage:
        """Return a passage whose metadata, plain values, is its own."""
        return self._replace(metadata=_copy(self.metadata))


def _copy(value: Any) -> Any:
    """Copy plain values, faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, list) else value


class PassageStore:
    """Passages by number. A number is never given twice, removed passages leave a gap."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._passages: list[Passage | None] = []
        self._alive: NDArray[np.bool_] | None = None  # made on demand, after every change anew
        self._lines: Sequence[str] = ()

    def copy(self) -> PassageStore:
        """Return a store that changes without changing this one."""
        other = PassageStore()
        other._ids = self._ids.copy()
        other._rows = self._rows.copy()
        other._passages = self._passages.copy()
        other._alive = self._alive  # replaced as a whole, never changed
        other._lines = self._lines
        return other

    def __len__(self) -> int:
        """Return the number of passages, without the removed ones."""
        return len(self._rows)

    @property
    def size(self) -> int:
        """The number of passages, with the removed ones."""
        return len(self._ids)

    def add(self, passages: Iterable[Passage]) -> None:
        """Append passages with new identifiers; their metadata is plain and not copied."""
        self._alive = None
        for passage in passages:
            self._rows[passage.id] = len(self._ids)
            self._ids.append(passage.id)
            self._passages.append(passage)

    def remove(self, identifier: str) -> int | None:
        """Remove a passage; returns its number, or None if there is no such identifier."""
        row = self._rows.pop(identifier, None)
        if row is not None:
            self._passages[row] = None
            self._alive = None
        return row

    def row(self, identifier: str) -> int | None:
        """Return the number of an identifier, or None."""
        return self._rows.get(identifier)

    def rows(self) -> NDArray[np.int64]:
        """Return the numbers of all passages that are not removed, rising."""
        return np.fromiter(self._rows.values(), np.int64, len(self._rows))

    def alive(self) -> NDArray[np.bool_]:
        """Return of every number whether its passage is there, (size,) bool; not to be changed."""
        alive = self._alive
        if alive is None:
            alive = np.zeros(self.size, bool)
            alive[self.rows()] = True
            self._alive = alive
        return alive

    def get(self, row: int) -> Passage:
        """Return a copy of the passage with that number."""
        passage = self._passages[row]
        if passage is None:
            passage = self._passages[row] = _from_line(self._ids[row], self._lines[row])
        return passage.copy()

    def save(self, folder: Path) -> None:
        """Write the passages that are not removed, in order."""
        rows = self.rows().tolist()
        (folder / "ids.json").write_bytes(_to_json([self._ids[row] for row in rows]))
        with (folder / "passages.jsonl").open("wb") as file:
            for row in rows:
                passage = self._passages[row]
                file.write(_encoded(self._lines[row]) if passage is None else _to_line(passage))
                file.write(b"\n")

    @classmethod
    def load(cls, files: SavedFiles) -> PassageStore:
        """Read what `save` wrote; texts and metadata stay on disk until they are asked for.

        Raises:
            IndexFormatError: If identifiers and passages do not fit together.
        """
        store = cls()
        identifiers = files.json("ids.json")
        if not isinstance(identifiers, list) or not all(isinstance(identifier, str) for identifier in identifiers):
            raise IndexFormatError(f"'ids.json' of the index at {files.where!r} is no list of strings. {RESTORE}")
        store._ids = identifiers
        store._rows = {identifier: row for row, identifier in enumerate(store._ids)}
        store._lines = files.lines("passages.jsonl")
        store._passages = [None] * len(store._ids)
        if not len(store._lines) == len(store._ids) == len(store._rows):
            raise IndexFormatError(
                f"The index at {files.where!r} holds {len(store._lines)} passages for {len(store._rows)} identifiers. "
                f"{RESTORE}"
            )
        return store


def _to_line(passage: Passage) -> bytes:
    return _to_json({"text": passage.text, "metadata": passage.metadata})


def _from_line(identifier: str, line: str) -> Passage:
    try:
        record = json.loads(line)
        text, metadata = record["text"], record["metadata"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise IndexFormatError(f"Passage {identifier!r} cannot be read from the index ({error}). {RESTORE}") from error
    if not isinstance(text, str) or not isinstance(metadata, dict):
        raise IndexFormatError(f"Passage {identifier!r} of the index has no text or no metadata. {RESTORE}")
    return Passage(identifier, text, metadata)


def _to_json(value: Any) -> bytes:
    return _encoded(json.dumps(value, ensure_ascii=False))


def _encoded(text: str) -> bytes:
    """Encode text, each lone surrogate by itself; escaped, two neighbours would be read back as one character."""
    return text.encode("utf-8", "surrogatepass")
