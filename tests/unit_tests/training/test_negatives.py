"""Wrong passages: which ones may be one, which come first; and windows of long passages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import klue_tokenizer
from tests.unit_tests.training.texts import question_rows
from training.inputs import Question
from training.recipes.negatives import Corpus, NegativeSettings, draw, mine, wrong_passages
from training.settings import SettingsError

_QUESTIONS = [Question(row["question"], row["context"], row["title"], row["answer"]) for row in question_rows()]

_ASKED = Question("시립 도서관은 언제 쉬나요?", "시립 도서관은 월요일에 쉰다.", "도서관", "월요일")
_SAME_TITLE = Question("도서관은 어디 있나요?", "시립 도서관은 시청 옆에 있고 언제나 붐빈다.", "도서관")
_HOLDS_ANSWER = Question("박물관은?", "시립 박물관도 도서관처럼 월요일에 쉰다.", "박물관")
_HARD = Question("미술관은?", "시립 미술관은 언제 쉬나요 하고 묻는 사람이 많다.", "미술관")
_EASY = Question("빵은?", "빵집은 새벽에 문을 연다.", "빵집")
_ALL = [_ASKED, _SAME_TITLE, _HOLDS_ANSWER, _HARD, _EASY]


def test_bm25_finds_the_hardest_passage_that_is_surely_wrong() -> None:
    settings = NegativeSettings(negatives="bm25", negative_margin=None)
    assert mine([_ASKED], Corpus(_ALL), settings) == [[_HARD.passage]]


def test_passages_that_score_almost_like_the_right_one_are_left_out() -> None:
    twin = Question("다른 물음", "시립 도서관은 월요일마다 쉰다.", "다른 도서관", "")
    asked = Question(_ASKED.question, _ASKED.passage, _ASKED.title)
    corpus = Corpus([asked, twin, _EASY])
    with_margin = NegativeSettings(negatives="bm25", negative_margin=0.5)
    without = NegativeSettings(negatives="bm25", negative_margin=None)
    assert mine([asked], corpus, without) == [[twin.passage]]
    assert mine([asked], corpus, with_margin) == [[_EASY.passage]]


def test_the_right_passage_of_an_equal_question_is_never_wrong() -> None:
    again = Question(_ASKED.question, _HARD.passage, _HARD.title)
    settings = NegativeSettings(negatives="bm25", negative_count=4, negative_margin=None)
    found = wrong_passages([_ASKED], Corpus([*_ALL, again]), settings, seed=0)
    assert _HARD.passage not in found[0]


def test_both_searches_take_turns_and_name_no_passage_twice() -> None:
    settings = NegativeSettings(negatives="both", negative_count=3, negative_margin=None)
    found = mine(_QUESTIONS, Corpus(_QUESTIONS), settings)
    assert all(len(own) == len(set(own)) == 3 for own in found)
    first = mine(_QUESTIONS, Corpus(_QUESTIONS), NegativeSettings(negatives="bm25", negative_margin=None))
    assert [own[0] for own in found] == [own[0] for own in first]


def test_random_passages_are_of_other_titles_and_repeat_with_the_seed() -> None:
    corpus = Corpus(_ALL)
    drawn = draw([_ASKED] * 20, corpus, 2, seed=1)
    assert drawn == draw([_ASKED] * 20, corpus, 2, seed=1)
    assert drawn != draw([_ASKED] * 20, corpus, 2, seed=2)
    assert {text for own in drawn for text in own} == {_HOLDS_ANSWER.passage, _HARD.passage, _EASY.passage}


def test_named_ones_come_first_then_mined_then_random() -> None:
    asked = Question(_ASKED.question, _ASKED.passage, _ASKED.title, _ASKED.answer, ("따로 적은 틀린 글",))
    settings = NegativeSettings(negatives="bm25", negative_count=3, negative_margin=None)
    found = wrong_passages([asked], Corpus([asked, *_ALL[1:]]), settings, seed=0)[0]
    assert found[:2] == ["따로 적은 틀린 글", _HARD.passage]
    assert len(found) == 3


def test_none_without_filling_up_means_none() -> None:
    assert wrong_passages(_QUESTIONS, Corpus(_QUESTIONS), NegativeSettings(), 0, fill=False) == [[]] * 16
    assert all(len(own) == 1 for own in wrong_passages(_QUESTIONS, Corpus(_QUESTIONS), NegativeSettings(), 0))


@pytest.mark.parametrize("wrong", [{"negative_count": 0}, {"negative_margin": 1.0}, {"negative_margin": -0.1}])
def test_impossible_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong)).replace("_", "-")):
        NegativeSettings(**wrong)


class TestWindows:
    @pytest.fixture
    def reader(self, tmp_path: Path) -> Any:
        pytest.importorskip("transformers")
        from training.recipes.windows import WindowReader

        self.tokenizer = klue_tokenizer(tmp_path)
        return WindowReader(self.tokenizer, 24)

    def test_the_window_that_shares_most_is_read(self, reader: Any) -> None:
        passage = "가 나 다 라 마 " * 6 + "시장 사람 모두 상을 받다 " + "가 나 다 라 마 " * 6
        window = reader.best("시장 상", passage)
        assert "시장" in window
        assert len(self.tokenizer("시장 상", window)["input_ids"]) <= 24

    def test_a_right_passage_keeps_its_answer(self, reader: Any) -> None:
        passage = "시장 상 " * 12 + "가 나 다 라 마 " * 5 + "한강 물 부산 "
        assert "부산" not in reader.best("시장 상", passage)
        assert "부산" in reader.best("시장 상", passage, answer="부산")

    def test_a_short_passage_stays_as_it_is(self, reader: Any) -> None:
        assert reader.best("시장", " 상을 받다 ") == " 상을 받다 "
        assert reader.best("시장", "") == ""
