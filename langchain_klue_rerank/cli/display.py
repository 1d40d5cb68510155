"""How the command line shows results to people: plain text, in columns that hold for Korean too."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from langchain_klue_rerank.cli.messages import say, text
from langchain_klue_rerank.engine.text.words import clean

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from langchain_klue_rerank.engine.index.segments.sizes import IndexStats
    from langchain_klue_rerank.evaluation.measure import Report

#: Columns before a result's text: its place and its score.
_MARGIN = 10


def results(
    query: str,
    documents: Sequence[Document],
    sentences: Sequence[str],
    milliseconds: float,
    threshold: float | None = None,
) -> str:
    """Show what a search found.

    Args:
        query: The question.
        documents: The results, best first, with their scores.
        sentences: Of each the sentence that matched.
        milliseconds: How long it took.
        threshold: The confidence below which the answer is probably not among them; None for unknown.
    """
    lines = [f"{_bold(flat(query))}  {dim(f'{milliseconds:.0f} ms{_confidence(documents, threshold)}')}"]
    if not documents:
        lines.append("  " + say("nothing found"))
    for rank, (document, sentence) in enumerate(zip(documents, sentences, strict=True), 1):
        before = document.metadata.get("first_stage_score")
        note = "" if not isinstance(before, float) else dim("  " + say("before reranking {score:.2f}", score=before))
        lines.append(f"{rank:>3}  {document.metadata['relevance_score']:.2f} {_bold(_title(document))}{note}")
        if place := _place(document):
            lines += [dim(" " * _MARGIN + line) for line in _wrap(place, _columns() - _MARGIN)]
        lines += [" " * _MARGIN + line for line in _wrap(flat(sentence), _columns() - _MARGIN)]
    return "\n".join([*lines, ""])


def _confidence(documents: Sequence[Document], threshold: float | None) -> str:
    """Say how sure it is that the first result answers, where the retriever tells."""
    confidence = documents[0].metadata.get("confidence") if documents else None
    if not isinstance(confidence, float):
        return ""
    told = say(", confidence {score:.2f}", score=confidence)
    return told if threshold is None or confidence >= threshold else told + say(" (the answer is probably not here)")


def stats(found: IndexStats) -> str:
    """Show how large an index is, in megabytes by part."""
    head = say("{passages} passages, {segments} segments", passages=found.passages, segments=found.segments)
    lines = [_bold(head), f"{'MB':16s}" + "".join(_right(say(one)) for one in ("on disk", "in memory", "mapped"))]
    tables = (found.disk, found.memory, found.mapped)
    for part in dict.fromkeys([*found.disk, *found.memory]):
        shown = text(part)
        lines.append(
            shown + " " * (16 - _width(shown)) + "".join(_right(f"{table.get(part, 0) / 1e6:.1f}") for table in tables)
        )
    total = "".join(_right(f"{sum(table.values()) / 1e6:.1f}") for table in tables)
    lines.append(say("all") + " " * (16 - _width(say("all"))) + total)
    return "\n".join([*lines, *(f"{text(role)}: {flat(model)}" for role, model in found.models.items())])


def _right(cell: str) -> str:
    return " " * (12 - _width(cell)) + cell


def explanation(document: Document, description: str) -> str:
    """Show why a passage was found.

    Args:
        document: The passage.
        description: What `Explanation.describe` says.
    """
    lines = [line for part in description.splitlines() for line in _wrap(flat(part), _columns() - 4)]
    return "\n".join(
        [_bold(_title(document)), *([dim(place)] if (place := _place(document)) else [])]
        + ["    " + line for line in lines]
        + [""]
    )


def comparison(
    query: str,
    before: Sequence[Document],
    after: Sequence[Document],
    sentence: str,
    milliseconds: tuple[float, float],
    threshold: float | None = None,
) -> str:
    """Show results without and with reranking side by side.

    Args:
        query: The question.
        before: The first stage's results, best first.
        after: The reranked ones, best first.
        sentence: The sentence of the best reranked result that matched.
        milliseconds: How long either took.
        threshold: The confidence below which the answer is probably not among them; None for unknown.
    """
    half = (_columns() - 5) // 2
    heads = [
        say(message, time=time)
        for message, time in zip(
            ("before reranking ({time:.0f} ms)", "after reranking ({time:.0f} ms)"), milliseconds, strict=True
        )
    ]
    lines = [_bold(flat(query)), dim(f"     {_fit(heads[0], half)}{heads[1]}{_confidence(after, threshold)}")]
    for rank in range(max(len(before), len(after))):
        cells = [
            f"{own[rank].metadata['relevance_score']:.2f} {_title(own[rank])}" if rank < len(own) else ""
            for own in (before, after)
        ]
        lines.append(f"{rank + 1:>3}  {_fit(cells[0], half)}{_bold(_fit(cells[1], half).rstrip())}")
    lines += ["     " + line for line in _wrap(f"-> {flat(sentence)}", _columns() - 5) if sentence]
    return "\n".join([*lines, ""])


def report(measured: Report) -> str:
    """Show how well every way to search found a set's passages."""
    from langchain_klue_rerank.evaluation.metrics import METRICS

    lines = [
        _bold(
            say(
                "{name}: {questions} questions over {passages} passages",
                name=measured.name,
                questions=measured.questions,
                passages=measured.passages,
            )
        )
        + say(" (indexed at {speed:.0f} passages/s)", speed=measured.passages_per_second),
        f"{'':<11}" + "".join(" " * (13 - _width(name)) + name for name in (*METRICS, "p", text("ms/query"))),
    ]
    for row in measured.rows:
        p_value = "" if row.p_value is None else f"{row.p_value:.4f}"
        values = "".join(f"{row.values[name]:>13.3f}" for name in METRICS)
        intervals = "".join(f"{'{:.3f}-{:.3f}'.format(*row.intervals[name]):>13}" for name in METRICS)
        lines.append(_bold(_fit(text(row.search_type), 11)) + f"{values}{p_value:>13}{row.milliseconds:>13.1f}")
        lines.append(
            _bold(_fit(text("+ reranked") * row.reranked, 11))
            + dim(f"{intervals}{'':>13}{f'p95 {row.p95_milliseconds:.1f}':>13}")
        )
    note = text("below: 95% bootstrap intervals; p: paired test of HitRate@1 against the same without reranking")
    return "\n".join([*lines, dim(note), ""])


