"""Plain text, Markdown and notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.files.content import Content, Piece, sections
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
#: What Pandoc and others write after a heading: its name for links.
_ATTRIBUTES = re.compile(r"[ \t]*\{[#.][^{}]*\}$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
#: How chats that KakaoTalk saved begin, and the line above the messages of a day.
_CHAT = re.compile(r"카카오톡 대화\s*$")
_DAY = re.compile(r"(?:-{5,} ?)?(\d{4}년 \d{1,2}월 \d{1,2}일 [월화수목금토일]요일)(?: ?-{5,})?")
#: Characters of an output of a notebook that are read.
_LONGEST_OUTPUT = 2_000
#: Lines that front matter may have at most.
_FRONT_LINES = 200


def read_txt(text: str) -> Content:
    """Read plain text: one piece; of a chat that KakaoTalk saved one for each day."""
    first, _, rest = text.lstrip().partition("\n")
    if not _CHAT.search(first):
        return Content([Piece(text)])
    days = ((line, _DAY.fullmatch(line.strip())) for line in rest.splitlines())
    blocks = [(1, day[1]) if day else (0, line) for line, day in days]
    return Content(list(sections(blocks, first.strip())))


def read_markdown(text: str) -> Content:
    """Read Markdown: a piece for each heading, its text as it stands, with tabs, indentation and tables."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    title, front, lines = _front_matter(lines)
    blocks = [(0, line) for line in front]
    return Content(list(sections([*blocks, *_blocks(lines)], title)))


def read_notebook(path: str, text: str) -> Content:
    """Read a Jupyter notebook: a piece for each heading, with code and what it printed.

    Raises:
        UnreadableFileError: If it is no notebook.
    """
    try:
        cells = json.loads(text)["cells"]
        blocks = [block for cell in cells for block in _cell_blocks(cell)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableFileError(Problem(path, "json", getattr(error, "lineno", 0), str(error)[:200])) from error
    return Content(list(sections(blocks)))


def _cell_blocks(cell: dict[str, Any]) -> Iterator[tuple[int, str]]:
    source = _source(cell.get("source"))
    if cell.get("cell_type") == "markdown":
        yield from _blocks(source.split("\n"))
    elif source.strip():
        yield 0, source
    for output in cell.get("outputs", ()):
        printed = _source(output.get("text") or output.get("data", {}).get("text/plain"))
        if printed.strip():
            yield 0, printed[:_LONGEST_OUTPUT]
    yield 0, ""


def _source(lines: Any) -> str:
    """Return a text that notebooks keep as a list of lines."""
    return clean("".join(lines) if isinstance(lines, list) else lines or "")


def _front_matter(lines: list[str]) -> tuple[str, list[str], list[str]]:
    """Take YAML front matter off: its title, its other lines and the lines after it."""
    if not lines or lines[0].rstrip() != "---":
        return "", [], lines
    end = next((n for n in range(1, min(len(lines), _FRONT_LINES)) if lines[n].rstrip() in ("---", "...")), None)
    if end is None or not any(re.match(r"[\w-]+\s*:", line) for line in lines[1:end]):
        return "", [], lines
    title, rest = "", []
    for line in lines[1:end]:
        found = re.match(r"(?:title|제목)\s*:\s*(.*)$", line, re.IGNORECASE)
        if found and not title:
            title = found[1].strip().strip("\"'").strip()
        else:
            rest.append(line)
    return title, rest, lines[end + 1 :]


def _blocks(lines: list[str]) -> Iterator[tuple[int, str]]:
    fence = ""
    held: str | None = None  # a line that the next one may make a heading
    for line in lines:
        mark = _FENCE.match(line)
        if fence:
            yield 0, line
            if mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if held is not None:
            under = _UNDERLINE.match(line)
            if under:
                yield (1 if under[1][0] == "=" else 2), held.strip()
                held = None
                continue
            yield 0, held
            held = None
        if mark:
            fence = mark[1]
            yield 0, line
        elif (heading := _HEADING.match(line)) is not None:
            yield len(heading[1]), _ATTRIBUTES.sub("", heading[2] or "")
        elif line.strip() and not line.startswith(("    ", "\t")) and not re.match(r" {0,3}(?:[-*+>|]|\d+[.)])", line):
            held = line
        else:
            yield 0, line
    if held is not None:
        yield 0, held
