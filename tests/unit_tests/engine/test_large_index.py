"""What a large index finds although it does not score every passage; here, small ones are searched as if large."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine import parallel
from langchain_klue_rerank.engine.arrays import mapped, strings
from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.index import filters, vectors
from langchain_klue_rerank.engine.index.passage_index import Candidates, PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.segments import coarse, scoring, segment
from langchain_klue_rerank.engine.index.segments.coarse import CoarseVectors
from langchain_klue_rerank.engine.index.settings import VECTORS, IndexSettings
from langchain_klue_rerank.errors import IndexFormatError
from tests.unit_tests.engine.helpers import files_in, tokens_of, vectors_of, windows_of

WORDS = st.sampled_from(["가나", "가나다", "나다", "다라마", "라", "마바사", "강", "바다", "하늘 땅", "12"])
TEXTS = st.lists(WORDS, min_size=1, max_size=9).map(" ".join)


@contextmanager
def large(least: int = 1, *, probes: int = 64) -> Iterator[None]:
    """Search segments of so many passages as large ones, and skip postings wherever it is possible."""
    with (
        patch.object(vectors, "LARGE", least),
        patch.object(scoring, "_LONG", 1),
        patch.object(scoring, "_CHECKED_AFTER", 0),
        patch.object(scoring, "_PROBES", probes),
    ):
        yield


def index_of(batches: Sequence[Sequence[str]], removed: Sequence[int] = ()) -> PassageIndex:
    index, count = PassageIndex(IndexSettings(kiwi=False, window_words=4)), 0
    for texts in batches:
        passages = [Passage(str(count + row), text, {"even": (count + row) % 2 == 0}) for row, text in enumerate(texts)]
        index.add(passages, tokens_of(texts), {VECTORS: windows_of(texts, 4)})
        count += len(texts)
    index.delete([str(number) for number in removed])
    return index


def found(candidates: Candidates) -> list[tuple[str, float]]:
    return [(one.id, score) for one, score in zip(candidates.passages, candidates.scores.tolist(), strict=True)]


def assert_same(one: Candidates, other: Candidates) -> None:
    """The same passages in the same order, but for those whose scores are equal but for rounding."""
    np.testing.assert_allclose(one.scores, other.scores, atol=2e-6)
    ids, others = dict(found(one)), dict(found(other))
    last = other.scores[-1] if len(other.scores) else 0
    for identifier in ids.keys() ^ others.keys():
        assert abs(ids.get(identifier, others.get(identifier, 0.0)) - last) < 2e-6
    for identifier in ids.keys() & others.keys():
        assert abs(ids[identifier] - others[identifier]) < 2e-6


@given(
    st.lists(st.lists(TEXTS, min_size=1, max_size=25), min_size=1, max_size=3),
    st.lists(TEXTS, min_size=1, max_size=3),
    st.integers(0, 12),
    st.lists(st.integers(0, 40), max_size=6),
    st.booleans(),
    st.sampled_from([1, 1000]),
    st.sampled_from([1, 10]),
)
def test_skipping_finds_what_scoring_every_passage_finds(
    batches: list[list[str]], queries: list[str], k: int, removed: list[int], filtered: bool, probes: int, least: int
) -> None:
    index = index_of(batches, removed)
    keep = filters.parse({"even": True}) if filtered else None
    tokens, query_vectors = tokens_of(queries), vectors_of(queries)
    for given_tokens, given_vectors in ((tokens, None), (None, query_vectors), (tokens, query_vectors)):
        every = index.search(k, tokens=given_tokens, vectors=given_vectors, keep=keep, keep_lexical=k // 3)
        with large(least, probes=probes):
            skimmed = index.search(k, tokens=given_tokens, vectors=given_vectors, keep=keep, keep_lexical=k // 3)
        for one, other in zip(skimmed, every, strict=True):
            assert_same(one, other)


def test_of_equal_passages_the_first_are_found() -> None:
    index = index_of([["가나 다라"] * 40, ["가나 다라"] * 40])
    with large():
        [lexical] = index.search(5, tokens=tokens_of(["가나 다라"]))
        [hybrid] = index.search(5, tokens=tokens_of(["가나 다라"]), vectors=vectors_of(["가나 다라"]))
    assert [one.id for one in lexical.passages] == [one.id for one in hybrid.passages] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("callers", [1, 8])
def test_one_core_or_two_and_one_caller_or_many_find_the_same(monkeypatch: pytest.MonkeyPatch, callers: int) -> None:
    texts = [f"가나 {number % 7} 다라 {number}" for number in range(60)]
    index = index_of([texts, ["가나 다라"] * 20], removed=[3, 61])

    def ask(number: int) -> list[tuple[str, float]]:
        query = f"가나 {number} 다라"
        [candidates] = index.search(5, tokens=tokens_of([query]), vectors=vectors_of([query]))
        return found(candidates)

    with large():
        monkeypatch.setattr(parallel, "cores", lambda: 1)
        expected = [ask(number) for number in range(24)]
        monkeypatch.setattr(parallel, "cores", lambda: 2)
        with ThreadPoolExecutor(callers) as threads:
            assert [*threads.map(ask, range(24))] == expected


def test_long_lists_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing above would test skipping."""
    index = index_of([["흔한 말"] * 60 + ["드문 말"] * 3])
    asked = []
    real = scoring._in_reach

    def seen(*arguments: object) -> object:
        asked.append(real(*arguments))  # type: ignore[arg-type]
        return asked[-1]

    monkeypatch.setattr(scoring, "_in_reach", seen)
    with large():
        [candidates] = index.search(3, tokens=tokens_of(["드문 말"]))
    assert [one.id for one in candidates.passages] == ["60", "61", "62"]
    assert [len(rows) for rows in asked if rows is not None] == [3]


