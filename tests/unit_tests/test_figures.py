"""The figures that a page repeats are the same in every page: README.md and README.ko.md beside each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_MEASURED = re.compile(r"\d\.\d{3} \(\d\.\d{3}-\d\.\d{3}\)")


def rows(page: str) -> list[list[str]]:
    """Return the cells of each table row of a page, without emphasis and the lines under the headings."""
    lines = [line for line in page.splitlines() if line.startswith("|") and not set(line) <= set("|-: ")]
    return [[cell.replace("**", "").strip() for cell in line.strip("|").split("|")] for line in lines]


def measured(page: str) -> list[tuple[str, ...]]:
    """Return the rows of the table of measured searches: their figures alone, which need no translation."""
    return [tuple(row[2:]) for row in rows(page) if any(_MEASURED.fullmatch(cell) for cell in row)]


def prices(page: str) -> list[list[str]]:
    """Return the numbers of each row of the table of prices, a row's label left out."""
    return [re.findall(r"\d+(?:\.\d+)?", row[1]) for row in rows(page) if len(row) == 2 and re.search(r"\d", row[1])]


def differences(english: str, korean: str) -> list[str]:
    """Return the figures of the tables of the Korean page that the English one does not have, each as a line."""
    known, costs = measured(english), prices(english)
    found = [f"measured: {' | '.join(row)}" for row in measured(korean) if row not in known]
    return found + [f"price: {' / '.join(row)}" for row in prices(korean) if row not in costs]


@pytest.fixture(scope="module")
def pages() -> tuple[str, str]:
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
    return english, korean


def test_the_korean_page_repeats_the_figures_of_the_english_one(pages: tuple[str, str]) -> None:
    english, korean = pages
    assert len(measured(korean)) >= 12
    assert len(prices(korean)) >= 6
    assert prices(korean)[:6] == prices(english)[:6]
    assert differences(english, korean) == []


@pytest.mark.parametrize(
    ("figure", "other"), [("0.929** (", "0.928** ("), ("14.7 /", "17.9 /"), ("| 0.0639 |", "| 0.0640 |")]
)
def test_one_changed_figure_is_noticed(pages: tuple[str, str], figure: str, other: str) -> None:
    english, korean = pages
    changed = korean.replace(figure, other)
    assert changed != korean
    assert len(differences(english, changed)) == 1


@pytest.mark.parametrize(("page", "words"), [(0, "fifteen milliseconds"), (1, "15밀리초쯤")])
def test_the_first_lines_round_the_price_in_the_table(pages: tuple[str, str], page: int, words: str) -> None:
    assert words in re.sub(r"\s+", " ", pages[page])
    assert round(float(prices(pages[page])[0][2])) == 15
