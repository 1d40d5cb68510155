from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged, Vocabulary
from langchain_klue_rerank.engine.index.bm25 import LexicalIndex
from langchain_klue_rerank.engine.index.tokens import TokenStore
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.words import bigrams, split_words
from tests.unit_tests.engine.helpers import files_in

WORDS = st.sampled_from(["가나", "가나다", "나다", "다라마", "라", "마바사", "강", "abc", "12"])
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
CORPORA = st.lists(TEXTS, min_size=1, max_size=10)


class Split:
    """Stands for Kiwi: a word's morphemes are its characters, those of "라" none."""

    def morphemes(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(f"{character}/NNG" for character in word if character != "라") for word in words]


def tokens_of(texts: Sequence[str]) -> TokenizedTexts:
    return tokenize(texts, Split())  # type: ignore[arg-type]


def index_of(texts: Sequence[str], *, morphemes: bool = True) -> LexicalIndex:
    store = TokenStore()
    store.add(tokens_of(texts))
    return LexicalIndex(store, morphemes=morphemes)


def bm25(corpus: list[list[str]], query: list[str], k1: float = 1.5, b: float = 0.75) -> list[float]:
    """BM25 as a textbook has it, divided by the score that no passage can exceed."""
    if not corpus or not query:
        return [0.0] * len(corpus)
    mean = sum(map(len, corpus)) / len(corpus)
    frequency = {term: sum(term in passage for passage in corpus) for term in query}
    idf = {term: math.log(1 + (len(corpus) - count + 0.5) / (count + 0.5)) for term, count in frequency.items()}
    scores = []
    for passage in corpus:
        counts = Counter(passage)
        score = 0.0
        for term in query:
            if counts[term]:
                norm = k1 * (1 - b + b * len(passage) / mean)
                score += idf[term] * counts[term] * (k1 + 1) / (counts[term] + norm)
        scores.append(score / (sum(idf[term] for term in query) * (k1 + 1)))
    return scores


def reference(texts: Sequence[str], query: str) -> NDArray[np.float64]:
    def grams(text: str) -> list[str]:
        return [gram for word in split_words(text) for gram in bigrams(word)]

    def parts(text: str) -> list[str]:
        return [part for morphemes in Split().morphemes(split_words(text)) for part in morphemes]

    fields = [bm25([field(text) for text in texts], field(query)) for field in (grams, parts)]
    return np.mean(fields, axis=0)


@given(CORPORA, TEXTS)
def test_scores_are_those_of_bm25(texts: list[str], query: str) -> None:
    [scores] = index_of(texts).scores(tokens_of([query]))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, reference(texts, query), rtol=1e-5, atol=1e-7)
    assert ((scores >= 0) & (scores <= 1)).all()


@given(CORPORA, TEXTS, st.data())
def test_removed_passages_leave_no_trace(texts: list[str], query: str, data: st.DataObject) -> None:
    removed = data.draw(st.sets(st.integers(0, len(texts) - 1)))
    index = index_of(texts)
    for row in removed:
        index.remove(row)
    [scores] = index.scores(tokens_of([query]))
    kept = [row for row in range(len(texts)) if row not in removed]
    assert not scores[sorted(removed)].any()
    if kept:
        expected = index_of([texts[row] for row in kept]).scores(tokens_of([query]))[0]
        np.testing.assert_allclose(scores[kept], expected, rtol=1e-5, atol=1e-7)


@given(st.lists(st.lists(TEXTS, max_size=4), min_size=1, max_size=12), TEXTS)
def test_adding_in_parts_is_adding_at_once(parts: list[list[str]], query: str) -> None:
    store = TokenStore()
    index = LexicalIndex(store)
    for texts in parts:
        store.add(tokens_of(texts))
        index.update()
    at_once = index_of([text for texts in parts for text in texts])
    np.testing.assert_allclose(
        index.scores(tokens_of([query])), at_once.scores(tokens_of([query])), rtol=1e-6, atol=1e-8
    )


def test_many_single_passages_with_removals_between() -> None:
    generator = np.random.default_rng(3)
    texts = [" ".join(generator.choice(list("가나다라마바사아자차"), 6)) for _ in range(150)]
    store = TokenStore()
    index = LexicalIndex(store)
    removed: set[int] = set()
    for row, text in enumerate(texts):
        store.add(tokens_of([text]))
        index.update()
        if row % 3 == 2:
            removed.add(row - 1)
            index.remove(row - 1)
    kept = [row for row in range(len(texts)) if row not in removed]
    expected = index_of([texts[row] for row in kept]).scores(tokens_of(["가 나 다", "사"]))
    np.testing.assert_allclose(index.scores(tokens_of(["가 나 다", "사"]))[:, kept], expected, rtol=1e-5)


def test_unknown_terms_lower_the_score_but_find_nothing() -> None:
    index = index_of(["가나다 강", "마바사"])
    [nothing, known, mixed] = index.scores(tokens_of(["zzz", "가나다", "가나다 zzz"]))
    assert not nothing.any()
    assert known[0] > mixed[0] > 0
    assert known[1] == mixed[1] == 0


