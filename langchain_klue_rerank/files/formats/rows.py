"""Rows: csv, tsv, jsonl and JSON. Which columns hold the text and the title is found out from their names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.files.content import Content, Piece
from langchain_klue_rerank.files.json_tables import is_rows, rows_of, unwrapped
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

#: Columns that may hold the text, the title or a question, in the order in which they are tried.
TEXT_COLUMNS = (
    "text", "passage", "context", "content", "page_content", "answer", "body", "본문", "내용", "답변", "답", "설명",
)  # fmt: skip
TITLE_COLUMNS = ("title", "제목", "subject", "표제")
QUESTION_COLUMNS = ("question", "질문", "문의", "query")
#: Columns of names, which are the title where there is no other, such as Notion's first column and "상품명"; a text
#: that explains ("상세설명") is none.
_NAME_COLUMN = re.compile(r"name$|이름$|(?!.*(?<![시건])설명$|증명$)[가-힣 ]+명$", re.IGNORECASE)
#: Keys that our own results write; in a file they are a column like any other, under another name.
RESERVED = frozenset({"relevance_score", "first_stage_score", "rerank_score"})
_DELIMITERS = ",\t;|"
#: Rows by which the delimiter is found out.
_SAMPLE = 20
#: Lines that may stand above a table's header.
_MOST_ABOVE = 5
#: Columns that are told apart, as many as a sheet of Excel has; cells beyond stand together in the last.
MOST_COLUMNS = 16_384


def parse_csv(text: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Split csv text into rows, in time linear in its length and without a limit on a field.

    The standard library's parser has a limit on fields that can only be changed for the whole process.

    Yields:
        The line in which a row begins, counted from 1, and its cells.
    """
    cell = re.compile(
        rf'(?:[ ]*"(?P<quoted>[^"]*+(?:""[^"]*+)*+)(?:"|\Z)(?P<after>[^{re.escape(delimiter)}\r\n]*+)'
        rf"|(?P<plain>[^{re.escape(delimiter)}\r\n]*+))(?P<end>{re.escape(delimiter)}|\r\n|\r|\n|\Z)"
    )
    place, line, start, row = 0, 1, 1, list[str]()
    while place < len(text) or row:
        found = cell.match(text, place)
        if found is None:  # cannot be: every text has a cell at every place
            break
        if found["plain"] is None:
            row.append(found["quoted"].replace('""', '"') + found["after"])
        else:
            row.append(found["plain"])
        line += len(re.findall(r"\r\n|\r|\n", found[0]))
        place = found.end()
        if found["end"] != delimiter:
            yield start, row
            start, row = line, []
            if place >= len(text):
                return


def find_delimiter(text: str) -> str:
    """Return what separates the cells: a comma, a tab, a semicolon or a bar."""
    starts_with_header = _is_column(text[:256].lstrip().split("\n")[0])

    def fit(delimiter: str) -> tuple[bool, int, int]:
        widths = []
        for _, row in parse_csv(text[:65536], delimiter):
            if any(row):
                widths.append(len(row))
            if len(widths) == _SAMPLE:
                break
        widths = widths[:-1] if len(text) > 65536 and len(widths) > 1 else widths
        above = next((place for place, width in enumerate(widths[: _MOST_ABOVE + 1]) if width > 1), 0)
        if not starts_with_header and len(widths) > above + 1 and len(set(widths[above:])) == 1:
            widths = widths[above:]
        same = sum(width == widths[0] for width in widths) if widths else 0
        return bool(widths) and widths[0] > 1, same, widths[0] if widths else 0

    return max(_DELIMITERS, key=fit) if text else ","


