"""Metadata of a segment's passages by key, so that a filter looks at every distinct value once and not at passages."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.index.filters import AllOf, AnyOf, Compare, Condition, Not, OneOf, Order, matches
from langchain_klue_rerank.engine.index.metadata import is_number
from langchain_klue_rerank.engine.threads import gently

#: The code of a passage without the key.
ABSENT: Final = -1
#: Whole numbers below this are exact as float64.
_EXACT: Final = 2**53
_COMPARE: Final[Mapping[Order, Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One metadata key of n passages.

    Attributes:
        codes: (n,) int32: the number of each passage's value; `ABSENT` where it has none.
        values: The distinct values. Equal values of different types, such as 1, 1.0 and True, are distinct.
    """

    codes: NDArray[np.int32]
    values: Sequence[Any]
    _prepared: dict[str, Any] = field(default_factory=dict)  # made when a filter asks for it

    @classmethod
    def of(cls, metadata: Iterable[Mapping[str, Any]], key: str, count: int) -> Column:
        """Read one key of passages.

        Args:
            metadata: The metadata of all passages.
            key: The key.
            count: How many passages there are.
        """
        numbers: dict[Any, int] = {}
        values: list[Any] = []
        codes = np.full(count, ABSENT, np.int32)
        for row, own in enumerate(gently(metadata)):
            if key in own:
                value = own[key]
                kind = _identity(value)
                number = numbers.get(kind)
                if number is None:
                    number = numbers[kind] = len(values)
                    values.append(value)
                codes[row] = number
        return cls(codes, values)

    @classmethod
    def join(cls, columns: Sequence[Column], kept: Sequence[NDArray[np.bool_] | None]) -> Column:
        """Return the column of several segments' passages, one after the other.

        Args:
            columns: Their columns.
            kept: Of each which passages to keep; None for all.
        """
        numbers: dict[Any, int] = {}
        values: list[Any] = []
        parts = []
        for column, keep in zip(columns, kept, strict=True):
            new = np.empty(len(column.values) + 1, np.int32)
            new[ABSENT] = ABSENT
            for code, value in enumerate(gently(column.values, 256)):
                kind = _identity(value)
                number = numbers.get(kind)
                if number is None:
                    number = numbers[kind] = len(values)
                    values.append(value)
                new[code] = number
            parts.append(new[column.codes if keep is None else column.codes[keep]])
        return cls(np.concatenate(parts), values)

    def where(self, test: Callable[[Any], bool]) -> NDArray[np.bool_]:
        """Say of each passage whether its value passes a test; one without the key does not."""
        return self._spread(np.fromiter((test(value) for value in gently(self.values)), bool, len(self.values)))

    def one_of(self, wanted: Sequence[Any]) -> NDArray[np.bool_]:
        """Say of each passage whether its value, or an element of it where it is a list, equals one of some scalars."""
        known = self._prepared.get("codes")
        if known is None:
            found: dict[Any, list[int]] = {}
            for code, value in enumerate(gently(self.values, 256)):
                for one in value if isinstance(value, list) else (value,):
                    if not isinstance(one, list | dict):
                        found.setdefault(_scalar(one), []).append(code)
            known = self._prepared["codes"] = found
        codes = sorted({code for value in wanted for code in known.get(_scalar(value), ())})
        if len(codes) == 1:
            return np.asarray(self.codes == codes[0])
        passed = np.zeros(len(self.values), bool)
        passed[codes] = True
        return self._spread(passed)

    def compare(self, order: Order, bound: float) -> NDArray[np.bool_] | None:
        """Say of each passage whether its value is a number on that side of a bound; None if some values are lists."""
        numbers = self._prepared.get("numbers")
        if numbers is None:
            numbers = np.full(len(self.values), np.nan)
            for code, value in enumerate(gently(self.values, 256)):
                if isinstance(value, list | dict):
                    return None
                if is_number(value):
                    numbers[code] = _as_float(value)
            self._prepared["numbers"] = numbers
        return self._spread(_COMPARE[order](numbers, bound))

    def _spread(self, passed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.append(passed, False)[self.codes]  # the last place is that of `ABSENT`


def evaluate(condition: Condition, column: Callable[[str], Column], count: int) -> NDArray[np.bool_]:
    """Say of each passage whether its metadata meets a condition; as `filters.matches` does for one.

    Args:
        condition: What `filters.parse` returned.
        column: Gives the column of a key.
        count: How many passages there are.

    Returns:
        (count,) bool.
    """
    match condition:
        case Not(inner):
            return ~evaluate(inner, column, count)
        case AllOf(conditions):
            masks = [evaluate(condition, column, count) for condition in conditions]
            return np.logical_and.reduce(masks) if masks else np.ones(count, bool)
        case AnyOf(conditions):
            masks = [evaluate(condition, column, count) for condition in conditions]
            return np.logical_or.reduce(masks) if masks else np.zeros(count, bool)
        case OneOf((key,), values):
            return column(key).one_of(values)
        case Compare((key,), order, bound) if not isinstance(bound, str) and abs(bound) < _EXACT:
            found = column(key).compare(order, bound)
            if found is not None:
                return found
    key = condition.path[0]
    return column(key).where(lambda value: matches(condition, {key: value}))


def _identity(value: Any) -> Any:
    """Return what is the same for the same value of the same type: 1, 1.0 and True are three values."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ("[]", *(_identity(one) for one in value))
    if isinstance(value, dict):
        return ("{}", *((key, _identity(one)) for key, one in value.items()))
    if value is None or isinstance(value, bool | int | float):
        return (type(value), value)
    return ("id", id(value))


def _as_float(value: float) -> float:
    """Return a number as a float; a whole number that is too large for one as infinity, which is on the same side."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _scalar(value: Any) -> Any:
    """Return what is equal for equal scalars: numbers with numbers, booleans with booleans."""
    return (bool, value) if isinstance(value, bool) else value
