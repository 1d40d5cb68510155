"""Write the Korean page beside a page of figures, so that nobody copies a figure.

What is measured is said with the phrases of ``korean.json``, in both languages: cells of tables, lines and paragraphs,
where ``{}`` stands for a figure or a name and ``{#}`` for a figure; a page that says anything else is refused, with its
line. What a person wrote around the measured part of a page stays as it is; a page without such a part is measured as a
whole.

    python -m benchmarks.korean docs/reranking.md      # writes the measured part of docs/reranking.ko.md
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

#: What a measured part of a page stands between.
MARKERS = ("<!-- measured: begin -->", "<!-- measured: end -->")
_PHRASES = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
NAMES: frozenset[str] = frozenset(_PHRASES["names"])
CELLS: dict[str, str] = _PHRASES["cells"]
LINES: dict[str, str] = _PHRASES["lines"]
_WORD = re.compile(r"[A-Za-z]{2,}")
_CODE = re.compile(r"`[^`]*`|\]\([^)]*\)|https?://\S+|<br>|<!--.*?-->")


def translated(text: str) -> str:
    """Return measured text in Korean.

    Args:
        text: Lines of Markdown: paragraphs, headings, tables, code.

    Raises:
        ValueError: If a line or a cell has no Korean template; it names all of them.
    """
    missing: list[str] = []
    lines: list[str] = []
    for part in re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL):
        lines += [part] if part.startswith("```") else [_part(block, missing) for block in part.split("\n\n")]
    if missing:
        raise ValueError("No Korean in benchmarks/korean.json for:\n" + "\n".join(dict.fromkeys(missing)))
    return "\n\n".join(line for line in (line.strip("\n") for line in lines) if line) + "\n"


def _part(block: str, missing: list[str]) -> str:
    """Return a paragraph, a list or a table in Korean; a paragraph may be broken into lines anywhere."""
    unknown: list[str] = []
    lines = "\n".join(_line(line, unknown) for line in block.split("\n"))
    if not unknown:
        return lines
    whole = " ".join(block.split("\n")).strip()
    if any(_pattern(english).fullmatch(whole) for english in LINES):
        return _said(whole, LINES, missing)
    missing += unknown
    return lines


def _line(line: str, missing: list[str]) -> str:
    if not line.startswith("|"):
        return _said(line, LINES, missing)
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    return f"| {' | '.join(_said(cell, CELLS, missing) for cell in cells)} |"


def _said(text: str, templates: dict[str, str], missing: list[str]) -> str:
    if text.startswith("**") and text.endswith("**"):
        return f"**{_said(text[2:-2], templates, missing)}**"
    rest = _CODE.sub("", text)
    if all(word in NAMES for word in _WORD.findall(rest)):
        return text  # figures and names
    for english, korean in sorted(templates.items(), key=lambda item: -len(item[0])):  # the most particular first
        if (match := _pattern(english).fullmatch(text)) is not None:
            return korean.format(*(_said(part, CELLS, missing) for part in match.groups()))
    missing.append(text)
    return text


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{#?\})", template)
    return re.compile("".join({"{}": "(.+?)", "{#}": r"([\d.,%]+)"}.get(part, re.escape(part)) for part in parts))


def measured(page: Path) -> str:
    """Return what stands between a page's markers."""
    text = page.read_text(encoding="utf-8")
    begin, end = (text.index(marker) for marker in MARKERS)
    return text[begin + len(MARKERS[0]) : end]


def pages(english: Path) -> Iterator[tuple[Path, str]]:
    """Yield the Korean page of an English one, if there is one, and the text that it should have."""
    korean = english.with_suffix(".ko.md")
    if not korean.exists():
        return
    whole, text = korean.read_text(encoding="utf-8"), english.read_text(encoding="utf-8")
    if MARKERS[0] in whole:
        begin, end = (whole.index(marker) for marker in MARKERS)
        made = translated(measured(english).lstrip("\n"))
        yield korean, f"{whole[: begin + len(MARKERS[0])]}\n{made}{whole[end:]}"
    else:
        link = f"[English]({english.name})"
        yield korean, translated(text.replace(f"[한국어]({korean.name})", link))


def main() -> None:
    """Write the Korean pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="+", type=Path, help="an English page with a measured part")
    for english in parser.parse_args().page:
        for path, text in pages(english):
            path.write_text(text, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