def _title(document: Document) -> str:
    """Return a result's title; of one without, its id, which begins with the path of a file: of that only the name."""
    title = document.metadata.get("title")
    if not title:
        source, title = document.metadata.get("source"), str(document.id)
        if isinstance(source, str) and title.startswith(f"{source}#"):
            title = PurePosixPath(source).name + title.removeprefix(source)
    return flat(str(title))


def _place(document: Document) -> str:
    """Return where a result stands: its source, short, and its page or sheet."""
    metadata = document.metadata
    source = metadata.get("source")
    parts = []
    if isinstance(source, str) and source:
        path = PurePosixPath(source)
        parts.append(source if "://" in source or len(path.parts) < 3 else "/".join(path.parts[-2:]))
    if isinstance(metadata.get("page"), int | str):
        parts.append(say("page {page}", page=metadata["page"]))
    return flat(", ".join(parts))


#: Characters that command a terminal or hide what stands there: control and format characters, zero-width and
#: bidirectional ones among them, line and paragraph separators, and fillers that show nothing.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2028\u2029\u3164\uffa0\U000e0000-\U000e0fff]")


def flat(text: str) -> str:
    """Return a text on one line, without control and invisible characters: a document must not command the terminal."""
    shown = []
    for one in _UNSEEN.sub("", clean(text)):
        category = unicodedata.category(one)
        shown.append(" " if category == "Cc" else "" if category == "Cf" else one)
    return " ".join("".join(shown).split())


def to_json(value: Any) -> str:
    """Write JSON that loses nothing and commands no terminal: control and invisible characters are escaped."""
    return "".join(
        one if one.isascii() or not _commands(one) else json.dumps(one)[1:-1]
        for one in clean(json.dumps(value, ensure_ascii=False, default=str)).replace("\x7f", "\\u007f")
    )


def _commands(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf") or _UNSEEN.fullmatch(character) is not None


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


def dim(text: str) -> str:
    """Return a text as a remark: dim where the terminal can."""
    return _styled(text, 2)


def _styled(text: str, code: int) -> str:
    """Style a text where it is read in a terminal that can."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


class ProgressBar:
    """A progress bar that is drawn on a terminal only."""

    def __init__(self, description: str, unit: str, *, quiet: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=description, unit=unit, disable=quiet or not sys.stderr.isatty())

    def __call__(self, done: int, total: int) -> None:
        """Show how much of how much is done."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
