from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.text.windows import cut_texts, cut_tokens, starts
from langchain_klue_rerank.engine.text.words import split_words

words = st.lists(st.sampled_from(["강물", "바다", "산길", "하늘", "구름", "눈"]), max_size=30).map(" ".join)


def texts_of(tokens: TokenizedTexts) -> list[str]:
    bounds = tokens.offsets.tolist()
    return [" ".join(tokens.words[number] for number in tokens.word_ids[start:end]) for start, end in pairwise(bounds)]


@given(st.integers(0, 200), st.integers(1, 40))
def test_windows_are_few_full_and_hold_everything(length: int, size: int) -> None:
    begins = starts(length, size).tolist()
    assert begins[0] == 0
    assert len(begins) == max(1, -(-length // size))
    assert begins[-1] == max(0, length - size)  # the last one ends with the text
    assert all(0 < after - before <= size for before, after in pairwise(begins))


@given(st.lists(st.tuples(words, words), max_size=6), st.integers(1, 12))
def test_tokens_and_texts_are_cut_alike(passages: list[tuple[str, str]], size: int) -> None:
    titles, texts = [title for title, _ in passages], [text for _, text in passages]
    headings = [len(split_words(title)) for title in titles]
    titles = [title if heading <= size else "" for title, heading in zip(titles, headings, strict=True)]
    tokens = tokenize([f"{title}\n{text}" for title, text in zip(titles, texts, strict=True)], None)
    windows, offsets = cut_tokens(tokens, [len(split_words(title)) for title in titles], size)
    expected, expected_offsets = cut_texts(texts, titles, size)
    assert texts_of(windows) == [" ".join(split_words(window)) for window in expected]
    np.testing.assert_array_equal(offsets, expected_offsets)


def test_every_window_has_the_title() -> None:
    windows, _ = cut_texts(["첫째 줄\n둘째  줄", "짧은 글"], ["제목", ""], 2)
    assert windows == ["제목\n첫째 줄", "제목\n둘째  줄", "짧은 글"]


def test_a_title_longer_than_a_window_counts_as_text() -> None:
    tokens = tokenize(["하나 둘 셋\n넷 다섯"], None)
    assert texts_of(cut_tokens(tokens, [3], 2)[0]) == ["하나 둘", "둘 셋", "넷 다섯"]


@pytest.mark.parametrize("text", ["", "  \n", "!!!", "한 낱말"])
def test_short_texts_are_one_window(text: str) -> None:
    assert cut_texts([text], [""], 2)[0] == [text]
    assert len(cut_tokens(tokenize([text], None), [0], 2)[0]) == 1
