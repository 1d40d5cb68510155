from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.errors import IndexFormatError, ModelOutputError
from tests.unit_tests.engine.helpers import (
    DIMENSION,
    SETTINGS,
    add,
    ids,
    passage,
    search,
    small_index,
    tokens_of,
    vectors_of,
)

KINDS = pytest.mark.parametrize(
    "kind",
    [
        SETTINGS,
        replace(SETTINGS, dense=False),
        replace(SETTINGS, lexical=False),
        replace(SETTINGS, window_words=2),
        replace(SETTINGS, lexical=False, window_words=2),
    ],
    ids=["both", "lexical", "dense", "both, windows", "dense, windows"],
)


@KINDS
def test_finds_the_right_passage_first(kind: IndexSettings) -> None:
    index = small_index(kind)
    for query, expected in (("전입신고", "가"), ("체류기간 연장", "나"), ("건강보험 외국인", "다")):
        found = search(index, query)
        assert found[0][0] == expected
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)


def score_of(index: PassageIndex, query: str, identifier: str) -> float:
    return dict(search(index, query, len(index))).get(identifier, 0.0)


@KINDS
def test_adding_nothing_changes_nothing(kind: IndexSettings) -> None:
    index = PassageIndex(kind)
    add(index)
    index.add([], tokens_of([]), np.asarray([], np.float32))  # what an embedding model returns for no texts
    assert len(index) == 0
    add(index, passage("가", "전입신고"))
    assert ids(search(index, "전입신고")) == ["가"]


def test_lexical_search_finds_only_what_shares_a_term_and_dense_search_everything() -> None:
    assert ids(search(small_index(replace(SETTINGS, dense=False)), "전입신고")) == ["가"]
    assert len(search(small_index(replace(SETTINGS, lexical=False)), "전입신고")) == 3


def test_dense_weight_decides_which_side_wins() -> None:
    index = PassageIndex(SETTINGS)
    axes = np.eye(DIMENSION, dtype=np.float32)[:2]
    index.add([passage("낱말", "강물"), passage("뜻", "하천")], tokens_of(["강물", "하천"]), axes)
    by_weight = {}
    for weight in (0.0, 0.3, 2.0):
        [found] = index.search(2, tokens=tokens_of(["강물"]), vectors=axes[1:], dense_weight=weight)
        by_weight[weight] = [one.id for one in found.passages]
    assert by_weight == {0.0: ["낱말"], 0.3: ["낱말", "뜻"], 2.0: ["뜻", "낱말"]}


@pytest.mark.parametrize(("words", "meaning"), [(True, True), (True, False), (False, True)])
def test_candidates_bring_the_scores_of_each_search(words: bool, meaning: bool) -> None:
    index = PassageIndex(SETTINGS)
    axes = np.eye(DIMENSION, dtype=np.float32)[:2]
    index.add([passage("뜻", "하천"), passage("낱말", "강물")], tokens_of(["하천", "강물"]), axes)
    tokens, vectors = tokens_of(["강물"]) if words else None, axes[1:] if meaning else None
    [found] = index.search(1, tokens=tokens, vectors=vectors)
    assert [one.id for one in found.passages] == ["낱말"]
    lexical, cosines = found.evidence.lexical, found.evidence.cosines
    assert (lexical is not None, cosines is not None) == (words, meaning)
    assert found.evidence.corpus_size == 2
    if lexical is not None:
        assert lexical.shape == (1,)
        assert lexical[0] > 0
    if cosines is not None:
        assert cosines == pytest.approx([1], abs=1e-5)


def test_words_do_not_drown_in_a_long_passage() -> None:
    about = passage("짧은 글", "전입신고 안내 창구 번호")
    answer = passage("긴 글", " ".join(["전입신고 기한", *(f"낱말{number} 다른{number}" for number in range(20))]))
    for words, first in ((None, "짧은 글"), (2, "긴 글")):
        index = PassageIndex(replace(SETTINGS, lexical=False, window_words=words))
        add(index, about, answer)
        assert search(index, "전입신고 기한", 1)[0][0] == first
    assert search(index, "전입신고 기한", 1)[0][1] > 0.99  # the window says nothing else


