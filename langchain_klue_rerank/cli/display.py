"""How the command line shows results to people: plain text, in columns that hold for Korean too."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from langchain_klue_rerank.evaluation.measure import Report

#: Columns before a result's text: its place and its score.
_MARGIN = 10


def results(query: str, documents: Sequence[Document], sentences: Sequence[str], milliseconds: float) -> str:
    """Show what a search found.

    Args:
        query: The question.
        documents: The results, best first, with their scores.
        sentences: Of each the sentence that matched.
        milliseconds: How long it took.
    """
    lines = [f"{_bold(_flat(query))}  {_dim(f'{milliseconds:.0f} ms')}"]
    if not documents:
        lines.append("  nothing found")
    for rank, (document, sentence) in enumerate(zip(documents, sentences, strict=True), 1):
        before = document.metadata.get("first_stage_score")
        note = "" if before is None else _dim(f"  before reranking {before:.2f}")
        lines.append(f"{rank:>3}  {document.metadata['relevance_score']:.2f} {_bold(_title(document))}{note}")
        lines += [" " * _MARGIN + line for line in _wrap(_flat(sentence), _columns() - _MARGIN)]
    return "\n".join([*lines, ""])


def comparison(
    query: str, before: Sequence[Document], after: Sequence[Document], sentence: str, milliseconds: tuple[float, float]
) -> str:
    """Show results without and with reranking side by side.

    Args:
        query: The question.
        before: The first stage's results, best first.
        after: The reranked ones, best first.
        sentence: The sentence of the best reranked result that matched.
        milliseconds: How long either took.
    """
    half = (_columns() - 5) // 2
    heads = [f"{when} reranking ({time:.0f} ms)" for when, time in zip(("before", "after"), milliseconds, strict=True)]
    lines = [_bold(_flat(query)), _dim(f"     {_fit(heads[0], half)}{heads[1]}")]
    for rank in range(max(len(before), len(after))):
        cells = [
            f"{own[rank].metadata['relevance_score']:.2f} {_title(own[rank])}" if rank < len(own) else ""
            for own in (before, after)
        ]
        lines.append(f"{rank + 1:>3}  {_fit(cells[0], half)}{_bold(_fit(cells[1], half).rstrip())}")
    lines += ["     " + line for line in _wrap(f"-> {_flat(sentence)}", _columns() - 5) if sentence]
    return "\n".join([*lines, ""])


def report(measured: Report) -> str:
    """Show how well every way to search found a set's passages."""
    lines = [
        _bold(f"{measured.name}: {measured.questions} questions over {measured.passages} passages")
        + f" (indexed at {measured.passages_per_second:.0f} passages/s)",
        f"{'':<11}" + "".join(f"{name:>13}" for name in (*METRICS, "p", "ms/query")),
    ]
    for row in measured.rows:
        p_value = "" if row.p_value is None else f"{row.p_value:.4f}"
        values = "".join(f"{row.values[name]:>13.3f}" for name in METRICS)
        intervals = "".join(f"{'{:.3f}-{:.3f}'.format(*row.intervals[name]):>13}" for name in METRICS)
        lines.append(_bold(f"{row.search_type:<11}") + f"{values}{p_value:>13}{row.milliseconds:>13.1f}")
        lines.append(
            _bold(f"{'+ reranked' * row.reranked:<11}")
            + _dim(f"{intervals}{'':>13}{f'p95 {row.p95_milliseconds:.1f}':>13}")
        )
    note = "below: 95% bootstrap intervals; p: paired test of HitRate@1 against the same without reranking"
    return "\n".join([*lines, _dim(note), ""])


def _title(document: Document) -> str:
    return _flat(str(document.metadata.get("title") or document.id))


def _flat(text: str) -> str:
    """Return a text on one line, without control characters: a document must not command the terminal."""
    return " ".join("".join(" " if unicodedata.category(one) == "Cc" else one for one in clean(text)).split())


def _columns() -> int:
    """Return how many columns to fill; a pipe tells none."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def _width(text: str) -> int:
    """Return how many columns a text takes in a terminal: Korean letters two each, combining marks none."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def _fit(text: str, columns: int) -> str:
    """Return a text cut or filled up to a number of columns, the last one blank."""
    if _width(text) >= columns:
        while _width(text) > columns - 2:
            text = text[:-1]
        text += "…"
    return text + " " * (columns - _width(text))


def _wrap(text: str, columns: int) -> list[str]:
    """Return a text in lines of at most so many columns, broken at spaces; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and _width(f"{lines[-1]} {word}") <= columns:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _bold(text: str) -> str:
    return _styled(text, 1)


def _dim(text: str) -> str:
    return _styled(text, 2)


def _styled(text: str, code: int) -> str:
    """Style a text where it is read in a terminal that can."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"
