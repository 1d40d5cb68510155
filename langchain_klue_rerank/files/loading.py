"""Files into documents: read, split into passages, with ids that stay the same."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_klue_rerank.engine.text.kiwi import Analyzer, shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import unwrap
from langchain_klue_rerank.engine.text.words import pieces as blocks
from langchain_klue_rerank.files.content import ROW, WITHIN_CELL, Content, Piece
from langchain_klue_rerank.files.encodings import decode, decode_text, readable_path
from langchain_klue_rerank.files.formats import rows, text
from langchain_klue_rerank.files.isolated import READERS, IsolatedReader, Limits
from langchain_klue_rerank.files.reasons import Problem, UnreadableFileError

if TYPE_CHECKING:  # LangChain is imported with the first file that is read: a folder in step needs none
    from langchain_core.documents import Document

logger = logging.getLogger(__name__)

#: Endings that can be read; those of `READERS` need the extra ``files``.
ENDINGS = (".txt", ".md", ".markdown", ".csv", ".tsv", ".json", ".jsonl", ".ipynb", *READERS)
#: Files that are not read and of which we can say what helps, by ending: keys of `REASONS`.
UNREAD = {
    **dict.fromkeys((".doc", ".xls", ".ppt"), "old"),
    **dict.fromkeys((".odt", ".ods", ".odp", ".rtf", ".show", ".cell", ".pages", ".numbers", ".key"), "other office"),
    **dict.fromkeys((".eml", ".msg", ".mht", ".mhtml", ".epub"), "page or mail"),
    **dict.fromkeys((".zip", ".7z", ".rar", ".gz", ".tar", ".alz", ".egg"), "archive"),
}
#: Changes when the same file gives other passages; a folder is then read again.
READING_VERSION = 11

#: Lines that could not be read that are logged one by one.
_MOST_WARNINGS = 20
#: Characters of a text that are split into passages at a time: splitting takes 80 bytes of memory for each.
_BLOCK = 1 << 20
_SEPARATORS = ["\n\n", "\n", "다. ", "요. ", ". ", "? ", "! ", " ", ""]


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        chunk_size: Longest passage in characters.
        chunk_overlap: Characters that neighbouring passages share at most.
        text_column: Column of the text in csv, tsv, json and jsonl files; None to find it out.
        title_column: Column of the title; None to find it out.
    """

    chunk_size: int = 600
    chunk_overlap: int = 80
    text_column: str | None = None
    title_column: str | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.chunk_overlap < self.chunk_size:
            raise ValueError(
                f"chunk_overlap={self.chunk_overlap} must be from 0 to below chunk_size={self.chunk_size}."
            )


@dataclass
class FileDocuments:
    """What came of a file.

    Attributes:
        path: The file's canonical path; see `canonical`.
        documents: Its passages.
        problems: Lines that could not be read.
        notes: What was detected: ``text`` and ``title`` columns, ``delimiter``.
    """

    path: str
    documents: list[Document]
    problems: list[Problem] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)


def canonical(path: str | Path) -> str:
    """Return the one spelling of a path that identifies a file: absolute, without links; see `readable_path`."""
    return readable_path(os.path.realpath(path))


def id_prefix(path: str | Path) -> str:
    """Return what the ids of a file's passages begin with: rows of two files may have the same ids of their own."""
    return f"{canonical(path)}#"


