"""Where the rows of a JSON file are: lists of objects, what pandas writes, LangChain Documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

#: Objects within objects in which a list of rows is looked for.
_DEEPEST_ROWS = 6


def rows_of(value: Any) -> tuple[Any, Any]:
    """Return the rows of a JSON object, and what stands beside them; None without rows.

    Rows are the only list of objects in it, as in the answers of public services; pandas writes columns, or cells apart
    from the names of the columns.
    """
    if not isinstance(value, dict):
        return None, None
    if unwrapped(value) is not value:
        return [value], None
    names, cells = value.get("columns"), value.get("data")
    is_split = value.keys() <= {"columns", "index", "data"} and bool(cells)
    if is_split and isinstance(names, list) and _are_lists(cells, len(names)):
        return [dict(zip(map(str, names), row, strict=True)) for row in cells or ()], None
    columns = list(value.values())
    if len(columns) > 1 and all(isinstance(one, dict) and one.keys() == columns[0].keys() for one in columns):
        is_index = [str(place) for place in range(len(columns[0]))] == list(columns[0])
        if is_index:
            return [{name: column[key] for name, column in value.items()} for key in columns[0]], None
    places = list(_places_of_rows(value))
    if len(places) != 1:
        return None, None
    rest = json.loads(json.dumps(value))
    inner, rows = rest, value
    for key in places[0][:-1]:
        inner, rows = inner[key], rows[key]
    del inner[places[0][-1]]
    return rows[places[0][-1]], rest


def _places_of_rows(value: dict[str, Any], depth: int = 0) -> Iterator[list[str]]:
    """Yield the keys that lead to each list of objects, through objects only."""
    for key, one in value.items():
        if is_rows(one):
            yield [key]
        elif isinstance(one, dict) and depth < _DEEPEST_ROWS:
            yield from ([key, *keys] for keys in _places_of_rows(one, depth + 1))


def _are_lists(rows: Any, length: int) -> bool:
    return isinstance(rows, list) and all(isinstance(row, list) and len(row) == length for row in rows)


def is_rows(value: Any) -> bool:
    """Return whether a value is a list of objects."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def unwrapped(row: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a LangChain Document, also in its serialized form, as a row; other rows as they are."""
    if row.get("type") == "constructor" and isinstance(row.get("kwargs"), dict):
        row = row["kwargs"]
    if isinstance(row.get("page_content"), str) and isinstance(row.get("metadata"), dict):
        own = {"id": row["id"]} if row.get("id") is not None else {}
        return {**own, **row["metadata"], "page_content": row["page_content"]}
    return row
