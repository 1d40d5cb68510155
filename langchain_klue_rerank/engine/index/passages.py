"""The passages of an index themselves: identifiers, texts and metadata, read from disk only when asked for."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays import storage
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

    def copy(self) -> Passage:
        """Return a passage whose metadata is its own.

        Raises:
            ValueError: If the metadata holds what cannot be copied, such as a lock or an open file.
        """
        try:
            return self._replace(metadata=copy.deepcopy(self.metadata))
        except Exception as error:
            raise ValueError(
                f"The metadata of document {self.id!r} cannot be copied ({error}): {self.metadata!r}. "
                "Keep strings, numbers, lists and dictionaries in it."
            ) from error


class PassageStore:
    """Passages by number. A number is never given twice, removed passages leave a gap."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._passages: list[Passage | None] = []
        self._alive: NDArray[np.bool_] | None = None  # made on demand, after every change anew
        self._lines: Sequence[str] = ()

    def __len__(self) -> int:
        """Return the number of passages, without the removed ones."""
        return len(self._rows)

    @property
    def size(self) -> int:
        """The number of passages, with the removed ones."""
        return len(self._ids)

    def add(self, passages: Iterable[Passage]) -> None:
        """Append passages with new identifiers; their metadata is not copied."""
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
        if self._alive is None:
            self._alive = np.zeros(self.size, bool)
            self._alive[self.rows()] = True
        return self._alive

    def get(self, row: int) -> Passage:
        """Return a copy of the passage with that number."""
        passage = self._passages[row]
        if passage is None:
            record = json.loads(self._lines[row])
            passage = self._passages[row] = Passage(self._ids[row], record["text"], record["metadata"])
        return passage.copy()

    def save(self, folder: Path) -> None:
        """Write the passages that are not removed, in order.

        Raises:
            ValueError: If a passage's metadata cannot be kept as JSON.
        """
        rows = self.rows().tolist()
        identifiers = json.dumps([self._ids[row] for row in rows])
        (folder / "ids.json").write_text(identifiers, encoding="utf-8")
        with (folder / "passages.jsonl").open("wb") as file:
            for row in rows:
                passage = self._passages[row]
                file.write(self._lines[row].encode() if passage is None else _to_line(passage))
                file.write(b"\n")

    @classmethod
    def load(cls, folder: Path) -> PassageStore:
        """Read what `save` wrote; texts and metadata stay on disk until they are asked for.

        Raises:
            IndexFormatError: If identifiers and passages do not fit together.
        """
        store = cls()
        store._ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        store._rows = {identifier: row for row, identifier in enumerate(store._ids)}
        store._lines = storage.Lines(folder / "passages.jsonl")
        store._passages = [None] * len(store._ids)
        if not len(store._lines) == len(store._ids) == len(store._rows):
            raise IndexFormatError(
                f"{str(folder)!r} holds {len(store._lines)} passages for {len(store._rows)} identifiers."
            )
        return store


def _to_line(passage: Passage) -> bytes:
    for key, value in passage.metadata.items():
        if not isinstance(key, str):
            raise ValueError(
                f"Passage {passage.id!r} has the metadata key {key!r}; to be saved, metadata keys must be strings."
            )
        if not _survives_json(value):
            raise ValueError(
                f"The metadata value {value!r} under {key!r} of passage {passage.id!r} cannot be saved: "
                "JSON would refuse it or change it. Use strings, numbers, lists, and dictionaries with strings as keys."
            )
    record = {"text": passage.text, "metadata": passage.metadata}
    try:
        return json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # lone surrogates: escaped they survive unchanged
        return json.dumps(record).encode()


def _survives_json(value: Any) -> bool:
    """Say whether JSON keeps a value as it is: it turns tuples into lists and other keys into strings, unsaid."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _survives_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(_survives_json(one) for one in value)
    return value is None or isinstance(value, str | int | float)
