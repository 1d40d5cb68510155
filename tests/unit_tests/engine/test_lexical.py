from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.segments.postings import Postings
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.words import bigrams, split_words

WORDS = st.sampled_from(["가나", "가나다", "나다", "다라마", "라", "마바사", "강", "abc", "12"])
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
CORPORA = st.lists(TEXTS, min_size=1, max_size=10)


class Split:
    """Stands for Kiwi: a word's morphemes are its characters, those of "라" none."""

    def morphemes(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(f"{character}/NNG" for character in word if character != "라") for word in words]


def tokens_of(texts: Sequence[str]) -> TokenizedTexts:
    return tokenize(texts, Split())  # type: ignore[arg-type]


def index_of(texts: Sequence[str], *, kiwi: bool = True) -> PassageIndex:
    index = PassageIndex(IndexSettings(dense=False, kiwi=kiwi))
    append(index, texts, Split() if kiwi else None)
    return index


def append(index: PassageIndex, texts: Sequence[str], analyzer: Any) -> None:
    start = len(index)
    index.add([Passage(str(start + row), text, {}) for row, text in enumerate(texts)], tokenize(texts, analyzer))


def scores_of(index: PassageIndex, queries: TokenizedTexts) -> NDArray[np.float32]:
    """The lexical scores of the passages "0", "1", ...; 0 for one that is not found."""
    identifiers = index.find()
    scores = np.zeros((len(queries), 1 + max(map(int, identifiers), default=-1)), np.float32)
    for row, found in zip(scores, index.search(len(identifiers), tokens=queries), strict=True):
        row[[int(one.id) for one in found.passages]] = found.scores
    return scores


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
    [scores] = scores_of(index_of(texts), tokens_of([query]))
    np.testing.assert_allclose(scores, reference(texts, query), rtol=1e-5, atol=1e-7)
    assert ((scores >= 0) & (scores <= 1)).all()


@given(CORPORA, TEXTS, st.data())
def test_removed_passages_leave_no_trace(texts: list[str], query: str, data: st.DataObject) -> None:
    removed = data.draw(st.sets(st.integers(0, len(texts) - 1)))
    index = index_of(texts)
    index.delete([str(row) for row in removed])
    kept = [row for row in range(len(texts)) if row not in removed]
    expected = scores_of(index_of([texts[row] for row in kept]), tokens_of([query]))
    np.testing.assert_allclose(scores_of(index, tokens_of([query]))[:, kept], expected, rtol=1e-5, atol=1e-7)


@given(st.lists(st.lists(TEXTS, max_size=4), min_size=1, max_size=12), TEXTS)
def test_adding_in_parts_is_adding_at_once(parts: list[list[str]], query: str) -> None:
    index = index_of([])
    for texts in parts:
        append(index, texts, Split())
    at_once = index_of([text for texts in parts for text in texts])
    asked = tokens_of([query])
    np.testing.assert_allclose(scores_of(index, asked), scores_of(at_once, asked), rtol=1e-6, atol=1e-8)


def test_unknown_terms_lower_the_score_but_find_nothing() -> None:
    [nothing, known, mixed] = scores_of(index_of(["가나다 강", "마바사"]), tokens_of(["zzz", "가나다", "가나다 zzz"]))
    assert not nothing.any()
    assert known[0] > mixed[0] > 0
    assert known[1] == mixed[1] == 0


@pytest.mark.parametrize(
    ("texts", "queries"), [(["가나"], ["", "!?"]), (["가나"], []), ([], ["가나"]), (["", "!"], ["가나"])]
)
def test_empty_queries_and_an_empty_index(texts: list[str], queries: list[str]) -> None:
    scores = scores_of(index_of(texts), tokens_of(queries))
    assert scores.shape == (len(queries), len(texts))
    assert not scores.any()


@settings(max_examples=10)
@given(texts=st.lists(TEXTS, max_size=8), query=TEXTS)
def test_saved_and_loaded_it_is_the_same(texts: list[str], query: str) -> None:
    index, asked = index_of(texts), tokens_of([query, "새말"])
    with TemporaryDirectory() as folder:
        index.save(Path(folder) / "index")
        loaded = PassageIndex.load(Path(folder) / "index")
        for _ in range(2):  # the second time both have gone on alike
            np.testing.assert_allclose(scores_of(loaded, asked), scores_of(index, asked), rtol=1e-6)
            for each in (index, loaded):
                append(each, ["가나 강", "새말"], Split())


def test_without_morphemes_only_bigrams_count() -> None:
    [scores] = scores_of(index_of(["가나다 강", "마바사"], kiwi=False), tokenize(["가나"], None))
    np.testing.assert_allclose(scores, bm25([["가나", "나다", "강"], ["마바", "바사"]], ["가나"]), rtol=1e-6)


def test_with_kiwi_particles_do_not_matter() -> None:
    index = PassageIndex(IndexSettings(dense=False))
    append(index, ["전입신고는 주민센터에서 합니다", "강물이 바다로 흐릅니다"], shared_analyzer())
    [scores] = scores_of(index, tokenize(["전입신고를 어디에서 하나요"], shared_analyzer()))
    assert scores[0] > 0
    assert scores[0] > scores[1]


@pytest.mark.slow
def test_without_morphemes_kiwi_is_never_loaded() -> None:
    code = (
        "import sys\n"
        "from langchain_klue_rerank import KlueBM25Retriever\n"
        "retriever = KlueBM25Retriever.from_texts(['전입신고는 14일 안에'], kiwi=False)\n"
        "assert retriever.invoke('전입신고')\n"
        "assert 'kiwipiepy' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@given(st.lists(CORPORA, max_size=4), st.data())
def test_stored_tokens_come_back(parts: list[list[str]], data: st.DataObject) -> None:
    index = index_of([])
    for texts in parts:
        append(index, texts, Split())
    texts = [text for part in parts for text in part]
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=6)) if texts else []
    taken = index.tokens(index.get([str(row) for row in rows]))
    assert taken is not None
    expected = tokens_of([texts[row] for row in rows])
    assert [taken.words_of(row) for row in range(len(rows))] == [expected.words_of(row) for row in range(len(rows))]
    assert dict(zip(taken.words, taken.morphemes, strict=True)) == dict(
        zip(expected.words, expected.morphemes, strict=True)
    )


def test_a_word_repeated_more_often_than_the_counter_holds() -> None:
    [scores] = scores_of(index_of(["강 " * 70_000], kiwi=False), tokenize(["강"], None))
    assert 0.99 < scores[0] <= 1


def test_a_word_that_is_repeated_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terms were looked up as often as they stood in the question, which took seconds of a long one."""
    index = index_of(["가나다 강", "나다 강", "마바사"])
    once = scores_of(index, tokens_of(["가나 다라마"]))
    asked: list[int] = []
    spans = Postings.spans
    monkeypatch.setattr(Postings, "spans", lambda self, terms: asked.extend(terms.tolist()) or spans(self, terms))
    again = scores_of(index, tokens_of(["가나 다라마 " * 5000]))
    np.testing.assert_allclose(again, once, rtol=1e-4)
    assert len(asked) <= 2 * len(set("가나다라마"))
