"""Reads the everyday questions; see the folder's README."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from langchain_core.documents import Document

from training.data import read_jsonl

HERE = Path(__file__).parent
#: Corpora that may inform design, and those that are measured when the work is done.
SEEN: Final = ("bot", "shop", "company", "school")
UNSEEN: Final = ("apartment", "clinic", "law")

Kind = Literal["answerable", "near", "off_topic"]


@dataclass(frozen=True)
class EverydayQuestion:
    """A question.

    Attributes:
        id: Its identifier.
        text: The question.
        kind: Whether a passage answers it, only others about the same thing exist, or it is about something else.
        passages: Ids of the passages that answer it.
        answers: The sentences of theirs that do.
    """

    id: str
    text: str
    kind: Kind
    passages: frozenset[str]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Corpus:
    """A corpus and its questions.

    Attributes:
        name: The folder's name.
        documents: The passages, each with an id and its title in the metadata.
        questions: The questions.
    """

    name: str
    documents: list[Document]
    questions: list[EverydayQuestion]


def read_corpus(name: str) -> Corpus:
    """Read one corpus.

    Args:
        name: One of `SEEN` or `UNSEEN`.
    """
    documents = [
        Document(row["text"], id=row["id"], metadata={"title": row["title"]})
        for row in read_jsonl(HERE / name / "passages.jsonl")
    ]
    questions = [
        EverydayQuestion(row["id"], row["question"], row["kind"], frozenset(row["passages"]), tuple(row["answers"]))
        for row in read_jsonl(HERE / name / "questions.jsonl")
    ]
    return Corpus(name, documents, questions)