def load_documents(
    path: str | Path,
    *,
    chunk_size: int = 600,
    chunk_overlap: int = 80,
    text_column: str | None = None,
    title_column: str | None = None,
    strict: bool = False,
    limits: Limits | None = None,
) -> list[Document]:
    """Read a file.

    Args:
        path: A file: txt, md, ipynb, csv, tsv, json, jsonl; with the extra ``files`` also html, pdf, docx, xlsx, pptx,
            hwp and hwpx, which are read in a process of their own. Text may be UTF-8, UTF-16 or CP949.
        chunk_size: Longest passage in characters; longer texts are split at paragraphs, lines or sentences. Default
            600.
        chunk_overlap: Characters that neighbouring passages share at most. Default 80.
        text_column: The column of the text in csv, tsv, json and jsonl files. Default: the first that is called text,
            passage, context, content, page_content, answer, body, 본문, 내용, 답변, 답 or 설명; without one, all
            columns.
        title_column: The column of the title. Default: title, 제목, subject or 표제, or else question, 질문 or 문의.
        strict: Whether a line that cannot be read is an error. Default False: it is logged and skipped.
        limits: What reading the file may take. Default: `Limits()`.

    Returns:
        Passages with ``source`` (the canonical path, unless a row has a source of its own) and, where the file tells
        them, ``title``, ``page`` and the columns of a row in their metadata. Ids begin with `id_prefix` of the file and
        end with the row's own id, where a file of rows has a column ``id`` of distinct values, or with the number of
        the text in the file, so that indexing a file again replaces its passages.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it cannot be read; its ``problem`` tells the reason.
        MissingExtraError: If the package that reads it is not installed.
    """
    reading = Reading(chunk_size, chunk_overlap, text_column, title_column)
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    with IsolatedReader(limits) as isolated:
        file = read_file(path, reading, isolated)
    for number, problem in enumerate(file.problems):
        if strict and problem.reason != "hidden sheet":
            raise UnreadableFileError(problem)
        if number < _MOST_WARNINGS:
            logger.warning("Passed over %s", problem.sentence())
    if len(file.problems) > _MOST_WARNINGS:
        logger.warning("Passed over %s lines more of %s", f"{len(file.problems) - _MOST_WARNINGS:,}", path)
    return file.documents


def read_file(path: str | Path, reading: Reading, isolated: IsolatedReader) -> FileDocuments:
    """Read a file into passages; see `load_documents`.

    Raises:
        UnreadableFileError: If it cannot be read.
        MissingExtraError: If the package that reads it is not installed.
    """
    shown = readable_path(path)
    try:
        content = _read(Path(path), shown, reading, isolated)
    except OSError as error:
        raise UnreadableFileError(os_problem(shown, error)) from error
    except RecursionError as error:
        raise UnreadableFileError(Problem(shown, "damaged", 0, "nested too deeply")) from error
    stem = Path(shown).stem
    for piece in content.pieces:
        if "title" not in piece.metadata and Path(path).suffix.lower() not in (".csv", ".tsv", ".json", ".jsonl"):
            piece.metadata = {"title": stem, **piece.metadata}
    return FileDocuments(canonical(path), _passages(path, content.pieces, reading), content.problems, content.notes)


def os_problem(path: str, error: OSError) -> Problem:
    """Say what the system refused."""
    known = {errno.ENOENT: "gone", errno.EACCES: "denied", errno.EPERM: "denied", errno.ELOOP: "link"}
    reason = known.get(error.errno or 0, "system")
    return Problem(path, reason, 0, "" if reason in known.values() else str(error.strerror or error))


def _read(path: Path, shown: str, reading: Reading, isolated: IsolatedReader) -> Content:
    ending = path.suffix.lower()
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFileError(Problem(shown, "special"))
    if ending not in ENDINGS:
        reason = UNREAD.get(ending, "kind")
        raise UnreadableFileError(Problem(shown, reason, 0, "" if reason == "old" else ending))
    if status.st_size > isolated.limits.file_bytes:
        raise UnreadableFileError(Problem(shown, "large", 0, f"{status.st_size >> 20} MB"))
    if not status.st_size:
        return Content([])
    if ending in READERS:
        try:
            found = isolated.read(str(path), ending)
        except UnreadableFileError as error:
            problem = error.problem
            raise UnreadableFileError(Problem(shown, problem.reason, problem.line, problem.detail)) from error
        if ending == ".pdf":
            for piece in found.pieces:
                piece.text = _joined(piece.text, shared_analyzer())
            if not found.pieces:
                raise UnreadableFileError(Problem(shown, "pictures"))
        found.problems = [Problem(shown, one.reason, one.line, one.detail) for one in found.problems]
        return found
    content = path.read_bytes()
    try:
        decoded, damaged_line = decode_text(content)
    except UnicodeError as error:
        raise UnreadableFileError(Problem(shown, "binary" if b"\0" in content else "encoding")) from error
    columns = (reading.text_column, reading.title_column)
    readers: dict[str, Callable[[], Content]] = {
        ".txt": lambda: text.read_txt(decoded),
        ".md": lambda: text.read_markdown(decoded),
        ".markdown": lambda: text.read_markdown(decoded),
        ".ipynb": lambda: text.read_notebook(shown, decoded),
        ".csv": lambda: rows.read_csv_text(shown, decoded, None, *columns),
        ".tsv": lambda: rows.read_csv_text(shown, decoded, "\t", *columns),
        ".json": lambda: rows.read_json_text(shown, decoded, *columns),
        ".jsonl": lambda: rows.read_jsonl_text(shown, decoded, *columns),
    }
    read = readers[ending]()
    if damaged_line:
        read.problems.insert(0, Problem(shown, "letters", damaged_line))
    return read


