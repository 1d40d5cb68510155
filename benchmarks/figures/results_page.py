"""Compares docs/results.md, which `benchmarks.results` writes as a whole, with the figures."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures.parts import METRIC_NAMES, WAY_NAMES
from benchmarks.figures.store import Figures

#: What the heading of a table has -> the set's name in the names of figures.
_TITLES = {
    "validation and test, all contexts": "klue",
    "validation alone": "klue-validation",
    "test alone": "klue-test",
    "their own contexts": "klue-own",
    "KorQuAD": "korquad",
    "TyDi QA": "tydi",
    "avoid the passage's words": "paraphrase",
    "share words with it": "plain",
    "Our samples, all": "samples",
}


def cells(line: str) -> list[str]:
    """Return the cells of a table's line, without emphasis."""
    return [cell.replace("**", "").strip() for cell in line.strip().strip("|").split("|")]


def told(page: str) -> Iterator[tuple[str, str]]:
    """Yield name and figure of each cell of the page's tables of searches.

    Raises:
        ValueError: If a heading is of no known set.
    """
    for section in page.split("\n### ")[1:]:
        heading, _, rest = section.partition("\n")
        names = [name for words, name in _TITLES.items() if words in heading]
        if len(names) != 1:
            raise ValueError(f"docs/results.md: no set is known for the heading {heading!r}")
        rows = [cells(line) for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
        header, _, *lines = rows
        for line in lines:
            for metric, short in METRIC_NAMES.items():
                value, _, ends = line[header.index(metric)].partition("<br>")
                yield f"{names[0]}.{WAY_NAMES[line[0]]}.{short}", f"{value} ({ends})"


def results_differences(figures: Figures, page: str) -> list[str]:
    """Return where the page differs from the figures, a line each."""
    shown = dict(told(page))
    measured = figures.parts["results"].figures
    wanted = {
        f"{name}.{way}.{short}"
        for name in _TITLES.values()
        for way in WAY_NAMES.values()
        for short in METRIC_NAMES.values()
        if f"{name}.questions" in measured
    }
    return [
        f"docs/results.md, {name}: {shown.get(name, 'missing')}; measured: {measured.get(name, 'nothing')}"
        for name in sorted(set(shown) | wanted)
        if shown.get(name) != measured.get(name)
    ]
