"""Pickles are read, not run: plain values come back, anything else is refused in linear time."""

from __future__ import annotations

import contextlib
import pickle
import struct
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.arrays.plain_pickle import PickleError, Record, RefusedError, read_plain_pickle

SCALARS = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | st.text()
KEYS = st.none() | st.booleans() | st.integers(-(2**39), 2**39) | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(KEYS, inner)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.lists(inner, min_size=4).map(tuple)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
    ),
    max_leaves=30,
)


class Thing:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


THING = {(Thing.__module__, "Thing"): "thing"}


@pytest.mark.parametrize("protocol", [4, 5])
@given(VALUES)
def test_plain_values_come_back(protocol: int, value: Any) -> None:
    found = read_plain_pickle(pickle.dumps(value, protocol), {})
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_instances_of_known_classes_are_records(protocol: int) -> None:
    shared = {"쪽": 1, "긴": "글" * 300}
    things = [Thing(name=str(number), shared=shared) for number in range(300)]
    found = read_plain_pickle(pickle.dumps((things, {"x": things[0]}), protocol), THING)
    assert [record.fields["name"] for record in found[0]] == [thing.name for thing in things]
    assert all(type(record) is Record and record.kind == "thing" for record in found[0])
    assert found[0][0].fields["shared"] == shared
    assert found[1]["x"] is found[0][0]


@pytest.mark.parametrize("value", [pytest.param(Thing(), id="Thing"), OrderedDict(a=1), print, 1j, range(3), slice(1)])
@pytest.mark.parametrize("protocol", [2, 4])
def test_everything_else_is_refused_by_name(value: Any, protocol: int) -> None:
    with pytest.raises(RefusedError):
        read_plain_pickle(pickle.dumps([value], protocol), {})


def deep(levels: int) -> bytes:
    return b"\x80\x04)" + b"\x85" * levels + b"."


def doubling(levels: int) -> bytes:
    """A list of two of the same list of two of the same list ..."""
    return (
        b"\x80\x04]q\x00"
        + b"".join(
            b"]q" + bytes([level]) + b"(h" + bytes([level - 1]) + b"h" + bytes([level - 1]) + b"e"
            for level in range(1, levels)
        )
        + b"."
    )


CRAFTED = {
    "deep tuple": deep(200_000),
    "deep tuple as a key": b"\x80\x04})" + b"\x85" * 200_000 + b"Ns.",
    "deep tuple in a set": b"\x80\x04\x8f()" + b"\x85" * 200_000 + b"\x90.",
    "deep, from the inside out": b"\x80\x04](]q\x00" + b"".join(b"]q\x01h\x00aq\x00" for _ in range(200)) + b"e.",
    "shared lists": doubling(60),
    "a list in itself": b"\x80\x04]q\x00h\x00a.",
    "a dictionary in itself": b"\x80\x04}q\x00X\x01\0\0\0ah\x00s.",
    "text of four gigabytes": b"\x80\x04X\xff\xff\xff\xff" + b"a" * 100 + b".",
    "text of 2**63": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b".",
    "whole number of a megabyte": b"\x80\x04\x8b" + struct.pack("<i", 1 << 20) + b"\xff" * (1 << 20) + b".",
    "negative size": b"\x80\x04\x8b" + struct.pack("<i", -5) + b".",
    "many lists": b"\x80\x04(" + b"]" * 3_000_000 + b"t.",
    "marks": b"\x80\x04" + b"(" * 1_000_000 + b".",
    "no values": b"\x80\x04.",
    "nothing": b"",
    "no stop": b"\x80\x04N",
    "a mark as a value": b"\x80\x04(.",
    "a mark in a tuple": b"\x80\x04(N\x86.",
    "append to a number": b"\x80\x04K\x01K\x02a.",
    "odd items": b"\x80\x04}(K\x01u.",
    "a class as a value": b"\x80\x04c" + Thing.__module__.encode() + b"\nThing\n.",
    "a class without end": b"\x80\x04c" + b"a" * 5000,
    "fields twice": b"\x80\x04c" + Thing.__module__.encode() + b"\nThing\n)\x81}K\x01K\x02sb}K\x01K\x02sb.",
    "fields of a class": b"\x80\x04c" + Thing.__module__.encode() + b"\nThing\n}b.",
    "arguments": b"\x80\x04c" + Thing.__module__.encode() + b"\nThing\nK\x01\x85\x81.",
    "no utf-8": b"\x80\x04X\x01\0\0\0\xff.",
    "colliding keys": b"\x80\x04}("
    + b"".join(b"\x8a\x09" + (number * (2**61 - 1)).to_bytes(9, "little") + b"N" for number in range(2000))
    + b"u.",
    "text protocol": pickle.dumps([1, "둘"], 0),
}


@pytest.mark.parametrize("content", CRAFTED.values(), ids=CRAFTED)
def test_crafted_files_are_refused(content: bytes) -> None:
    with pytest.raises(PickleError):
        read_plain_pickle(content, THING)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes_are_read_or_refused(content: bytes, kind: int) -> None:
    start = [b"", b"\x80\x04", b"\x80\x04](", b"\x80\x04}("][kind]
    with contextlib.suppress(PickleError):
        read_plain_pickle(start + content, THING)


@given(VALUES, st.integers(0, 2000), st.integers(1, 255))
def test_any_changed_byte_is_read_or_refused(value: Any, place: int, change: int) -> None:
    content = bytearray(pickle.dumps(value))
    content[place % len(content)] ^= change
    with contextlib.suppress(PickleError):
        read_plain_pickle(bytes(content), THING)


def test_a_memo_costs_what_is_in_it() -> None:
    """Python's own reader makes room for all numbers below the highest."""
    assert read_plain_pickle(b"\x80\x04Nr\xff\xff\xff\xff.", {}) is None


def test_the_same_fields_given_to_many_are_not_copied() -> None:
    """A few bytes each would copy a large dictionary."""
    name = b"c" + Thing.__module__.encode() + b"\nThing\nq\x00"
    content = b"\x80\x04" + name + b"0}q\x01(K\x01Nu0(" + b"h\x00)\x81h\x01b" * 1000 + b"t."
    found = read_plain_pickle(content, THING)
    assert len(found) == 1000
    assert len({id(record.fields) for record in found}) == 1
