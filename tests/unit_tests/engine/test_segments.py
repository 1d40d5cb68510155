"""Segments, snapshots and columns: what keeps searching while an index grows."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from langchain_klue_rerank.engine.arrays.ragged import GrowingRagged, Ragged
from langchain_klue_rerank.engine.arrays.strings import GrowingStrings, StringTable
from langchain_klue_rerank.engine.index.filters import matches, parse
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.segments import segmented
from langchain_klue_rerank.engine.index.segments.columns import Column, evaluate
from langchain_klue_rerank.engine.index.segments.postings import Postings
from langchain_klue_rerank.engine.index.segments.segment import Segment
from langchain_klue_rerank.engine.index.segments.terms import Terms
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.engine.text.words import bigrams
from langchain_klue_rerank.errors import IndexChangedError
from tests.unit_tests.engine.helpers import SETTINGS, add, ids, passage, search

INDEX = "langchain_klue_rerank.engine.index.segments.segmented"

# --- strings and postings ---------------------------------------------------------------------------------------------

WORDS = st.lists(st.text(max_size=5), unique=True, max_size=30)


@given(strings=WORDS, asked=WORDS)
def test_a_table_finds_exactly_the_strings_that_it_has(strings: list[str], asked: list[str]) -> None:
    table = StringTable.of(strings)
    assert list(table) == strings
    assert table[1:] == strings[1:]
    for outside in (-1, len(strings)):
        with pytest.raises(IndexError):
            table[outside]
    wanted = asked + strings
    found = table.find(wanted).tolist()
    assert found == [strings.index(one) if one in strings else -1 for one in wanted]
    assert table.take(np.arange(len(strings))[::-1]).find(strings).tolist() == list(range(len(strings)))[::-1]


def test_strings_with_the_same_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "langchain_klue_rerank.engine.arrays.strings.hashes",
        lambda content, offsets: np.zeros(len(offsets) - 1, np.uint64),
    )
    assert StringTable.of(["가", "나", "다"]).find(["다", "라", "가"]).tolist() == [2, -1, 0]


@given(st.lists(st.text("가나다abc1😀漢", min_size=1, max_size=6), max_size=12))
def test_words_are_kept_with_their_bigrams(words: list[str]) -> None:
    terms = Terms()
    for some in (words[: len(words) // 2], words):
        terms.add(tokenize([" ".join(some)], None))
    for number, word in enumerate(terms.words.first(len(terms.words))):
        assert terms.bigrams.strings(terms.word_bigrams.rows.between(number, number + 1).values) == bigrams(word)
    assert len(set(terms.bigrams.first(99))) == len(terms.bigrams)


@given(saved=WORDS, added=st.lists(st.lists(st.text(max_size=3), max_size=8), max_size=6))
def test_growing_strings_are_numbered_once(saved: list[str], added: list[list[str]]) -> None:
    half = len(saved) // 2
    strings = GrowingStrings([StringTable.of(saved[:half]), StringTable.of(saved[half:])])
    model = list(saved)
    for some in added:
        model += [one for one in dict.fromkeys(some) if one not in model]
        assert strings.add(some).tolist() == [model.index(one) for one in some]
    assert list(strings.first(len(strings))) == model
    assert strings.strings(np.arange(len(model))) == model


def test_what_an_interrupted_append_left_is_written_over() -> None:
    rows = GrowingRagged()
    rows.append(Ragged.from_rows([[1], [2, 3]]), 0)
    before = rows.rows
    rows.append(Ragged.from_rows([[7], [8]]), 2)
    rows.append(Ragged.from_rows([[9, 9]]), 2)  # the words of the rows before were never published
    assert rows.rows.values.tolist() == [1, 2, 3, 9, 9]
    assert before.values.tolist() == [1, 2, 3]


ROWS = st.lists(st.lists(st.integers(0, 6), max_size=6), min_size=1, max_size=8)


@given(parts=st.lists(ROWS, min_size=1, max_size=4), data=st.data())
def test_merged_postings_are_those_of_the_passages_that_are_left(parts: list[Any], data: st.DataObject) -> None:
    kept = [data.draw(st.none() | st.lists(st.booleans(), min_size=len(own), max_size=len(own))) for own in parts]
    masks = [None if mask is None else np.asarray(mask, bool) for mask in kept]
    merged = Postings.merge([Postings.of(Ragged.from_rows(own)) for own in parts], masks)
    left = [
        row
        for own, mask in zip(parts, kept, strict=True)
        for row, keep in zip(own, mask or [True] * len(own), strict=True)
        if keep
    ]
    expected = Postings.of(Ragged.from_rows(left))
    for name in Postings.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(merged, name), getattr(expected, name))


# --- filters on columns -----------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, 2.5]) | st.sampled_from("가나다")
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.sampled_from(["도시", "구"]), SCALARS, max_size=2)
METADATA = st.dictionaries(st.sampled_from(["해", "곳"]), VALUES, max_size=2)
ASKED = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["$eq", "$ne"]), SCALARS, min_size=1),
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.integers(-3, 3) | st.just("나"), min_size=1),
    st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3), min_size=1),
    st.booleans().map(lambda wanted: {"$exists": wanted}),
    st.dictionaries(st.sampled_from(["도시", "구"]), SCALARS, min_size=1),
)
FILTERS = st.recursive(
    st.dictionaries(st.sampled_from(["해", "곳"]), ASKED, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(inner, max_size=3), min_size=1),
    max_leaves=4,
)


@given(rows=st.lists(METADATA, max_size=8), wanted=FILTERS, cut=st.integers(0, 8))
@settings(max_examples=5 * settings.default.max_examples)
def test_a_filter_on_columns_keeps_what_it_keeps_passage_by_passage(
    rows: list[dict[str, Any]], wanted: dict[str, Any], cut: int
) -> None:
    condition = parse(wanted)

    def column(key: str) -> Column:
        parts = [rows[:cut], rows[cut:]]
        return Column.join([Column.of(part, key, len(part)) for part in parts], [None, None])

    assert evaluate(condition, column, len(rows)).tolist() == [matches(condition, own) for own in rows]


def test_numbers_too_large_for_floating_point_are_compared_exactly() -> None:
    rows = [{"수": 2**53}, {"수": 2**53 + 1}]
    for bound in (2**53, 2**53 + 1):
        condition = parse({"수": {"$gte": bound}})
        found = evaluate(condition, lambda key: Column.of(rows, key, 2), 2)
        assert found.tolist() == [matches(condition, own) for own in rows]


def test_a_condition_and_a_function_find_the_same_after_adding_removing_and_loading(tmp_path: Path) -> None:
    index = PassageIndex(SETTINGS)
    add(index, *(passage(f"p{n}", f"낱말{n % 5} 공통", 해=n % 4) for n in range(40)))
    condition = parse({"해": {"$lt": 2}})

    def both(one: PassageIndex) -> None:
        found = ids(search(one, "공통", 100, keep=condition))
        assert sorted(found) == sorted(ids(search(one, "공통", 100, keep=lambda own: own.metadata["해"] < 2)))
        assert sorted(one.find(condition)) == sorted(found)

    both(index)
    index.delete(["p0", "p1", "p4"])
    add(index, passage("p2", "공통", 해=0), passage("p99", "공통", 해=1))
    both(index)
    index.save(tmp_path)
    both(PassageIndex.load(tmp_path))


# --- readers and writers ----------------------------------------------------------------------------------------------


def test_a_search_does_not_wait_for_a_writer() -> None:
    index = PassageIndex(SETTINGS)
    add(index, passage("가", "전입신고"))
    with index._lock:  # somebody adds, merges or saves
        found: list[Any] = []
        reader = threading.Thread(target=lambda: found.append(search(index, "전입신고")))
        reader.start()
        reader.join(30)
    assert [ids(one) for one in found] == [["가"]]


def test_adding_one_by_one_keeps_few_segments() -> None:
    index = PassageIndex(SETTINGS)
    for number in range(200):
        add(index, passage(str(number), f"낱말{number}"))
    assert len(index._state.views) <= 9
    assert index.find() == [str(number) for number in range(200)]
    assert search(index, "낱말17", 1)[0][0] == "17"


def test_removed_while_segments_are_merged_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{INDEX}._MERGED_AT_ONCE", 0)
    started, go_on = threading.Event(), threading.Event()
    merge = segmented.merge_views

    def slowly(views: Sequence[Any]) -> Segment:
        merged = merge(views)
        started.set()
        assert go_on.wait(30)
        return merged

    monkeypatch.setattr(segmented, "merge_views", slowly)
    index = PassageIndex(SETTINGS)
    add(index, *(passage(f"a{n}", f"낱말{n} 공통") for n in range(6)))
    add(index, *(passage(f"b{n}", f"다른{n} 공통") for n in range(6)))
    assert started.wait(30)
    assert index.delete(["a1", "b2"]) == 2
    add(index, passage("a3", "바뀐 공통"))
    expected = {f"{kind}{n}" for kind in "ab" for n in range(6)} - {"a1", "b2"}
    assert set(ids(search(index, "공통", 100))) == expected
    go_on.set()
    index.wait_for_merges()
    assert len(index._state.views) == 2  # the new passage is by itself
    assert set(ids(search(index, "공통", 100))) == expected == set(index.find())
    assert search(index, "바뀐", 1)[0][0] == "a3"


#: Prints the merging threads that are alive when a program begins and has ended to shut down.
ENDING = """
import atexit, threading
def merging(): return [thread.name for thread in threading.enumerate() if thread.name == "klue-merge"]
atexit.register(lambda: print(merging()))  # called last
from tests.unit_tests.engine.helpers import SETTINGS, add, passage
from langchain_klue_rerank.engine.index import passage_index
from langchain_klue_rerank.engine.index.segments import segmented
segmented._MERGED_AT_ONCE = 0
index = passage_index.PassageIndex(SETTINGS)
for start in (0, 600): add(index, *(passage(str(n), f"문서 {n} 본문") for n in range(start, start + 600)))
print(merging())
"""


@pytest.mark.slow
def test_a_program_that_ends_ends_its_merges() -> None:
    # numpy threads that still compute when Python is taken down abort the process
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "[]"


def test_a_merge_that_comes_too_late_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{INDEX}._MERGED_AT_ONCE", 0)
    monkeypatch.setattr(f"{INDEX}._REMOVED", 0)
    started, go_on = threading.Event(), threading.Event()
    merge = segmented.merge_views

    def slowly(views: Sequence[Any]) -> Segment:
        started.set()
        assert go_on.wait(30)
        return merge(views)

    monkeypatch.setattr(segmented, "merge_views", slowly)
    index = PassageIndex(SETTINGS)
    add(index, passage("가", "하나 공통"))
    add(index, passage("나", "둘 공통"), passage("다", "셋 공통"))
    assert started.wait(30)
    index.delete(["가", "나"])  # more than are left: everything is written anew, words too
    go_on.set()
    index.wait_for_merges()
    assert ids(search(index, "공통", 10)) == ["다"]
    assert set(index._state.terms.words.first(10)) == {"셋", "공통"}


class ManySegments(RuleBasedStateMachine):
    """An index of many small segments, merged in the background, finds what one made at once finds."""

    names = st.sampled_from("abcdefghij")
    texts = st.lists(st.sampled_from(["강물", "바다", "산길", "하늘", "구름"]), max_size=4).map(" ".join)

    @initialize(
        lexical=st.booleans(),
        words=st.sampled_from([None, 2]),
        at_once=st.sampled_from([0, 3, 4096]),
        few=st.sampled_from([0, 4]),
    )
    def start(self, lexical: bool, words: int | None, at_once: int, few: int) -> None:
        import tempfile
        from dataclasses import replace

        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(f"{INDEX}._MERGED_AT_ONCE", at_once)
        self.patch.setattr(f"{INDEX}._REMOVED", 6)
        self.patch.setattr("langchain_klue_rerank.engine.index.saved._FEW", few)
        self.patch.setattr("langchain_klue_rerank.engine.index.saved._MANY", few)
        self.index = PassageIndex(replace(SETTINGS, lexical=lexical, window_words=words))
        self.model: dict[str, Passage] = {}
        self.place = tempfile.TemporaryDirectory()

    @rule(names=st.lists(names, min_size=1, max_size=4), text=texts, year=st.integers(0, 3))
    def add(self, names: list[str], text: str, year: int) -> None:
        new = [passage(name, text, 해=year) for name in names]
        add(self.index, *new)
        for one in {one.id: one for one in new}.values():  # of one given twice the last counts
            self.model.pop(one.id, None)
            self.model[one.id] = one

    @rule(names=st.lists(names, max_size=3))
    def delete(self, names: list[str]) -> None:
        assert self.index.delete(names) == len(set(names) & set(self.model))
        for name in names:
            self.model.pop(name, None)

    @rule(folder=st.sampled_from(["one", "other"]), compact=st.booleans(), go_on=st.booleans())
    def save_and_load(self, folder: str, compact: bool, go_on: bool) -> None:
        place = Path(self.place.name) / folder
        with suppress(IndexChangedError):  # the index of before the last load was saved there
            self.index.save(place, compact=compact)
            loaded = PassageIndex.load(place)
            assert loaded.get(loaded.find()) == [*self.model.values()]
            if go_on:
                self.index = loaded

    @rule(query=texts, year=st.integers(0, 3) | st.none())
    def search(self, query: str, year: int | None) -> None:
        keep = None if year is None else parse({"해": year})
        fresh = PassageIndex(self.index.settings)
        add(fresh, *self.model.values())
        found, expected = search(self.index, query, 20, keep=keep), search(fresh, query, 20, keep=keep)
        assert dict(found) == pytest.approx(dict(expected), abs=1e-5)

    @invariant()
    def holds_the_same(self) -> None:
        if hasattr(self, "model"):
            assert len(self.index) == len(self.model)
            assert self.index.find() == list(self.model)
            assert self.index.get(list("abcdefghij")) == [self.model[n] for n in "abcdefghij" if n in self.model]

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.index.wait_for_merges()
            self.patch.undo()
            self.place.cleanup()


ManySegments.TestCase.settings = settings(max_examples=settings.default.max_examples * 5 // 12, stateful_step_count=25)
TestManySegments = ManySegments.TestCase
