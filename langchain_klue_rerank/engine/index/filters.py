"""Metadata filters: syntax, meaning, and evaluation on one document's metadata.

The meaning, which docs/filters.md states for users:

- A condition on a key holds if the value meets it or, where the value is a list, if one of its elements does.
- ``{"$exists": True}`` holds if there is a value. None is a value; an empty list is like a missing key.
- A negation (``$ne``, ``$nin``, ``$not``) holds exactly where the condition does not, so also where the key is missing.
- Numbers are compared as numbers (1 equals 1.0), strings as strings by their code points, booleans only with
  booleans: 1 is not True. Values of different kinds are neither equal nor less nor greater.
- Values are compared as `metadata.plain` keeps them: a date is its ISO string.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_klue_rerank.engine.index.metadata import MAX_DEPTH, Plain, is_number, plain, plain_key

Scalar = str | int | float | bool
Order = Literal["$gt", "$gte", "$lt", "$lte"]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_MISSING = object()
_ON_A_KEY = ("$eq", "$ne", "$in", "$nin", "$exists", *_COMPARE, "$not")
_OF_CONDITIONS = ("$and", "$or", "$not")
#: Operators as some write them, without the sign.
_UNSIGNED = {"eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists", "and", "or", "not"}


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value under a path of keys equals one of these (a list: one of its elements does)."""

    path: tuple[str, ...]
    values: tuple[Scalar | None, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """The value under a path of keys is greater or less than a bound of its kind (a list: one of its elements is)."""

    path: tuple[str, ...]
    order: Order
    bound: str | int | float


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value under a path of keys, be it None; an empty list has none."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class AllOf:
    """All conditions hold; of none, always."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one condition holds; of none, never."""

    conditions: tuple[Condition, ...]


Condition = OneOf | Compare | Exists | Not | AllOf | AnyOf
ALWAYS = AllOf(())
NEVER = AnyOf(())


class UnknownOperatorError(TypeError):
    """A filter has an unknown operator; it may be one of a store's own filter syntax."""


def parse(filter: Mapping[Any, Any]) -> Condition:
    """Read a filter, a dictionary of metadata keys and what is asked of their values.

    ====================================  ==================================================================
    ``{"year": 2024}``                    equal
    ``{"year": [2023, 2024]}``            equal to one of them
    ``{"year": {"$gte": 2020}}``          operators: $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $not
    ``{"place": {"city": "서울"}}``       a dictionary in the metadata: its keys are asked likewise
    ``{"a": 1, "b": 2}``                  all of them; so does ``{"$and": [..., ...]}``
    ``{"$or": [..., ...]}``               one of them
    ``{"$not": {...}}``                   not
    ====================================  ==================================================================

    Args:
        filter: The filter.

    Returns:
        The conditions. Constants are folded: `ALWAYS` and `NEVER` stand at the top or nowhere, and negations stand
        before single conditions only.

    Raises:
        UnknownOperatorError: If an operator is none of these.
        TypeError: If an operator is given a value of the wrong type.
        ValueError: If a value cannot be compared, an operator lacks its ``$``, or it is nested too deep.
    """
    if not isinstance(filter, Mapping):
        raise TypeError(f"filter={filter!r} is a {type(filter).__name__}; expected a dictionary of metadata.")
    _check_depth(filter)
    return _conditions(filter, ())


def _check_depth(filter: Mapping[Any, Any]) -> None:
    """Check that a filter is not nested deeper than metadata may be: it is read and evaluated recursively.

    Raises:
        ValueError: If it is.
    """
    inner: list[Any] = [filter]
    for _ in range(2 * MAX_DEPTH):  # an operator and its list for every level
        values = [one.values() if isinstance(one, Mapping) else one for one in inner]
        inner = [one for some in values for one in some if isinstance(one, Mapping | list | tuple)]
        if not inner:
            return
    raise ValueError(f"The filter is nested deeper than {2 * MAX_DEPTH} levels, or contains itself; write it flatter.")


def matches(condition: Condition, metadata: Mapping[Any, Any]) -> bool:
    """Return whether a document's metadata meets a condition.

    Args:
        condition: What `parse` returned.
        metadata: The metadata, plain or not.
    """
    match condition:
        case OneOf(path, values):
            return any(equal(one, value) for one in values_at(metadata, path) for value in values)
        case Compare(path, order, bound):
            return any(compare(one, order, bound) for one in values_at(metadata, path))
        case Exists(path):
            return bool(values_at(metadata, path))
        case Not(inner):
            return not matches(inner, metadata)
        case AllOf(conditions):
            return all(matches(condition, metadata) for condition in conditions)
        case AnyOf(conditions):
            return any(matches(condition, metadata) for condition in conditions)


def equal(one: Plain, other: Plain) -> bool:
    """Return whether two plain values are equal: numbers with numbers, booleans with booleans, strings with strings."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def compare(one: Plain, order: Order, bound: str | int | float) -> bool:
    """Return whether a plain value satisfies a bound; False for values of different types."""
    same = isinstance(one, str) if isinstance(bound, str) else is_number(one)
    return same and _COMPARE[order](one, bound)


def values_at(metadata: Mapping[Any, Any], path: tuple[str, ...]) -> list[Plain]:
    """Return the values under a path of keys: the elements of a list, or the one value; none where a key is missing.

    Lists of dictionaries on the way are entered.
    """
    found: list[Any] = [metadata]
    for key in path:
        inner = [_get(one, key) for value in found for one in _elements(value) if isinstance(one, Mapping)]
        found = [value for value in inner if value is not _MISSING]
    return [one for value in found for one in _elements(_comparable(value))]


def _get(value: Mapping[Any, Any], key: str) -> Any:
    if key in value:
        return value[key]
    return next((one for name, one in value.items() if not isinstance(name, str) and _same_key(name, key)), _MISSING)


def _same_key(name: Any, key: str) -> bool:
    try:
        return plain_key(name) == key
    except (TypeError, ValueError):
        return False


def _comparable(value: Any) -> Plain:
    """Return a value as a plain one; one of a type that cannot be kept is there, but equals nothing."""
    try:
        return plain(value)
    except (TypeError, ValueError):
        return {}


def _elements(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _conditions(filter: Mapping[Any, Any], path: tuple[str, ...]) -> Condition:
    parts: list[Condition] = []
    for key, value in filter.items():
        if isinstance(key, str) and key.startswith("$"):
            parts.append(_of_conditions(key, value, path))
        else:
            parts.append(_on_a_key((*path, plain_key(key)), value))
    return _all(parts)


def _of_conditions(name: str, value: Any, path: tuple[str, ...]) -> Condition:
    if name == "$not" and isinstance(value, Mapping):
        return _negated(_conditions(value, path))
    if name in ("$and", "$or"):
        if not isinstance(value, list | tuple) or not all(isinstance(one, Mapping) for one in value):
            raise TypeError(f"{name} takes a list of filters, not {value!r}.")
        parts = [_conditions(one, path) for one in value]
        return _all(parts) if name == "$and" else _any(parts)
    if name == "$not":
        raise TypeError(f"$not takes a filter, not {value!r}.")
    if name in _ON_A_KEY:
        raise TypeError(f'{name} stands under a metadata key: {{"year": {{{name!r}: {value!r}}}}}.')
    raise UnknownOperatorError(_unknown(name))


def _on_a_key(path: tuple[str, ...], value: Any) -> Condition:
    if not isinstance(value, Mapping):
        return _one_of(path, value, "$in" if _many(value) else "$eq")
    signed = [isinstance(key, str) and key.startswith("$") for key in value]
    if not value:
        raise ValueError(f"The filter on {'.'.join(path)!r} is an empty dictionary; say what is asked of its value.")
    if not any(signed):
        unsigned = sorted(key for key in value if key in _UNSIGNED)
        if unsigned:
            raise ValueError(
                f"The filter on {'.'.join(path)!r} asks for {value!r}: write the operator with its sign, "
                f'{{"${unsigned[0]}": {value[unsigned[0]]!r}}}.'
            )
        return _conditions(value, path)
    if not all(signed):
        raise ValueError(f"The filter on {'.'.join(path)!r} mixes operators and keys: {value!r}. Use $and for both.")
    return _all([_operator(path, name, wanted) for name, wanted in value.items()])


def _operator(path: tuple[str, ...], name: str, wanted: Any) -> Condition:
    if name in ("$eq", "$ne", "$in", "$nin"):
        found = _one_of(path, wanted, name)
        return _negated(found) if name in ("$ne", "$nin") else found
    if name == "$exists":
        if not isinstance(wanted, bool):
            raise TypeError(f"$exists takes True or False, not {wanted!r}.")
        return Exists(path) if wanted else Not(Exists(path))
    if name in _COMPARE:
        bound = plain(wanted)
        if not isinstance(bound, str) and not is_number(bound):
            raise TypeError(f"{name} on {'.'.join(path)!r} takes a number, a string or a date, not {wanted!r}.")
        return Compare(path, name, bound)  # type: ignore[arg-type]
    if name == "$not":
        return _negated(_on_a_key(path, wanted))
    if name in ("$and", "$or"):
        if not isinstance(wanted, list | tuple):
            raise TypeError(f"{name} takes a list, not {wanted!r}.")
        parts = [_on_a_key(path, one) for one in wanted]
        return _all(parts) if name == "$and" else _any(parts)
    raise UnknownOperatorError(_unknown(name))


def _one_of(path: tuple[str, ...], wanted: Any, name: str) -> Condition:
    value = plain(wanted)
    if name in ("$in", "$nin"):
        if not isinstance(value, list):
            raise TypeError(f"{name} on {'.'.join(path)!r} takes a list, not {wanted!r}.")
        values = value
    elif isinstance(value, list):
        raise TypeError(f'{name} on {".".join(path)!r} takes one value, not {wanted!r}; use "$in" for one of several.')
    else:
        values = [value]
    for one in values:
        if isinstance(one, list | dict) or one != one:
            raise ValueError(
                f"The filter on {'.'.join(path)!r} asks for {one!r}, which cannot be compared; use strings, numbers, "
                "booleans, dates or None."
            )
    scalars = tuple(value for value in values if value is None or isinstance(value, Scalar))
    return OneOf(path, scalars) if scalars else NEVER


def _many(value: Any) -> bool:
    return isinstance(plain(value), list)


def _unknown(name: str) -> str:
    known = ", ".join(dict.fromkeys((*_ON_A_KEY, *_OF_CONDITIONS)))
    return f"The filter has the operator {name!r}, which is none of {known}. A function of a Document can ask anything."


def _all(conditions: list[Condition]) -> Condition:
    parts = [part for one in conditions for part in (one.conditions if isinstance(one, AllOf) else (one,))]
    if NEVER in parts:
        return NEVER
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _any(conditions: list[Condition]) -> Condition:
    parts = [part for one in conditions for part in (one.conditions if isinstance(one, AnyOf) else (one,))]
    if ALWAYS in parts:
        return ALWAYS
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def _negated(condition: Condition) -> Condition:
    match condition:
        case Not(inner):
            return inner
        case AllOf(conditions):
            return _any([_negated(condition) for condition in conditions])
        case AnyOf(conditions):
            return _all([_negated(condition) for condition in conditions])
        case _:
            return Not(condition)
