"""Uploaded files into documents: any format into the package's own loader, which splits them into passages."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.documents import Document

from examples.qa_bot.readers import RefusedError, read_docx, read_hwpx, read_pdf
from examples.qa_bot.settings import MAX_MEGABYTES, PASSAGE_LENGTH, PASSAGE_OVERLAP
from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.loaders import ENDINGS, load_documents

_READERS: dict[str, Callable[[bytes], list[dict[str, Any]]]] = {
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".hwpx": read_hwpx,
}
#: Longest stem of a file name in bytes: with its ending it must fit into what file systems take.
_STEM_BYTES = 200


class UnreadableFileError(Exception):
    """A file that cannot be read. The message names it and says, to a visitor, why and what helps."""


def file_name(name: str) -> str:
    """Return a file's name in NFC and without folders; from a Mac it arrives decomposed."""
    return PurePosixPath(clean(name).replace("\\", "/")).name or "이름 없는 파일"


def read_file(name: str, content: bytes) -> list[Document]:
    """Read an uploaded file.

    Args:
        name: Its name; the ending decides how it is read.
        content: Its bytes.

    Returns:
        Passages with ``title`` (the file's name, and the heading above where there is one), ``file`` and, of a PDF,
        ``page`` in their metadata.

    Raises:
        UnreadableFileError: If it is empty, damaged, protected by a password, holds no text, or is of another kind.
    """
    name = file_name(name)
    try:
        return _read(name, content)
    except RefusedError as error:
        raise UnreadableFileError(f"{name}: {error}") from error


def _read(name: str, content: bytes) -> list[Document]:
    stem, ending = PurePosixPath(name).stem, PurePosixPath(name).suffix.lower()
    if ending in (".hwp", ".doc"):
        raise RefusedError(f"예전 형식({ending[1:]})은 읽지 못합니다. {ending[1:]}x나 PDF로 저장해 올려 주세요.")
    if ending not in (*_READERS, *ENDINGS):
        raise RefusedError("읽을 수 있는 파일은 txt, md, pdf, docx, hwpx, csv, jsonl입니다.")
    if not content.strip():
        raise RefusedError("빈 파일입니다.")
    if len(content) > MAX_MEGABYTES << 20:
        raise RefusedError(f"{MAX_MEGABYTES}MB보다 큰 파일은 나누어 올려 주세요.")
    if ending in _READERS:
        rows = _READERS[ending](content)
        content, ending = (
            "\n".join(json.dumps(row, ensure_ascii=False) for row in rows if _says(row)).encode(),
            ".jsonl",
        )
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # "Unicode" of older Windows
        content = content.decode("utf-16", "replace").encode()
    elif b"\0" in content:
        raise RefusedError("글이 아닌 파일입니다. 이름의 끝이 내용과 맞는지 확인해 주세요.")
    documents = _load(stem, ending, content)
    if not any(any(letter.isalnum() for letter in document.page_content) for document in documents):
        raise RefusedError("글이 들어 있지 않습니다.")
    for document in documents:
        heading = document.metadata.get("title")
        document.metadata["title"] = f"{stem} > {heading}" if heading and heading != stem else stem
        document.metadata["file"] = name
        document.metadata.pop("source")
    return documents


def _says(row: dict[str, Any]) -> bool:
    return bool(row["text"].strip())


def _load(stem: str, ending: str, content: bytes) -> list[Document]:
    """Hand a file to the package's loader, which reads files on a disk."""
    with TemporaryDirectory(prefix="qa-bot-") as folder:
        path = Path(folder) / (stem.encode()[:_STEM_BYTES].decode(errors="ignore") + ending)
        path.write_bytes(content)
        try:
            return load_documents(path, chunk_size=PASSAGE_LENGTH, chunk_overlap=PASSAGE_OVERLAP)
        except ValueError as error:
            if ending in (".txt", ".md"):
                raise RefusedError("글자를 읽을 수 없습니다. UTF-8이나 CP949(EUC-KR)로 저장해 올려 주세요.") from error
            raise RefusedError(
                "표를 읽을 수 없습니다. 첫 줄에 열 이름이 있고 본문 열의 이름이 text나 본문이어야 합니다."
            ) from error
