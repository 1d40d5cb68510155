"""Metadata of every common type is accepted when it is added, and is the same before and after saving."""

from __future__ import annotations

import collections
import datetime
import enum
import threading
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from langchain_klue_rerank import KlueBM25Retriever
from langchain_klue_rerank.engine.index.metadata import plain


class Dong(enum.StrEnum):
    RIVER = "강변동"


class Floor(enum.IntEnum):
    FIRST = 1


class NotATime(datetime.datetime):
    """As pandas' NaT: a datetime that does not equal itself."""

    def __ne__(self, other: object) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = datetime.datetime.__hash__

    def isoformat(self, *args: Any, **options: Any) -> str:
        return "NaT"


SEOUL = datetime.timezone(datetime.timedelta(hours=9))
KEPT: list[tuple[Any, Any]] = [
    (np.int32(7), 7),
    (np.float32(0.5), 0.5),
    (np.bool_(True), True),
    (np.str_("글"), "글"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(3), 3),
    (np.datetime64("2026-11-27"), "2026-11-27"),
    (np.timedelta64(90, "s"), 90.0),
    (np.datetime64("NaT"), None),  # else every $gte would keep it: "NaT" comes after all dates
    (np.timedelta64("NaT"), None),
    (NotATime(2026, 11, 27), None),
    (10**400, 10**400),  # no float is as large
    (Decimal("1e400"), 10**400),
    (datetime.datetime(2026, 11, 27, 9, 30, tzinfo=SEOUL), "2026-11-27T09:30:00+09:00"),
    (datetime.date(2026, 11, 27), "2026-11-27"),
    (datetime.time(9, 30), "09:30:00"),
    (datetime.timedelta(minutes=1), 60.0),
    (Decimal("12000"), 12000),
    (Decimal("0.25"), 0.25),
    (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (PurePosixPath("규정/인사.pdf"), "규정/인사.pdf"),
    (("가", 1), ["가", 1]),
    ({"나", "가"}, ["가", "나"]),
    (frozenset({2, 1}), [1, 2]),
    (Dong.RIVER, "강변동"),
    (Floor.FIRST, 1),
    ({3: {"a": (1, None)}, None: 2.5}, {"3": {"a": [1, None]}, "null": 2.5}),
    (collections.OrderedDict(a=1), {"a": 1}),
    (None, None),
    (True, True),
    ("\ud83d", "\ud83d"),
]


def test_documented_values_survive_adding_saving_and_loading(tmp_path: Path) -> None:
    retriever = KlueBM25Retriever.from_documents(
        [Document("전입신고 안내", id=str(row), metadata={"key": given}) for row, (given, _) in enumerate(KEPT)],
        kiwi=False,
    )
    for _ in range(2):
        found = {one.id: one.metadata["key"] for one in retriever.invoke("전입신고", k=len(KEPT))}
        for row, (value, kept) in enumerate(KEPT):
            assert found[str(row)] == kept, value
            assert type(found[str(row)]) is type(kept), value
        retriever.save(tmp_path / "index")
        retriever = KlueBM25Retriever.load(tmp_path / "index")


#: More digits than Python writes as text, which saving would fail at.
TOO_LONG = 10**4300


@pytest.mark.parametrize(
    "given",
    [
        threading.Lock(),
        b"bytes",
        object(),
        {("a", "b"): 1},
        1 + 2j,
        pytest.param(TOO_LONG, id="digits"),
        pytest.param(Decimal("1e999999"), id="decimal"),
    ],
)
def test_what_cannot_be_kept_is_refused_when_it_is_added(given: Any) -> None:
    retriever = KlueBM25Retriever(kiwi=False)
    with pytest.raises(ValueError, match=r"'a'.*'key'"):
        retriever.add_documents([Document("글", id="a", metadata={"key": given})])
    assert len(retriever) == 0


def test_what_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="contains itself"):
        plain(endless)


def test_keys_that_become_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="'1'"):
        KlueBM25Retriever(kiwi=False).add_documents([Document("글", metadata={1: "a", "1": "b"})])


nested = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), nested, max_size=4))
def test_a_document_that_is_found_keeps_every_value(metadata: dict[str, Any]) -> None:
    retriever = KlueBM25Retriever.from_documents([Document("여권 신청", metadata=metadata)], kiwi=False)
    [found] = retriever.invoke("여권")
    del found.metadata["relevance_score"]
    metadata.pop("relevance_score", None)
    assert found.metadata == metadata


def test_numbers_that_no_float_is_as_large_as_are_compared() -> None:
    numbers = [-(10**400), 1, 2.5, 10**400]
    retriever = KlueBM25Retriever.from_documents(
        [Document("여권 신청", id=str(place), metadata={"n": number}) for place, number in enumerate(numbers)],
        kiwi=False,
    )
    assert retriever.find_ids({"n": {"$gt": 1}}) == ["2", "3"]
    assert retriever.find_ids({"n": {"$lt": 2}}) == ["0", "1"]
    assert retriever.find_ids({"n": {"$gte": 10**400}}) == ["3"]
    assert retriever.find_ids({"n": 10**400}) == ["3"]
    assert retriever.find_ids({"n": {"$lt": 10**401}}) == ["0", "1", "2", "3"]


def test_a_missing_time_is_neither_early_nor_late() -> None:
    retriever = KlueBM25Retriever.from_documents(
        [
            Document("여권 신청", id="dated", metadata={"day": np.datetime64("2026-11-27")}),
            Document("여권 신청", id="undated", metadata={"day": np.datetime64("NaT")}),
        ],
        kiwi=False,
    )
    assert retriever.find_ids({"day": {"$gte": "2020-01-01"}}) == ["dated"]
    assert retriever.find_ids({"day": None}) == ["undated"]


@pytest.mark.parametrize("operator", ["$not", "$and", "$or", "key"])
def test_a_filter_that_is_nested_too_deep_is_refused(operator: str) -> None:
    filter: dict[str, Any] = {"n": 1}
    for _ in range(2000):
        filter = {operator: [filter] if operator in ("$and", "$or") else filter}
    retriever = KlueBM25Retriever.from_documents([Document("여권 신청", metadata={"n": 1})], kiwi=False)
    with pytest.raises(ValueError, match="nested deeper"):
        retriever.invoke("여권", filter=filter)
