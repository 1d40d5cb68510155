"""Files into documents, for the command line: txt, md, jsonl and csv, long texts split into passages."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_text_splitters import MarkdownHeaderTextSplitter, RecursiveCharacterTextSplitter

from langchain_klue_rerank.engine.text.words import clean

#: Columns of csv and jsonl files that may hold the text, in the order in which they are tried.
TEXT_COLUMNS = ("text", "passage", "context", "content", "page_content", "answer", "본문", "내용")
ENDINGS = (".txt", ".md", ".jsonl", ".csv")

_SEPARATORS = ["\n\n", "\n", "다. ", "요. ", ". ", "? ", "! ", " ", ""]


def load_documents(path: Path, *, chunk_size: int = 600, chunk_overlap: int = 80) -> list[Document]:
    """Read a file.

    Args:
        path: A txt, md, jsonl or csv file, in UTF-8 or, as many older Korean files are, in CP949.
        chunk_size: Longest passage in characters; longer texts are split at paragraphs, lines or sentences. Default
            600.
        chunk_overlap: Characters that neighbouring passages share at most. Default 80.

    Returns:
        Passages with ``source`` (the path, unless a row has a source of its own) and, where the file tells one,
        ``title`` in their metadata. Ids begin with `id_prefix` of the file and end with the row's own id, where a csv
        or jsonl file has a column ``id`` of distinct values, or with the number of the text in the file, so that
        indexing a file again replaces its passages. An own id is in the metadata, too.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the ending or the encoding is unknown, or a row has no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{str(path)!r} ends in {path.suffix!r}; {', '.join(ENDINGS)} can be read.")
    readers = {".jsonl": _jsonl, ".csv": _csv, ".md": _markdown, ".txt": _text}
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=chunk_size, chunk_overlap=chunk_overlap, separators=_SEPARATORS, keep_separator="end"
    )
    texts = list(readers[path.suffix.lower()](path))
    chunks = [splitter.split_text(text.page_content) for text in texts]
    names = [_own_id(text) for text in texts]
    ids = _chunk_ids(names, chunks)
    if not all(names) or len(set(chain.from_iterable(ids))) < sum(map(len, ids)):
        # nothing is to replace anything else in the same file
        ids = _chunk_ids([str(number) for number in range(len(texts))], chunks)
    documents = []
    for text, own_chunks, own_ids in zip(texts, chunks, ids, strict=True):
        metadata = {**text.metadata, "source": text.metadata.get("source") or str(path)}
        for chunk, identifier in zip(own_chunks, own_ids, strict=True):
            documents.append(Document(chunk, id=id_prefix(path) + identifier, metadata=metadata))
    return documents


def _own_id(text: Document) -> str:
    identifier = text.metadata.get("id")
    return "" if identifier is None else str(identifier)


def _chunk_ids(names: Sequence[str], chunks: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the ids of each text's chunks: its name, and which chunk where there are several."""
    return [
        [name] if len(own) == 1 else [f"{name}.{part}" for part in range(len(own))]
        for name, own in zip(names, chunks, strict=True)
    ]


def id_prefix(path: Path) -> str:
    """Return what the ids of a file's passages begin with: rows of two files may have the same ids of their own."""
    return f"{path.as_posix()}#"


def read_text(path: Path) -> str:
    """Read a text file in UTF-8 or CP949, in NFC.

    Raises:
        ValueError: If it is in neither.
    """
    content = path.read_bytes()
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return clean(content.decode(encoding))
        except UnicodeDecodeError:
            continue
    raise ValueError(f"{str(path)!r} is neither UTF-8 nor CP949 text.")


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line numbers and objects of a jsonl file.

    Raises:
        ValueError: If a line is not a JSON object.
    """
    # not splitlines(): a JSON string may hold U+2028 and other characters that it takes for the end of a line
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{str(path)!r}, line {number} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise ValueError(f"{str(path)!r}, line {number} is not a JSON object.")
        yield number, {clean(key): clean(value) if isinstance(value, str) else value for key, value in row.items()}


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a csv file with a header.

    Raises:
        ValueError: If it is not csv.
    """
    text = read_text(path)
    limit = csv.field_size_limit(max(len(text), csv.field_size_limit()))  # by default 131,072 characters a field
    try:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(f"{str(path)!r} is not csv: {error}.") from error
    finally:
        csv.field_size_limit(limit)


def _text(path: Path) -> Iterator[Document]:
    yield Document(read_text(path), metadata={"title": path.stem})


def _markdown(path: Path) -> Iterator[Document]:
    headings = [("#" * level, str(level)) for level in range(1, 5)]
    for section in MarkdownHeaderTextSplitter(headings).split_text(read_text(path)):
        names = [section.metadata[level] for _, level in headings if level in section.metadata]
        yield Document(section.page_content, metadata={"title": " > ".join(names) or path.stem})


def _jsonl(path: Path) -> Iterator[Document]:
    for number, row in read_jsonl(path):
        yield _row(row, path, number)


def _csv(path: Path) -> Iterator[Document]:
    for number, row in enumerate(read_csv(path), 2):
        yield _row(row, path, number)


def _row(row: dict[str, Any], path: Path, number: int) -> Document:
    column = next((name for name in TEXT_COLUMNS if isinstance(row.get(name), str) and row[name].strip()), None)
    if column is None:
        raise ValueError(
            f"{str(path)!r}, line {number} has no text: none of the columns {', '.join(TEXT_COLUMNS)} is filled."
        )
    metadata = {key: value for key, value in row.items() if key != column and isinstance(key, str)}
    return Document(row[column], metadata=metadata)