@pytest.mark.parametrize("lexical", [True, False])
def test_windows_are_read_of_what_is_nearest_as_a_whole(lexical: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    index = PassageIndex(replace(SETTINGS, lexical=lexical, window_words=2))
    words = ["강물", "바다", "산길", "하늘"]
    add(index, *(passage(str(n), f"{words[n % 4]} {words[n // 4 % 4]} {words[n // 16]}") for n in range(64)))
    every = search(index, "바다 하늘", 64)
    for name in ("_READ", "READ_FOR_EACH", "_READ_SHARE"):
        monkeypatch.setattr(f"langchain_klue_rerank.engine.index.search.{name}", {"_READ": 16}.get(name, 0))
    few = search(index, "바다 하늘", 4)
    assert len(few) == 4
    assert [score for _, score in few] == pytest.approx([score for _, score in every[:4]], abs=1e-6)
    [(only, _)] = search(index, "바다 하늘", 4, keep=lambda one: one.id == "2")  # the filter comes first
    assert only == "2"


def test_vectors_of_long_passages_are_those_of_wholes() -> None:
    index = PassageIndex(replace(SETTINGS, window_words=2))
    add(index, passage("가", "강물 바다 산길 하늘"), passage("나", "강물 바다"))
    assert index.vectors(["가", "나"]).shape == (2, DIMENSION)
    unit = vectors_of(["강물 바다"])[0]
    np.testing.assert_allclose(index.vectors(["나"])[0], unit / np.linalg.norm(unit), atol=1e-5)


@KINDS
def test_a_copy_by_pickle_finds_the_same(kind: IndexSettings) -> None:
    index = small_index(kind)
    index.delete(["나"])
    copied = pickle.loads(pickle.dumps(index))  # noqa: S301
    assert dict(search(copied, "체류기간 건강보험")) == pytest.approx(
        dict(search(index, "체류기간 건강보험")), abs=1e-6
    )


def test_several_queries_at_once_are_searched_each_on_its_own() -> None:
    index = small_index()
    queries = ["전입신고", "건강보험 외국인", "없는말"]
    together = index.search(3, tokens=tokens_of(queries), vectors=vectors_of(queries))
    assert [[one.id for one in found.passages] for found in together] == [
        ids(search(index, query, 3)) for query in queries
    ]
    assert index.search(3, tokens=tokens_of([]), vectors=vectors_of([])) == []


@KINDS
@pytest.mark.parametrize("at_once", [1, 4, 7])
def test_a_batch_cut_into_parts_finds_the_same(
    kind: IndexSettings, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = small_index(kind)
    queries = ["전입신고", "", "건강보험 외국인", "없는말", "연장"]

    def found() -> list[list[tuple[str, float]]]:
        candidates = index.search(
            2,
            tokens=tokens_of(queries) if kind.lexical else None,
            vectors=vectors_of(queries) if kind.dense else None,
        )
        return [[(one.id, score) for one, score in zip(c.passages, c.scores, strict=True)] for c in candidates]

    expected = found()
    monkeypatch.setattr("langchain_klue_rerank.engine.index.search._SCORES_AT_ONCE", at_once)
    for own, one in zip(found(), expected, strict=True):
        assert [identifier for identifier, _ in own] == [identifier for identifier, _ in one]
        assert dict(own) == pytest.approx(dict(one), abs=1e-6)


def test_candidates_come_with_their_tokens() -> None:
    index = small_index()
    [found] = index.search(2, tokens=tokens_of(["체류기간 전입신고"]), with_tokens=True)
    expected = tokens_of([one.text for one in found.passages])
    assert found.evidence.tokens is not None
    assert [found.evidence.tokens.words[word] for word in found.evidence.tokens.word_ids] == [
        expected.words[word] for word in expected.word_ids
    ]
    assert found.evidence.tokens.lengths().tolist() == expected.lengths().tolist()


@KINDS
def test_the_same_identifier_replaces(kind: IndexSettings) -> None:
    index = small_index(kind)
    add(index, passage("가", "운전면허 갱신", title="면허"))
    assert len(index) == 3
    assert index.get(["가"]) == [passage("가", "운전면허 갱신", title="면허")]
    assert search(index, "운전면허")[0][0] == "가"
    assert score_of(index, "전입신고 14일 주민센터", "가") < 0.6


@KINDS
def test_of_one_identifier_given_twice_the_last_counts(kind: IndexSettings) -> None:
    index = PassageIndex(kind)
    add(index, passage("가", "옛날 이야기"), passage("나", "건강보험"), passage("가", "운전면허 갱신"))
    assert len(index) == 2
    assert index.get(["가"])[0].text == "운전면허 갱신"
    assert search(index, "운전면허", 1)[0][0] == "가"
    assert search(index, "건강보험", 1)[0][0] == "나"
    if kind.dense:
        unit = vectors_of(["운전면허 갱신"])[0]
        np.testing.assert_allclose(index.vectors(["가"])[0], unit / np.linalg.norm(unit), rtol=1e-5)


@KINDS
def test_after_many_removals_everything_is_still_in_its_place(kind: IndexSettings) -> None:
    index = PassageIndex(kind)
    names = [chr(ord("가") + number) for number in range(1200)]
    passages = [passage(f"p{number}", f"{name} 공통", number=number) for number, name in enumerate(names)]
    add(index, *passages)
    assert index.delete([f"p{number}" for number in range(1200) if number % 10]) == 1080
    assert len(index) == 120
    for number in (0, 10, 1190):
        assert search(index, names[number], 1)[0][0] == f"p{number}"
        assert index.get([f"p{number}"]) == [passages[number]]
    assert index.get(["p1"]) == []
    add(index, passage("p1", "다시 왔다"), passage("p10", "바뀐 것"))
    assert search(index, "다시 왔다", 1)[0][0] == "p1"
    assert index.get(["p10"])[0].text == "바뀐 것"
    assert len(index) == 121


def test_stored_tokens_of_passages_by_identifier_and_text() -> None:
    index = small_index()
    known = index.get(["다", "가"])
    tokens = index.tokens(known)
    assert tokens is not None
    expected = tokens_of([one.text for one in known])
    assert [tokens.words[number] for number in tokens.word_ids] == [expected.words[n] for n in expected.word_ids]
    assert index.tokens([*known, passage("라", "모르는 글")]) is None
    assert index.tokens([passage("가", "같은 번호, 다른 글")]) is None
    assert PassageIndex(replace(SETTINGS, lexical=False)).tokens([]) is None


def test_a_filter_that_fails_is_not_hidden() -> None:
    with pytest.raises(KeyError, match="lang"):
        search(small_index(), "전입신고", keep=lambda one: one.metadata["lang"] == "ko")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((2, DIMENSION), np.nan), "NaN"),
        (np.ones((2, DIMENSION + 1)), "dimension"),
        (np.ones((1, DIMENSION)), "1 vectors for 2 texts"),
        (np.ones((3, DIMENSION)), "3 vectors for 2 texts"),
        (np.zeros((0, DIMENSION)), "0 vectors for 2 texts"),
    ],
)
def test_unusable_vectors_leave_the_index_as_it_was(vectors: np.ndarray, message: str) -> None:
    index = small_index()
    before = search(index, "전입신고 체류기간")
    new = [passage("가", "새것"), passage("라", "다른것")]
    with pytest.raises(ModelOutputError, match=message):
        index.add(new, tokens_of([one.text for one in new]), vectors.astype(np.float32))
    assert search(index, "전입신고 체류기간") == before
    assert len(index) == 3
    assert index.get(["가"])[0].text.startswith("전입신고")
    add(index, *new)
    assert search(index, "다른것", 1)[0][0] == "라"


