"""Metadata as plain JSON values, so that it is the same before and after saving and in every store."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeAlias

import numpy as np

#: What an index keeps: JSON's values.
Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"

#: Deepest nesting of lists and dictionaries.
MAX_DEPTH = 64
#: Most digits of a whole number: Python writes and reads no more of them as text.
MAX_DIGITS: Final = 4300
_TOO_LARGE: Final = 10**MAX_DIGITS


def plain(value: Any) -> Plain:
    """Turn a metadata value into the plain value that an index keeps in its place; the result is always a copy.

    ============================================  ======================================================
    given                                         kept
    ============================================  ======================================================
    str, int, float, bool, None                   the same (of subclasses the base type)
    list, tuple, NumPy array                      list
    set, frozenset                                list, sorted where its values can be compared
    dict and other mappings                       dict; keys become strings by these rules
    NumPy scalar                                  int, float, bool or str
    datetime, date, time, NumPy datetime64        ISO 8601 string; None for "not a time" (NaT)
    timedelta, NumPy timedelta64                  seconds; None for "not a time" (NaT)
    Decimal                                       int where it is whole, else float
    UUID, Path                                    string
    Enum                                          its value, by these rules
    ============================================  ======================================================

    Args:
        value: The value.

    Raises:
        TypeError: If it is of another type.
        ValueError: If it is nested deeper than `MAX_DEPTH`, contains itself, or is a whole number of more than
            `MAX_DIGITS` digits.
    """
    return _plain(value, MAX_DEPTH)


def plain_metadata(metadata: Mapping[Any, Any]) -> dict[str, Plain]:
    """Turn a document's metadata into plain values; see `plain`.

    Raises:
        TypeError: If a value or a key is of a type that cannot be kept; the message names it and its key.
        ValueError: If two keys become the same string, or a value is nested too deep.
    """
    kept: dict[str, Plain] = {}
    for key, value in metadata.items():
        name = plain_key(key)
        if name in kept:
            raise ValueError(f"Two metadata keys become {name!r} when they are kept as strings; rename one of them.")
        try:
            kept[name] = _plain(value, MAX_DEPTH)
        except (TypeError, ValueError) as error:
            raise type(error)(f"The metadata under {name!r} cannot be kept: {error}") from error
    return kept


def plain_key(key: Any) -> str:
    """Turn a metadata key into a string, as JSON does.

    Raises:
        TypeError: If the key is of a type that has no plain value, or that is a list or a dictionary.
    """
    if type(key) is str:
        return key
    kept = _plain(key, 1)
    if isinstance(kept, list | dict):
        raise TypeError(f"{key!r} cannot be a metadata key; use a string.")
    return kept if isinstance(kept, str) else json.dumps(kept)


def _plain(value: Any, depth: int) -> Plain:
    kind = type(value)
    if value is None or kind in (str, float, bool):
        return value  # type: ignore[no-any-return]
    if kind is int:
        return _whole(value)
    if depth < 0:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels, or contains itself.")
    if kind in (list, tuple):
        return [_plain(one, depth - 1) for one in value]
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth - 1)
    if isinstance(value, np.datetime64 | np.timedelta64) and np.isnat(value):
        return None
    if isinstance(value, np.datetime64):
        return str(np.datetime_as_string(value))
    if isinstance(value, np.generic):
        if isinstance(value, np.timedelta64):
            return float(value / np.timedelta64(1, "s"))
        return _plain(value.item(), depth - 1)
    if isinstance(value, np.ndarray):
        return _plain(value[()] if value.ndim == 0 else list(value), depth - 1)
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta) and value != value:  # pandas' NaT
        return None
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        if not value.is_finite() or value != value.to_integral_value():
            return float(value)
        return int(value) if value.adjusted() < MAX_DIGITS else _too_long(value.adjusted())
    if isinstance(value, uuid.UUID | pathlib.PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, set | frozenset):
        return _sorted([_plain(one, depth - 1) for one in value])
    for base in (str, int, float):  # subclasses
        if isinstance(value, base):
            return _plain(base(value), depth)
    if isinstance(value, list | tuple):
        return _plain(list(value), depth)
    raise TypeError(
        f"{value!r} is a {kind.__name__}. Use strings, numbers, booleans, None, dates, lists and dictionaries."
    )


def _whole(value: int) -> int:
    return value if -_TOO_LARGE < value < _TOO_LARGE else _too_long(value.bit_length() * math.log10(2))


def _too_long(digits: float) -> NoReturn:
    raise ValueError(f"it is a whole number of {int(digits) + 1} digits; at most {MAX_DIGITS} can be kept.")


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Plain]:
    kept: dict[str, Plain] = {}
    for key, one in value.items():
        name = plain_key(key)
        if name in kept:
            raise ValueError(f"two of its keys become {name!r} when they are kept as strings.")
        kept[name] = _plain(one, depth - 1)
    return kept


def _sorted(values: list[Plain]) -> list[Plain]:
    try:
        return sorted(values)  # type: ignore[type-var]
    except TypeError:
        return sorted(values, key=lambda one: (type(one).__name__, repr(one)))


def is_number(value: Any) -> bool:
    """Return whether a plain value is a number that can be compared: no boolean, and not NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