def csv_rows(text: str, delimiter: str | None = None) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of csv text with a header; blank rows are skipped.

    Lines of one cell above the header, such as the table's title, are rows of their own.

    Yields:
        The line in which a row begins, and its cells by column. A column without a name, or with one that was there
        already, is called by its place (``column 3``).
    """
    names: list[str] = []
    known: set[str] = set()
    delimiter = delimiter or find_delimiter(text)
    above = _lines_above(text, delimiter)
    for line, row in parse_csv(text, delimiter):
        if len(row) > MOST_COLUMNS:
            row[MOST_COLUMNS - 1 :] = [delimiter.join(row[MOST_COLUMNS - 1 :])]
        if not any(cell.strip() for cell in row):
            continue
        if above:
            above -= 1
            yield line, {"column 1": next(cell for cell in row if cell.strip())}
            continue
        if not names:
            for place, name in enumerate(row, 1):
                name = name.strip()
                names.append(name if name and name not in known else f"column {place}")
                known.add(name)
            continue
        names += [f"column {place}" for place in range(len(names) + 1, len(row) + 1)]
        yield line, dict(zip(names, row, strict=False))


def _is_column(name: str) -> bool:
    return name.strip().strip('"').lower() in {*TEXT_COLUMNS, *TITLE_COLUMNS, *QUESTION_COLUMNS}


def _lines_above(text: str, delimiter: str) -> int:
    """Count the lines of one cell above a header: a row of several cells, all filled, as wide as the next row."""
    count = 0
    header: list[str] | None = None
    for _, row in parse_csv(text[:65536], delimiter):
        filled = [cell for cell in row if cell.strip()]
        if header is not None and filled:
            return count if len(row) == len(header) else 0
        if len(filled) > 1:
            if len(filled) < len(row) or not count:
                return 0
            header = row
        elif filled:
            count += 1
            if count > _MOST_ABOVE or _is_column(filled[0]):
                return 0
    return 0


def read_csv_text(
    path: str, text: str, delimiter: str | None, text_column: str | None, title_column: str | None
) -> Content:
    """Read csv or tsv text with a header."""
    delimiter = delimiter or find_delimiter(text)
    content = read_rows(path, csv_rows(text, delimiter), text_column, title_column)
    if content.pieces or content.problems:
        content.notes["delimiter"] = {"\t": "tab"}.get(delimiter, delimiter)
    return content


def read_jsonl_text(path: str, text: str, text_column: str | None, title_column: str | None) -> Content:
    """Read JSON Lines; lines that are no objects are problems, and the others are read."""
    problems: list[Problem] = []
    content = read_rows(path, _jsonl_rows(path, text, problems), text_column, title_column)
    content.problems[:0] = problems
    return content


def jsonl_rows(path: str, text: str) -> list[tuple[int, dict[str, Any]]]:
    """Return lines and objects of JSON Lines as they stand, every one readable.

    Raises:
        UnreadableFileError: If a line is no JSON object.
    """
    problems: list[Problem] = []
    rows = [
        (line, {clean(key): clean(value) if isinstance(value, str) else value for key, value in row.items()})
        for line, row in _jsonl_rows(path, text, problems)
    ]
    if problems:
        raise UnreadableFileError(problems[0])
    return rows


def _jsonl_rows(path: str, text: str, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    # not splitlines(): a JSON string may hold U+2028 and other characters that it takes for the end of a line
    for line, row_text in enumerate(text.split("\n"), 1):
        if not row_text.strip():
            continue
        try:
            row = json.loads(row_text)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(path, "json", line, _message(error)))
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            problems.append(Problem(path, "object", line))


def read_json_text(path: str, text: str, text_column: str | None, title_column: str | None) -> Content:
    """Read JSON: a list of objects as rows, anything else as lines of ``key: value``."""
    try:
        value = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(Problem(path, "json", getattr(error, "lineno", 0), _message(error))) from error
    rows, rest = (value, None) if isinstance(value, list) else rows_of(value)
    if not is_rows(rows):
        return Content([Piece("\n".join(_lines(value)))])
    content = read_rows(path, [(0, row) for row in rows], text_column, title_column)
    if isinstance(rest, dict) and rest:
        title = _first(rest, {key.lower(): key for key in rest}, TITLE_COLUMNS)
        for piece in content.pieces if title is not None else ():
            piece.metadata.setdefault("title", clean(rest[title]))
        content.pieces.append(Piece("\n".join(_lines(rest))))
    return content


def _message(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply" if isinstance(
        error, RecursionError
    ) else str(error)[:200]  # fmt: skip


def read_rows(
    path: str, rows: Iterable[tuple[int, dict[str, Any]]], text_column: str | None, title_column: str | None
) -> Content:
    """Turn rows into pieces.

    Args:
        path: The file, for messages.
        rows: Lines and rows.
        text_column: The column of the text; None to find it out. Without one, all columns are the text.
        title_column: The column of the title; None to find it out. A question is the title where there is no other.

    Raises:
        UnreadableFileError: If a column that was named is in no row.
    """
    content = Content([])
    cleaned = []
    for line, row in rows:
        try:
            cleaned.append((line, {clean(str(key)): _cleaned(value) for key, value in unwrapped(row).items()}))
        except RecursionError:
            content.problems.append(Problem(path, "json", line, "nested too deeply"))
    columns = list(dict.fromkeys(name for _, row in cleaned for name in row))
    for name in (text_column, title_column):
        if cleaned and name is not None and name not in columns:
            raise UnreadableFileError(Problem(path, "column", 0, f"{name!r} is not among {', '.join(columns)}"))
    used: dict[str, str] = {}
    for line, row in cleaned:
        lower = {name.strip().lower(): name for name in row}
        body = _first(row, lower, (text_column,) if text_column else TEXT_COLUMNS)
        title = _first(row, lower, (title_column,) if title_column else TITLE_COLUMNS)
        question = _first(row, lower, QUESTION_COLUMNS) if text_column not in QUESTION_COLUMNS else None
        if title is None and title_column is None:
            title, question = question, None
            if title is None and body is not None:
                title = _first(row, lower, (name for name in lower if _NAME_COLUMN.match(name)))
        if title == body:
            title = None
        if body is None:  # no column of text, or nothing in it: all cells of the row
            text = " | ".join(f"{key}: {value}" for key, value in _shown(row))
            if len(row) == 1 or (title is not None and text == f"{title}: {row[title]}"):
                text = " | ".join(value for _, value in _shown(row))
            kept = {key: value for key, value in row.items() if key in ("id", "source")}
        else:
            text = str(row[body])
            if question is not None and question != body:
                text = f"{row[question]}\n{text}"
            kept = {key: value for key, value in row.items() if key not in (body, question, title)}
        if not text.strip():
            if any(value not in (None, "", [], {}) for value in row.values()):
                content.problems.append(Problem(path, "no text", line))
            continue
        if title is not None:
            kept["title"] = " ".join(str(row[title]).split())
            used["title"] = title
        if body is not None:
            used["text"] = body
        kept = {f"{key} (file)" if key in RESERVED else key: value for key, value in kept.items()}
        content.pieces.append(Piece(text, kept, line))
    content.notes = used
    return content


def _first(row: dict[str, Any], lower: dict[str, str], names: Iterable[str]) -> str | None:
    """Return the first column of these names that holds a text; `lower` has the columns by name in lower case."""
    found = (lower.get(name.lower()) for name in names)
    return next((name for name in found if name is not None and isinstance(row[name], str) and row[name].strip()), None)


def _shown(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in row.items():
        if value not in (None, "", [], {}):
            yield key, value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    return {clean(str(key)): _cleaned(one) for key, one in value.items()} if isinstance(value, dict) else value


def _lines(value: Any, name: str = "") -> Iterator[str]:
    """Write JSON as lines, keys before values."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _lines(one, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for one in value:
            yield from _lines(one, name)
    elif value is not None and value != "":
        shown = clean(value) if isinstance(value, str) else json.dumps(value)
        yield f"{name}: {shown}" if name else shown