def test_windows_of_another_dimension_leave_the_index_as_it_was() -> None:
    index = small_index(replace(SETTINGS, window_words=2))
    wide = PassageVectors.of_windows(np.ones((1, DIMENSION + 1), np.float32), np.array([0, 1]))
    with pytest.raises(ModelOutputError, match=f"dimension {DIMENSION + 1}"):
        index.add([passage("라", "새것")], tokens_of(["새것"]), wide)
    assert len(index) == 3


def test_tokens_and_vectors_that_the_index_needs_cannot_be_left_out() -> None:
    index = small_index()
    new = [passage("라", "새것")]
    with pytest.raises(ValueError, match="0 tokenized texts for 1 passages"):
        index.add(new, None, vectors_of(["새것"]))
    with pytest.raises(ValueError, match="vectors"):
        index.add(new, tokens_of(["새것"]))
    assert len(index) == 3
    assert ids(search(index, "전입신고", 1)) == ["가"]


def test_unusable_queries() -> None:
    index = small_index()
    with pytest.raises(ModelOutputError, match="NaN"):
        index.search(3, vectors=np.full((1, DIMENSION), np.nan, np.float32))
    with pytest.raises(ModelOutputError, match="dimension 3"):
        index.search(3, vectors=np.ones((1, 3), np.float32))
    with pytest.raises(IndexFormatError, match="without lexical search"):
        small_index(replace(SETTINGS, lexical=False)).search(3, tokens=tokens_of(["가"]))


def test_vectors_of_passages() -> None:
    index = small_index()
    found = index.vectors(["나", "없음", "가"])
    assert found.shape == (3, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0, 1], rtol=1e-5)
    np.testing.assert_array_equal(found[2], index.vectors(["가"])[0])
    assert index.dimension == DIMENSION
    assert small_index(replace(SETTINGS, dense=False)).vectors(["가"]).shape == (1, 0)


def test_words_that_were_split_in_another_way_are_said_when_loading(tmp_path: Path) -> None:
    PassageIndex(replace(SETTINGS, analysis=1)).save(tmp_path / "old")
    with pytest.raises(IndexFormatError, match=r"version 1 of the text analysis.*rebuild"):
        PassageIndex.load(tmp_path / "old")
