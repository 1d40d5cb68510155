"""Writes figures into pages, and finds the places where a page differs from them.

A figure in a line of text stands between two comments that no reader sees::

    The default finds <!--=klue.reranked.hit1-->0.929<!--/-->.

``klue.reranked.hit1:all`` prints the 95% interval, too. A table stands between lines of its own; the first has its name
and language::

    <!-- figures: long en -->
    <!-- /figures -->

A comment that begins a line turns the rest of that line into raw HTML, so a figure may not stand there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.figures.store import ROOT, Figures

_FIGURE = re.compile(r"<!--=(?P<name>[^\s>]+?)(?P<all>:all)?-->(?P<text>[^<]*)<!--/-->")
_BLOCK = re.compile(
    r"^<!-- figures: (?P<name>[\w-]+) (?P<language>en|ko) -->\n(?P<text>.*?)^<!-- /figures -->$",
    re.MULTILINE | re.DOTALL,
)
_AT_START = re.compile(r"^\s*(?:[-*+>]\s+|\d+[.)]\s+)*<!--=", re.MULTILINE)

#: Name of a table -> what makes it of the figures in a language.
Blocks = Mapping[str, Callable[[Figures, str], str]]


def fill(text: str, figures: Figures, blocks: Blocks) -> str:
    """Return a page with today's figures.

    Raises:
        KeyError: If the page names a figure or a table that there is not.
        ValueError: If a figure begins a line, or a comment is damaged.
    """
    if start := _AT_START.search(text):
        line = text[: start.start()].count("\n") + 1
        raise ValueError(f"line {line}: a figure may not begin a line: Markdown takes the line for raw HTML")
    opened = len(re.findall(r"<!--=|<!-- figures:", text))
    if opened != len(_FIGURE.findall(text)) + len(_BLOCK.findall(text)):
        raise ValueError("a comment of a figure is damaged: see benchmarks/figures/pages.py for how it looks")

    def figure(match: re.Match[str]) -> str:
        value = figures.whole(match["name"]) if match["all"] else figures[match["name"]]
        return f"<!--={match['name']}{match['all'] or ''}-->{value}<!--/-->"

    def block(match: re.Match[str]) -> str:
        made = blocks[match["name"]](figures, match["language"]).strip("\n")
        return f"<!-- figures: {match['name']} {match['language']} -->\n\n{made}\n\n<!-- /figures -->"

    return _FIGURE.sub(figure, _BLOCK.sub(block, text))


def pages(root: Path = ROOT) -> list[Path]:
    """Return the pages that quote figures."""
    paths = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("langchain_klue_rerank/weights/*/*.md")]
    return sorted(path for path in paths if re.search(r"<!--=|<!-- figures:", path.read_text(encoding="utf-8")))


def differences(figures: Figures, blocks: Blocks, root: Path = ROOT) -> list[str]:
    """Return where pages differ from the figures, a line each."""
    found = []
    for path in pages(root):
        name, text = str(path.relative_to(root)), path.read_text(encoding="utf-8")
        try:
            filled = fill(text, figures, blocks)
        except (KeyError, ValueError) as error:
            found.append(f"{name}: {error}")
            continue
        lines, others = text.splitlines(), filled.splitlines()
        for number, (line, other) in enumerate(zip(lines, others, strict=False), 1):
            if line != other:
                found.append(f"{name}, line {number}: {line.strip()[:200]}\n    measured: {other.strip()[:200]}")
                break
        else:
            if len(lines) != len(others):
                found.append(f"{name}: a table has {len(others) - len(lines):+} lines")
    return found
