"""What a query says exactly: numbers with what they count; quoted forms."""

from __future__ import annotations

import numpy as np
import pytest

from langchain_klue_rerank.engine.models.packaged.exact_features import (
    EXACT_FEATURES,
    exact_features,
    exact_terms,
    numbers_of,
)
from langchain_klue_rerank.engine.text.tokenized import tokenize
from langchain_klue_rerank.engine.text.words import split_words

NUMBERS, WHOLE, LOOSE, IN_HEADING, FIRST_IS_FIRST, FIRST_IS_ANY, FIRST_IS_OTHER, SIDE_BY_SIDE, ONLY_OTHERS = range(9)
QUOTES, AS_WORDS, AS_PARTS, MISSING, QUOTED_FIRST, TIMES = range(9, 15)


def features(query: str, *passages: str) -> np.ndarray:
    terms = exact_terms(split_words(query), query)
    return exact_features(terms, tokenize(passages, None))


def test_numbers_come_with_what_they_count() -> None:
    assert numbers_of("제12조제3항에서") == [("12", "조"), ("3", "항")]
    assert numbers_of("kx310") == [("kx310", "")]
    assert numbers_of("보증") == []


def test_an_article_is_told_from_one_that_names_it() -> None:
    asked, naming, mirrored = features(
        "제12조제3항에서 정한 것은?",
        "제12조(회비의 관리) ① 회비를 정한다. ② 회비를 모은다. ③ 회비를 쓴다.",
        "제40조(예산의 보고) ① 제12조제3항에 따른 회비를 보고한다.",
        "제3조(총회) ① 제5조제12항을 따른다.",
    )
    assert (asked[IN_HEADING], naming[IN_HEADING], mirrored[IN_HEADING]) == (0.5, 1.0, 0.0)
    assert (asked[FIRST_IS_FIRST], naming[FIRST_IS_FIRST], mirrored[FIRST_IS_FIRST]) == (1, 0, 0)
    assert (asked[FIRST_IS_OTHER], naming[FIRST_IS_OTHER], mirrored[FIRST_IS_OTHER]) == (0, 1, 1)
    assert asked[LOOSE] == naming[LOOSE] == mirrored[LOOSE] == 1
    assert mirrored[WHOLE] == 0


def test_numbers_side_by_side_behind_the_heading() -> None:
    head = "이 조는 위원회가 매년 여는 회의의 절차를 정한다."
    together, apart = features(
        "제12조 제3항", f"{head} 제12조제3항을 따른다.", f"{head} 제12조와 또 다른 제3항을 따른다."
    )
    assert together[SIDE_BY_SIDE] == 1
    assert apart[SIDE_BY_SIDE] == 0
    assert together[WHOLE] == apart[WHOLE] == 1


def test_another_number_of_the_same_thing_is_known() -> None:
    own, other = features("105동 재활용 무슨 요일?", "105동 재활용은 수요일입니다.", "107동 재활용은 목요일입니다.")
    assert (own[WHOLE], other[WHOLE]) == (1, 0)
    assert (own[ONLY_OTHERS], other[ONLY_OTHERS]) == (0, 1)


@pytest.mark.parametrize("marks", ["''", '""', "‘’", "“”", "「」", "『』", "``"])
def test_a_quoted_form_is_looked_for_as_it_is(marks: str) -> None:
    query = f"{marks[0]}부모로서{marks[1]}가 맞나요?"
    own, other = features(query, "'부모로서'는 자격을 나타낸다.", "'말로써'는 수단을 나타낸다.")
    assert own[QUOTES : TIMES + 1] == pytest.approx([1, 1, 1, 0, 1, np.log(2)])
    assert list(other[QUOTES : TIMES + 1]) == [1, 0, 0, 1, 0, 0]


def test_an_apostrophe_quotes_nothing() -> None:
    assert not features("it's 재활용", "재활용")[0, QUOTES : TIMES + 1].any()


def test_nothing_in_common_and_nothing_at_all() -> None:
    found = features("제1조 '휴가'", "", "바다")
    assert found.shape == (2, EXACT_FEATURES)
    assert np.isfinite(found).all()
    assert not exact_features(exact_terms([], ""), tokenize(["바다"], None)).any()