def _joined(page: str, analyzer: Analyzer) -> str:
    """Join the lines of a page of a PDF that its width, or that of a cell, has broken."""
    lines = [line.strip() for line in page.splitlines()]
    rows = iter([line for line in lines if line[:1] == ROW or not line])
    joined = []
    for line in unwrap(["" if line[:1] == ROW else line for line in lines], analyzer):
        row = line or next(rows).removeprefix(ROW)
        cells = (" ".join(unwrap(cell.split(WITHIN_CELL), analyzer)) for cell in row.split(" | "))
        joined.append(" | ".join(cells) if WITHIN_CELL in row else row)
    return "\n".join(filter(None, joined))


def _passages(path: str | Path, pieces: Sequence[Piece], reading: Reading) -> list[Document]:
    """Split pieces into passages and give them ids."""
    from langchain_core.documents import Document
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=reading.chunk_size,
        chunk_overlap=reading.chunk_overlap,
        separators=_SEPARATORS,
        keep_separator="end",
        strip_whitespace=False,  # the indentation of a first line is part of the text
    )
    source, prefix = canonical(path), id_prefix(path)
    # tuples of texts: unlike lists, the garbage collector need not look at them, and it holds up every thread meanwhile
    chunks = [
        tuple(
            chunk.strip("\r\n").rstrip()
            for block in blocks(piece.text, _BLOCK)
            if block.strip()
            for chunk in splitter.split_text(block)
            if chunk.strip()
        )
        for piece in pieces
    ]
    names = ["" if piece.metadata.get("id") is None else str(piece.metadata["id"]) for piece in pieces]
    ids = _chunk_ids(names, chunks)
    if not all(names) or len(set(chain.from_iterable(ids))) < sum(map(len, ids)):
        # nothing is to replace anything else in the same file
        ids = _chunk_ids([str(number) for number in range(len(pieces))], chunks)
    return [
        Document(
            chunk, id=prefix + identifier, metadata={**piece.metadata, "source": piece.metadata.get("source") or source}
        )
        for piece, own_chunks, own_ids in zip(pieces, chunks, ids, strict=True)
        for chunk, identifier in zip(own_chunks, own_ids, strict=True)
    ]


def _chunk_ids(names: Iterable[str], chunks: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the ids of each text's chunks: its name, and which chunk where there are several."""
    return [
        (name,) if len(own) == 1 else tuple(f"{name}.{part}" for part in range(len(own)))
        for name, own in zip(names, chunks, strict=True)
    ]


def read_rows_of(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read the rows of a csv, tsv or jsonl file as they stand, with their lines; every row must be readable.

    Raises:
        UnreadableFileError: If the file or a line cannot be read.
    """
    shown = str(path)
    try:
        decoded = decode(path.read_bytes())
    except OSError as error:
        raise UnreadableFileError(os_problem(shown, error)) from error
    except UnicodeError as error:
        raise UnreadableFileError(Problem(shown, "encoding")) from error
    if path.suffix.lower() == ".jsonl":
        return rows.jsonl_rows(shown, decoded)
    return list(rows.csv_rows(decoded, "\t" if path.suffix.lower() == ".tsv" else None))
