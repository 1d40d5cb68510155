"""What a filter by metadata means, on one document's metadata; the stores are asked the same in integration tests."""

from __future__ import annotations

import datetime
import enum
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.index.filters import ALWAYS, NEVER, UnknownOperatorError, matches, parse


def keeps(filter: dict[Any, Any], metadata: dict[Any, Any]) -> bool:
    return matches(parse(filter), metadata)


class Floor(enum.Enum):
    FIRST = 1


@pytest.mark.parametrize(
    ("filter", "metadata"),
    [
        ({}, {"a": 1}),
        ({"tags": "인사"}, {"tags": ["인사", "복지"]}),
        ({"tags": "인사"}, {"tags": ("인사", "복지")}),
        pytest.param({"tags": "인사"}, {"tags": {"인사", "복지"}}, id="a set"),
        ({"tags": ["총무", "복지"]}, {"tags": ["인사", "복지"]}),
        ({"pages": 2}, {"pages": np.array([1, 2, 3])}),
        ({"pages": np.array([2, 9])}, {"pages": [1, 2, 3]}),
        ({"year": [2024, 2025]}, {"year": np.int64(2024)}),
        ({"year": 2024}, {"year": 2024.0}),
        ({"price": {"$lte": Decimal("1.5")}}, {"price": 1.5}),
        ({1: "a"}, {1: "a"}),
        ({"1": "a"}, {1: "a"}),
        ({"place": {"city": "서울"}}, {"place": {"city": "서울", "gu": "중구"}}),
        ({"authors": {"name": "김"}}, {"authors": [{"name": "이"}, {"name": "김"}]}),
        ({"year": {"$gte": 2020, "$lt": 2025}}, {"year": 2024}),
        ({"scores": {"$gt": 8}}, {"scores": [3, 9]}),
        ({"day": {"$gte": datetime.date(2026, 1, 1)}}, {"day": "2026-03-01"}),
        ({"day": datetime.date(2026, 1, 1)}, {"day": datetime.date(2026, 1, 1)}),
        ({"a": {"$ne": 1}}, {"a": True}),
        ({"a": {"$ne": 1}}, {}),
        ({"a": {"$nin": [1, 2]}}, {"a": [3, 4]}),
        ({"a": {"$exists": True}}, {"a": 0}),
        ({"a": {"$exists": False}}, {"a": []}),
        ({"a": {"$exists": True}}, {"a": None}),
        ({"a": None}, {"a": None}),
        ({"a": None}, {"a": [1, None]}),
        ({"a": [None, 1]}, {"a": 1}),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"b": 2}),
        ({"$and": [{"a": 1}, {"b": 2}]}, {"a": 1, "b": 2}),
        ({"$not": {"a": 1, "b": 2}}, {"a": 1, "b": 3}),
        ({"a": {"$not": {"$gt": 3}}}, {"a": "x"}),
        ({"a": {"$or": [{"$lt": 1}, {"$gt": 3}]}}, {"a": 4}),
        ({"file": "a/b.pdf"}, {"file": Path("a/b.pdf")}),
        ({"key": UUID(int=5)}, {"key": str(UUID(int=5))}),
        ({"floor": Floor.FIRST}, {"floor": 1}),
    ],
    ids=str,
)
def test_holds(filter: dict[Any, Any], metadata: dict[Any, Any]) -> None:
    assert keeps(filter, metadata)
    assert not keeps({"$not": filter}, metadata)


@pytest.mark.parametrize(
    ("filter", "metadata"),
    [
        ({"tags": "인"}, {"tags": ["인사"]}),
        ({"a": 1}, {"a": True}),
        ({"a": True}, {"a": 1}),
        ({"a": [1]}, {"a": [True]}),
        ({"a": "1"}, {"a": 1}),
        ({"a": {"$gt": 3}}, {"a": "4"}),
        ({"a": {"$gte": 0}}, {"a": True}),
        ({"a": {"$gte": 0}}, {"a": None}),
        ({"a": []}, {"a": 1}),
        ({"a": {"$ne": 1}}, {"a": [1, 2]}),
        ({"place": {"city": "서울"}}, {"place": "서울"}),
        ({"place.city": "서울"}, {"place": {"city": "서울"}}),
        ({"a": None}, {}),
        ({"a": None}, {"a": []}),
        ({"a": float("inf")}, {"a": float("nan")}),
    ],
    ids=str,
)
def test_does_not_hold(filter: dict[Any, Any], metadata: dict[Any, Any]) -> None:
    assert not keeps(filter, metadata)
    assert keeps({"$not": filter}, metadata)


@pytest.mark.parametrize(
    ("filter", "kind", "says"),
    [
        ({"year": {"gte": 2020}}, ValueError, r'\{"\$gte": 2020\}'),
        ({"year": {"$gte": 2020, "month": 1}}, ValueError, "mixes"),
        ({"year": {}}, ValueError, "empty"),
        ({"year": {"$like": "20%"}}, UnknownOperatorError, r"'\$like'.*\$eq"),
        ({"$nor": []}, UnknownOperatorError, r"'\$nor'"),
        ({"$gte": 2020}, TypeError, "under a metadata key"),
        ({"year": {"$gte": None}}, TypeError, "number, a string or a date"),
        ({"year": {"$gte": True}}, TypeError, "number, a string or a date"),
        ({"year": {"$in": 2020}}, TypeError, "takes a list"),
        ({"year": {"$eq": [2020]}}, TypeError, r'use "\$in"'),
        ({"year": {"$exists": 1}}, TypeError, "True or False"),
        ({"$or": {"a": 1}}, TypeError, "list of filters"),
        ({"a": float("nan")}, ValueError, "cannot be compared"),
        ({"a": [[1]]}, ValueError, "cannot be compared"),
        pytest.param({"a": object()}, TypeError, "object", id="an object"),
        ({(1, 2): 1}, TypeError, "metadata key"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_an_error_that_says_the_remedy(
    filter: dict[Any, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        parse(filter)


def test_constants_are_folded() -> None:
    assert parse({}) == parse({"$and": []}) == parse({"$or": [{"a": 1}, {}]}) == ALWAYS
    assert parse({"a": []}) == parse({"$or": []}) == parse({"b": 1, "$not": {}}) == NEVER


scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["", "가", "나"]))
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from("xy"), scalars, max_size=2))
operators = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.builds(lambda one: {"$ne": one}, scalars),
    st.builds(lambda one: {"$nin": one}, st.lists(scalars, max_size=3)),
    st.builds(lambda one: {"$exists": one}, st.booleans()),
    st.builds(
        lambda order, one: {order: one},
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
        st.one_of(st.integers(-3, 3), st.just("가")),
    ),
    st.dictionaries(st.sampled_from("xy"), scalars, min_size=1, max_size=2),
)
filters = st.recursive(
    st.dictionaries(st.sampled_from("abc"), operators, max_size=2),
    lambda inner: st.one_of(
        st.builds(lambda one: {"$not": one}, inner),
        st.builds(lambda some: {"$or": some}, st.lists(inner, max_size=3)),
        st.builds(lambda some: {"$and": some}, st.lists(inner, max_size=3)),
    ),
    max_leaves=5,
)


@given(filters, filters, st.dictionaries(st.sampled_from("abc"), values, max_size=3))
def test_logic(one: dict[str, Any], other: dict[str, Any], metadata: dict[str, Any]) -> None:
    first, second = keeps(one, metadata), keeps(other, metadata)
    assert keeps({"$not": one}, metadata) is not first
    assert keeps({"$and": [one, other]}, metadata) is (first and second)
    assert keeps({"$or": [one, other]}, metadata) is (first or second)
