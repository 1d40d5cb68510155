"""What a text says exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.text.words import exact_share, quoted_forms


@pytest.mark.parametrize(
    ("query", "share"),
    [
        ("휴가는 며칠인가요?", 0.0),
        ("제12조제3항", 1.0),
        ("105동 세대", 4 / 6),
        ("'던'과 '든'의 차이", 2 / 6),
        ("", 0.0),
        ("'...' ?!", 0.0),
    ],
)
def test_numbers_and_quoted_forms_are_to_be_found_as_they_are_written(query: str, share: float) -> None:
    assert exact_share(query) == pytest.approx(share)


def test_quotation_marks_around_something_long_quote_no_form() -> None:
    assert quoted_forms(f"'{'말' * 61}'") == []
    assert quoted_forms("'부모로서'와 “말로써”, '부모로서'") == [("부모로서",), ("말로써",)]


@given(st.text())
def test_it_is_a_share(text: str) -> None:
    assert 0 <= exact_share(text) <= 1