def clustered(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    centers, generator = np.random.default_rng(5).normal(size=(40, dimension)), np.random.default_rng(seed)
    return as_unit_vectors(0.5 + centers[generator.integers(0, 40, count)] + generator.normal(size=(count, dimension)))


@pytest.mark.parametrize("dimension", [40, 480])
def test_the_nearest_in_bits_hold_the_nearest(dimension: int) -> None:
    table = clustered(6000, dimension)
    made = CoarseVectors.of(table)
    shares = []
    for query in clustered(20, dimension, seed=1):
        nearest = np.argsort(-(table @ query), kind="stable")[:10]
        rows = made.nearest(query, 600, None)
        assert len(rows) >= 600
        shares.append(np.isin(nearest, rows).mean())
        np.testing.assert_allclose(made.cosines(query, rows), table[rows] @ query, atol=0.01)
    assert np.mean(shares) > 0.97


def test_only_what_may_be_found_is_near() -> None:
    table = clustered(200, 64)
    mask = np.arange(200) % 50 == 0
    assert CoarseVectors.of(table).nearest(table[1], 20, mask).tolist() == [0, 50, 100, 150]


def test_bits_are_counted_in_the_same_way_without_numpy_2() -> None:
    words = np.random.default_rng(0).integers(0, 2**63, 100, np.uint64)
    assert coarse.count_bits_by_table(words).tolist() == [int(word).bit_count() for word in words]


def test_a_saved_index_keeps_its_coarse_vectors(tmp_path: Path) -> None:
    texts = [f"가나 {number}" for number in range(30)]
    with large():
        index_of([texts]).save(tmp_path / "index")
        loaded = PassageIndex.load(tmp_path / "index")
        [before] = index_of([texts]).search(5, vectors=vectors_of(["가나 7"]))
        [after] = loaded.search(5, vectors=vectors_of(["가나 7"]))
    assert found(before) == found(after)
    assert list((tmp_path / "index").rglob("vectors_coarse_bits.npy"))


def test_an_index_saved_without_coarse_vectors_is_searched(tmp_path: Path) -> None:
    index_of([["가나 다", "라마 바"]]).save(tmp_path / "index")
    with large():
        [candidates] = PassageIndex.load(tmp_path / "index").search(1, vectors=vectors_of(["라마 바"]))
    assert [one.id for one in candidates.passages] == ["1"]


def test_coarse_vectors_of_other_passages_are_refused(tmp_path: Path) -> None:
    CoarseVectors.of(clustered(10, 64)).save(tmp_path / "vectors")
    with pytest.raises(IndexFormatError, match="not those of 11 passages"):
        CoarseVectors.load(files_in(tmp_path), "vectors", 11, 64)


@pytest.mark.parametrize("stretch", [1, 7, 64, 1 << 20])
def test_large_files_are_read_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int) -> None:
    texts = [f"가나 {number} 다라" for number in range(20)]
    index_of([texts]).save(tmp_path)
    monkeypatch.setattr(mapped, "_STRETCH", stretch)
    loaded = PassageIndex.load(tmp_path)
    assert [one.text for one in loaded.get([str(number) for number in range(20)])] == texts
    [damaged] = tmp_path.rglob("passages.jsonl")
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(IndexFormatError, match=r"passages.jsonl.*damaged"):
        PassageIndex.load(tmp_path)


