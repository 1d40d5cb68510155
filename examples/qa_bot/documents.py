"""Uploaded files into documents, with the package's readers; a visitor is told in Korean what cannot be read."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from langchain_core.documents import Document

from examples.qa_bot.settings import MAX_MEGABYTES, PASSAGE_LENGTH, PASSAGE_OVERLAP
from langchain_klue_rerank.engine.text.words import clean
from langchain_klue_rerank.files import UnreadableFileError as FileError
from langchain_klue_rerank.files import load_documents
from langchain_klue_rerank.files.isolated import Limits
from langchain_klue_rerank.files.loading import ENDINGS, UNREAD
from langchain_klue_rerank.files.reasons import Problem

#: Longest stem of a file name in bytes: with its ending it must fit into what file systems take.
_STEM_BYTES = 200
#: What a visitor's file may take.
_LIMITS = Limits(file_bytes=MAX_MEGABYTES << 20)


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
    stem, ending = PurePosixPath(name).stem, PurePosixPath(name).suffix.lower()
    try:
        return _read(name, stem, ending, content)
    except FileError as error:
        message = error.problem.sentence(korean=True, with_path=False)
        if error.problem.reason == "kind":
            message = f"읽을 수 있는 파일은 {', '.join(one[1:] for one in ENDINGS)}입니다."
        raise UnreadableFileError(f"{name}: {message}") from error


def _read(name: str, stem: str, ending: str, content: bytes) -> list[Document]:
    if ending in ENDINGS and not content.strip():
        raise FileError(Problem(name, "empty"))
    if ending not in ENDINGS and ending not in UNREAD:
        raise FileError(Problem(name, "kind"))
    with TemporaryDirectory(prefix="qa-bot-") as folder:
        path = Path(folder) / (stem.encode()[:_STEM_BYTES].decode(errors="ignore") + ending)
        path.write_bytes(content)
        documents = load_documents(path, chunk_size=PASSAGE_LENGTH, chunk_overlap=PASSAGE_OVERLAP, limits=_LIMITS)
    if not any(any(letter.isalnum() for letter in document.page_content) for document in documents):
        raise FileError(Problem(name, "no text"))
    for document in documents:
        heading = document.metadata.get("title")
        document.metadata["title"] = f"{stem} > {heading}" if heading and heading != path.stem else stem
        document.metadata["file"] = name
        document.metadata.pop("source")
    return documents
