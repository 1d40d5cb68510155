"""Exact-match features of a query-passage pair: numbers, codes and quoted forms.

Content morphemes and idf cannot tell these: "제12조제3항" and "제3조제12항" have the same morphemes, particles and
endings have none, and a number is as rare as another. Everything here is read from words as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.text.words import quoted_forms

#: Numbers of a pair that this module computes; `ExactFeatures` names them.
EXACT_FEATURES: Final = 15

#: Words of a passage in which its own label stands: the number of an article, a heading's code.
_HEADING: Final = 8
#: Quoted forms and numbers of a query that are looked for; further ones are ignored.
_MOST_QUOTED, _MOST_NUMBERS = 4, 8
#: A number with the letters that belong to it, and the syllable behind it: what it counts.
_NUMBER = re.compile(r"([a-z\d]*\d[a-z\d]*)([가-힣]?)")
_DIGITS = re.compile(r"\d+")

_F32 = np.float32


@dataclass(frozen=True, slots=True)
class ExactTerms:
    """The exact parts of a query.

    Attributes:
        numbers: Its distinct numbers in order, each with what it counts: ``("12", "조")``.
        number_pairs: Numbers that follow each other in one word or in neighbouring ones.
        quoted: Its quoted forms, each as words.
    """

    numbers: tuple[tuple[str, str], ...]
    number_pairs: tuple[tuple[int, int], ...]
    quoted: tuple[tuple[str, ...], ...]


def numbers_of(word: str) -> list[tuple[str, str]]:
    """Return the numbers of a word, each with the syllable behind it, or an empty string."""
    return [(number, unit) for number, unit in _NUMBER.findall(word)]


def exact_terms(words: Sequence[str], text: str) -> ExactTerms:
    """Find the exact parts of a query.

    Args:
        words: Its words in order.
        text: The query as it was written, for its quotation marks; they count only around something short.
    """
    numbers: dict[tuple[str, str], int] = {}
    places: list[tuple[int, int]] = []
    for place, word in enumerate(words):
        for number in numbers_of(word):
            if number in numbers or len(numbers) < _MOST_NUMBERS:
                places.append((place, numbers.setdefault(number, len(numbers))))
    pairs = [(a, b) for (p, a), (q, b) in pairwise(places) if q - p <= 1 and a != b]
    return ExactTerms(tuple(numbers), tuple(dict.fromkeys(pairs)), tuple(quoted_forms(text)[:_MOST_QUOTED]))


def exact_features(terms: ExactTerms, passages: TokenizedTexts) -> NDArray[np.float32]:
    """Compute the exact-match features of a query and n passages.

    Args:
        terms: What `exact_terms` found.
        passages: n texts.

    Returns:
        float32, (n, `EXACT_FEATURES`): columns 0 to 8 numbers, 9 to 14 quoted forms.
    """
    features = np.zeros((len(passages.offsets) - 1, EXACT_FEATURES), _F32)
    if terms.numbers:
        features[:, :9] = _numbers(terms, passages)
    if terms.quoted:
        features[:, 9:15] = _quoted(terms, passages)
    return features


def _numbers(terms: ExactTerms, passages: TokenizedTexts) -> NDArray[np.float32]:
    """Return, for each passage, how the query's numbers stand in it.

    Columns: that there are numbers; the share found with what they count, the share found at all; the share found in
    the heading; whether the heading's first number is the query's first, or any, or counts the same but is another; the
    share of neighbouring pairs found side by side behind the heading; the share of which only others are counted.
    """
    found = np.zeros((len(passages), 9), _F32)
    found[:, 0] = 1
    count = len(terms.numbers)
    exact = {number: place for place, number in enumerate(terms.numbers)}
    bare: dict[str, list[int]] = {}
    for place, (number, _) in enumerate(terms.numbers):
        bare.setdefault(_digits(number), []).append(place)
    units = {unit for _, unit in terms.numbers if unit}
    written = [numbers_of(word) if _DIGITS.search(word) else [] for word in passages.words]
    numbered = np.array([bool(one) for one in written], bool)
    pairs = set(terms.number_pairs)
    ids, offsets = passages.word_ids, passages.offsets
    places = np.flatnonzero(numbered[ids]) if len(written) else np.zeros(0, np.int64)
    bounds = np.searchsorted(places, offsets).tolist()
    for row in range(len(passages)):
        whole: set[int] = set()
        loose: set[int] = set()
        heading: set[int] = set()
        counted: set[str] = set()
        joined: set[tuple[int, int]] = set()
        begin, first, before = int(offsets[row]), True, (-9, -1)
        for position in places[bounds[row] : bounds[row + 1]].tolist():
            for number, unit in written[ids[position]]:
                same = bare.get(_digits(number), ())
                own = exact.get((number, unit), -1)
                if own < 0:
                    own = next((i for i in same if not unit or not terms.numbers[i][1]), -1)
                inside = position - begin < _HEADING
                loose.update(same)
                if own >= 0:
                    whole.add(own)
                    if inside:
                        heading.add(own)
                elif unit in units:
                    counted.add(unit)
                if first and inside:
                    found[row, 4] = own == 0
                    found[row, 5] = own >= 0
                    found[row, 6] = own < 0 and (unit in units or not unit)
                first = False
                if own >= 0 and position - before[0] <= 1 and (before[1], own) in pairs and not inside:
                    joined.add((before[1], own))
                before = (position, own)
        found[row, 1] = len(whole) / count
        found[row, 2] = len(loose) / count
        found[row, 3] = len(heading) / count
        found[row, 7] = len(joined) / max(len(pairs), 1)
        found[row, 8] = sum(u in counted for i, (_, u) in enumerate(terms.numbers) if i not in whole) / count
    return found


def _digits(number: str) -> str:
    """Return the last digits of a number with letters, without leading zeros."""
    return _DIGITS.findall(number)[-1].lstrip("0") or "0"


def _quoted(terms: ExactTerms, passages: TokenizedTexts) -> NDArray[np.float32]:
    """Return, for each passage, how the query's quoted forms stand in it.

    Columns: that there are some; the share found as words of their own, and the share found as parts of words; whether
    one is missing; whether the first stands in the heading; and how often it stands there.
    """
    found = np.zeros((len(passages), 6), _F32)
    found[:, 0] = 1
    forms = [" ".join(words) for words in terms.quoted]
    words, ids = passages.words, passages.word_ids.tolist()
    for row, (start, end) in enumerate(pairwise(passages.offsets.tolist())):
        text = f" {' '.join([words[i] for i in ids[start:end]])} "
        whole = [f" {form} " in text for form in forms]
        part = [form in text for form in forms]
        head = f" {' '.join([words[i] for i in ids[start : min(start + _HEADING, end)]])} "
        found[row, 1] = sum(whole) / len(forms)
        found[row, 2] = sum(part) / len(forms)
        found[row, 3] = not all(part)
        found[row, 4] = f" {forms[0]} " in head
        found[row, 5] = np.log1p(text.count(f" {forms[0]} "))
    return found