def test_a_scan_of_all_passages_holds_few_of_them_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata filters read all passages once: neither a copy of the file nor the mapped file may stay."""
    index = PassageIndex(IndexSettings(lexical=False, kiwi=False))
    passages = [Passage(str(row), "가나", {"even": row % 2 == 0, "note": "가" * 4000}) for row in range(1000)]
    index.add(passages, vectors=np.ones((1000, 1)))
    index.save(tmp_path)
    index = PassageIndex.load(tmp_path)
    monkeypatch.setattr(strings, "_BYTES_AT_ONCE", 1 << 20)
    before = mapped.resident()
    if before is None:
        pytest.skip("the system does not say how much of mapped files is in memory")
    tracemalloc.start()
    try:
        assert len(index.find(filters.parse({"even": True}))) == 500
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = sum(path.stat().st_size for path in tmp_path.rglob("passages.jsonl"))
    assert size > 10_000_000
    assert peak < size / 2
    assert mapped.resident() < before + size / 2


@given(
    st.lists(st.integers(0, 512), min_size=1, max_size=400),
    st.integers(1, 500),
    st.sampled_from([1, 2, 5, 4096]),
)
def test_rows_within_the_smallest_distance(distances: list[int], count: int, sampled: int) -> None:
    with patch.object(coarse, "_SAMPLED", sampled):
        rows = coarse._within(np.array(distances, np.uint16), count, 512)
    nearest = sorted(distances)[:count][-1] if count <= len(distances) else 512
    assert rows.tolist() == [row for row, distance in enumerate(distances) if distance <= nearest]


def flip(path: Path, place: int) -> bytes:
    """Change the highest bit of a byte, and return what the file was."""
    content = path.read_bytes()
    changed = bytearray(content)
    changed[place] ^= 0x80
    path.write_bytes(changed)
    return content


def test_damage_in_a_large_file_is_found_by_verify_and_by_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "_MAPPED", 0)
    monkeypatch.setattr(mapped, "LARGE_FILE", 1)
    index_of([[f"가나 {number} 다라 마바 사아 자차" for number in range(20)]]).save(tmp_path / "index")
    tokens, query = tokens_of(["가나 7"]), vectors_of(["가나 7"])
    for path in (tmp_path / "index").glob("data-*/**/*.*"):
        for place in {path.stat().st_size - 1, path.stat().st_size // 2} - {-1, 0}:
            before = flip(path, place)
            try:
                index = PassageIndex.load(tmp_path / "index")
            except IndexFormatError:  # such as offsets that do not rise
                continue
            finally:
                path.write_bytes(before)
            flip(path, place)
            with suppress(IndexFormatError):
                index.search(5, tokens=tokens, vectors=query, with_tokens=True)
            for check in (index.verify, lambda index=index: index.save(tmp_path / "other")):
                with pytest.raises(IndexFormatError, match=rf"{path.name}.*damaged"):
                    check()
            assert not (tmp_path / "other").exists()
            path.write_bytes(before)
            index.verify()


def test_a_number_out_of_range_in_a_large_file_is_told_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_of([["가나 다라", "마바 사아"]]).save(tmp_path)
    for path in tmp_path.glob("data-*/**/bigram_rows.npy"):
        np.save(path, np.full_like(np.load(path), 1_000_000))
    with pytest.raises(IndexFormatError, match=r"bigram_rows.npy.*damaged"):
        PassageIndex.load(tmp_path)
    monkeypatch.setattr(mapped, "LARGE_FILE", 1)
    index = PassageIndex.load(tmp_path)
    with pytest.raises(IndexFormatError, match=r"bigram_rows.npy.*damaged"):
        index.search(2, tokens=tokens_of(["가나"]))


def test_a_large_file_of_another_size_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_of([["가나 다라", "마바 사아"]]).save(tmp_path)
    monkeypatch.setattr(mapped, "LARGE_FILE", 1)
    for path in tmp_path.glob("data-*/**/*.*"):
        content = path.read_bytes()
        for other in {content[:-1], content + b"x"} - {content}:
            path.write_bytes(other)
            with pytest.raises(IndexFormatError, match=rf"{path.name}.*bytes instead of"):
                PassageIndex.load(tmp_path)
        path.write_bytes(content)


@pytest.mark.slow
def test_memory_of_mapped_files_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index_of([[f"가나 {number}" for number in range(300)]]).save(tmp_path)
    monkeypatch.setattr(mapped, "_STRETCH", 1)
    monkeypatch.setattr(segment, "_SEARCHES", 2)
    with large():
        index = PassageIndex.load(tmp_path)
        before = index.search(5, tokens=tokens_of(["가나 7"]), vectors=vectors_of(["가나 7"]))
        again = [index.search(5, tokens=tokens_of(["가나 7"]), vectors=vectors_of(["가나 7"])) for _ in range(6)]
    assert [found(one) for [one] in again] == [found(before[0])] * 6
