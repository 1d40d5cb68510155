"""Passages: one as a caller gave it and as a line of JSON, and those of a segment.

What was saved is read when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.mapped import RESTORE
from langchain_klue_rerank.engine.arrays.strings import StringTable, join
from langchain_klue_rerank.engine.index.metadata import plain_metadata
from langchain_klue_rerank.engine.index.segments.columns import Column
from langchain_klue_rerank.engine.threads import gently, give_way
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
        """Return a passage whose metadata is its own and holds plain values; see `plain`."""
        return plain([self])[0]


def plain(passages: Sequence[Passage]) -> list[Passage]:
    """Return passages whose metadata is their own and holds plain values; see `metadata.plain`.

    Raises:
        ValueError: If metadata holds what has no plain value, such as a lock or an open file.
    """
    kept = []
    for passage in gently(passages):
        try:
            metadata = plain_metadata(passage.metadata)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Document {passage.id!r}: {error}") from error
        kept.append(Passage(passage.id, passage.text, metadata))
    return kept


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


#: Passages up to which identifiers are found by a dictionary; that are copied between two pauses for searches.
_FEW, _COPIED_AT_ONCE = 256, 64


class PassageTable:
    """Passages by row.

    Args:
        ids: Their identifiers, distinct.
        passages: The passages where they are in memory; nobody may change their metadata.
        lines: The passages as JSON where they are saved.
        columns: Metadata columns that are ready.

    Attributes:
        size: The number of passages.
    """

    def __init__(
        self,
        ids: StringTable,
        passages: Sequence[Passage] | None = None,
        lines: StringTable | None = None,
        columns: Mapping[str, Column] | None = None,
    ) -> None:
        self.ids = ids
        self.size = len(ids)
        self._passages = passages
        self._lines = lines
        self._columns = dict(columns or {})
        self._rows: dict[str, int] | None = None

    @classmethod
    def of(cls, passages: Sequence[Passage]) -> PassageTable:
        """Make a table of passages with distinct identifiers; their metadata is not copied."""
        return cls(StringTable.of([passage.id for passage in passages]), passages)

    def __len__(self) -> int:
        """Return the number of passages."""
        return self.size

    def find(self, identifiers: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each identifier; -1 for one that is not here."""
        if self.size > _FEW:
            return self.ids.find(identifiers)
        rows = self._rows
        if rows is None:
            ids = self.ids if self._passages is None else (passage.id for passage in self._passages)
            rows = self._rows = {identifier: row for row, identifier in enumerate(ids)}
        return np.asarray([rows.get(identifier, -1) for identifier in identifiers], np.int64)

    def get(self, row: int) -> Passage:
        """Return a copy of the passage in a row."""
        return self.copies([row])[0]

    def copies(self, rows: Sequence[int]) -> list[Passage]:
        """Return copies of the passages in some rows."""
        found: list[Passage] = []
        for start in range(0, len(rows), _COPIED_AT_ONCE):
            if start:
                give_way()
            some = rows[start : start + _COPIED_AT_ONCE]
            if self._passages is not None:
                found += copies([self._passages[row] for row in some])
            else:
                assert self._lines is not None
                numbers = np.asarray(some, np.int64)
                found += map(from_line, self.ids.strings(numbers), self._lines.strings(numbers))
        return found

    def text(self, row: int) -> str:
        """Return the text of the passage in a row."""
        return self._passages[row].text if self._passages is not None else self._read(row).text

    def line(self, row: int) -> bytes:
        """Return a passage as a line of JSON, with the line feed.

        Raises:
            ValueError: If its metadata cannot be kept as JSON.
        """
        if self._passages is not None:
            return to_line(self._passages[row]) + b"\n"
        assert self._lines is not None
        start, end = self._lines.offsets[row : row + 2].tolist()
        return self._lines.content[start:end]

    def column(self, key: str) -> Column:
        """Return a metadata key of all passages; read from the passages when it is asked for first."""
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = Column.of(self._metadata(), key, len(self))
        return column

    @classmethod
    def join(cls, tables: Sequence[PassageTable], kept: Sequence[NDArray[np.bool_] | None]) -> PassageTable:
        """Return the passages of several tables, one after the other.

        Args:
            tables: The tables, at least one.
            kept: Of each which passages to keep, (n,) bool; None for all.
        """
        rows = [None if keep is None else np.flatnonzero(keep) for keep in kept]
        ids = join([own.ids if some is None else own.ids.take(some) for own, some in zip(tables, rows, strict=True)])
        keys = set.intersection(*(set(table._columns) for table in tables))
        columns = {key: Column.join([table._columns[key] for table in tables], kept) for key in sorted(keys)}
        if all(table._passages is not None for table in tables):
            passages: list[Passage] = []
            for table, some in zip(tables, rows, strict=True):
                own = table._passages or ()
                passages += own if some is None else [own[row] for row in some.tolist()]
            return cls(ids, passages, columns=columns)
        lines = []
        for table, some in zip(tables, rows, strict=True):
            if table._lines is not None:
                lines.append(table._lines if some is None else table._lines.take(some))
            else:
                numbers = range(len(table)) if some is None else some.tolist()
                lines.append(_table([table.line(row) for row in gently(numbers)]))
        return cls(ids, lines=join(lines), columns=columns)

    def _read(self, row: int) -> Passage:
        assert self._lines is not None
        return from_line(self.ids[row], self._lines[row])

    def _metadata(self) -> Iterator[dict[str, Any]]:
        if self._passages is not None:
            return (passage.metadata for passage in self._passages)
        assert self._lines is not None
        return (json.loads(line)["metadata"] for line in self._lines)


def _table(lines: Sequence[bytes]) -> StringTable:
    offsets = np.zeros(len(lines) + 1, np.int64)
    np.cumsum([len(line) for line in lines], out=offsets[1:])
    return StringTable(b"".join(lines), offsets)
