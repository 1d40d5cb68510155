"""The passages of a segment: identifiers, texts and metadata. What was saved is read when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.strings import StringTable, join
from langchain_klue_rerank.engine.index.passages import Passage, copies, from_line, to_line
from langchain_klue_rerank.engine.index.segments.columns import Column
from langchain_klue_rerank.engine.priority import gently

#: Passages up to which identifiers are found by a dictionary.
_FEW: Final = 256


class PassageTable:
    """Passages by row.

    Args:
        ids: Their identifiers, distinct.
        passages: The passages where they are in memory; nobody may change their metadata.
        lines: The passages as JSON where they are saved.
        columns: Metadata columns that are ready.
    """

    def __init__(
        self,
        ids: StringTable,
        passages: Sequence[Passage] | None = None,
        lines: StringTable | None = None,
        columns: Mapping[str, Column] | None = None,
    ) -> None:
        self.ids = ids
        self._count = len(ids)
        self._passages = passages
        self._lines = lines
        self._columns = dict(columns or {})
        self._rows: dict[str, int] | None = None

    @classmethod
    def of(cls, passages: Sequence[Passage]) -> PassageTable:
        """Make a table of passages with distinct identifiers; their metadata is not copied."""
        return cls(StringTable.of(passage.id for passage in passages), passages)

    def __len__(self) -> int:
        """Return the number of passages."""
        return self._count

    def find(self, identifiers: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each identifier; -1 for one that is not here."""
        if len(self) > _FEW:
            return self.ids.find(identifiers)
        rows = self._rows
        if rows is None:
            rows = self._rows = {identifier: row for row, identifier in enumerate(self.ids)}
        return np.fromiter((rows.get(identifier, -1) for identifier in identifiers), np.int64, len(identifiers))

    def get(self, row: int) -> Passage:
        """Return a copy of the passage in a row."""
        return self.copies([row])[0]

    def copies(self, rows: Sequence[int]) -> list[Passage]:
        """Return copies of the passages in some rows."""
        if self._passages is not None:
            return copies([self._passages[row] for row in rows])
        assert self._lines is not None
        numbers = np.asarray(rows, np.int64)
        return [*map(from_line, self.ids.strings(numbers), self._lines.strings(numbers))]

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