def test_empty_queries_and_an_empty_index() -> None:
    assert index_of(["가나"]).scores(tokens_of(["", "!?"])).tolist() == [[0], [0]]
    assert index_of(["가나"]).scores(tokens_of([])).shape == (0, 1)
    assert index_of([]).scores(tokens_of(["가나"])).shape == (1, 0)
    assert index_of(["", "!"]).scores(tokens_of(["가나"])).tolist() == [[0, 0]]


def test_several_queries_are_scored_each_on_its_own() -> None:
    index = index_of(["가나다 강", "마바사 강", "강 강 강"])
    queries = ["가나다", "강 마바사", "강"]
    together = index.scores(tokens_of(queries))
    for number, query in enumerate(queries):
        np.testing.assert_array_equal(together[number], index.scores(tokens_of([query]))[0])


@pytest.mark.parametrize("morphemes", [True, False])
@given(texts=st.lists(TEXTS, max_size=8), query=TEXTS)
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, morphemes: bool, texts: list[str], query: str) -> None:
    index = index_of(texts, morphemes=morphemes)
    index._tokens.save(tmp_path / "tokens")
    index.save(tmp_path / "lexical")
    files = files_in(tmp_path)
    store = TokenStore.load(files)
    loaded = LexicalIndex.load(files, store, morphemes=morphemes)
    asked = tokens_of([query, "새말"])
    np.testing.assert_allclose(loaded.scores(asked), index.scores(asked), rtol=1e-6)
    for each, tokens in ((index, index._tokens), (loaded, store)):  # and both go on alike
        tokens.add(tokens_of(["가나 강", "새말"]))
        each.update()
        each.remove(0)
    np.testing.assert_allclose(loaded.scores(asked), index.scores(asked), rtol=1e-6)


def test_without_morphemes_only_bigrams_count() -> None:
    texts = ["가나다 강", "마바사"]
    store = TokenStore()
    store.add(tokenize(texts, None))
    [scores] = LexicalIndex(store, morphemes=False).scores(tokenize(["가나"], None))
    np.testing.assert_allclose(scores, bm25([["가나", "나다", "강"], ["마바", "바사"]], ["가나"]), rtol=1e-6)


def test_with_kiwi_particles_do_not_matter() -> None:
    store = TokenStore()
    store.add(tokenize(["전입신고는 주민센터에서 합니다", "강물이 바다로 흐릅니다"], shared_analyzer()))
    [scores] = LexicalIndex(store).scores(tokenize(["전입신고를 어디에서 하나요"], shared_analyzer()))
    assert scores[0] > 0
    assert scores[0] > scores[1]


def test_without_morphemes_kiwi_is_never_loaded() -> None:
    code = (
        "import sys\n"
        "from langchain_klue_rerank.engine.index.bm25 import LexicalIndex\n"
        "from langchain_klue_rerank.engine.text.tokenized import tokenize\n"
        "from langchain_klue_rerank.engine.index.tokens import TokenStore\n"
        "store = TokenStore()\n"
        "store.add(tokenize(['전입신고는 14일 안에'], None))\n"
        "index = LexicalIndex(store, morphemes=False)\n"
        "assert index.scores(tokenize(['전입신고'], None))[0, 0] > 0\n"
        "assert 'kiwipiepy' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@given(st.lists(CORPORA, max_size=4), st.data())
def test_stored_tokens_come_back(parts: list[list[str]], data: st.DataObject) -> None:
    store = TokenStore()
    for texts in parts:
        store.add(tokens_of(texts))
    texts = [text for part in parts for text in part]
    assert len(store) == len(texts)
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=6)) if texts else []
    taken = store.take(np.asarray(rows, np.int64))
    expected = tokens_of([texts[row] for row in rows])
    assert spelled(taken) == spelled(expected)
    assert dict(zip(taken.words, taken.morphemes, strict=True)) == dict(
        zip(expected.words, expected.morphemes, strict=True)
    )


def spelled(tokens: TokenizedTexts) -> list[list[str]]:
    ends = tokens.offsets.tolist()
    return [[tokens.words[number] for number in tokens.word_ids[start:end].tolist()] for start, end in pairwise(ends)]


def test_a_word_repeated_more_often_than_the_counter_holds() -> None:
    store = TokenStore()
    store.words = Vocabulary(["강"])
    store.word_morphemes = Ragged.from_rows([[]])
    store.passages = Ragged(np.zeros(70_000, np.int32), np.asarray([0, 70_000]))
    [scores] = LexicalIndex(store, morphemes=False).scores(tokenize(["강"], None))
    assert 0.99 < scores[0] <= 1


def test_a_word_that_is_repeated_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terms were looked up as often as they stood in the question, which took seconds of a long one."""
    from langchain_klue_rerank.engine.index import bm25

    index = index_of(["가나다 강", "나다 강", "마바사"])
    once = index.scores(tokens_of(["가나 다라마"]))
    asked = []
    of = bm25._Postings.of
    monkeypatch.setattr(bm25._Postings, "of", lambda self, term: asked.append(term) or of(self, term))
    again = index.scores(tokens_of(["가나 다라마 " * 5000]))
    np.testing.assert_allclose(again, once, rtol=1e-4)
    assert len(asked) <= 2 * len(set("가나다라마")) * len(index._bigram_field._segments)
