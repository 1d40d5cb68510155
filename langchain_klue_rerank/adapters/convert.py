"""Checks of what callers hand in, and the way between LangChain's documents and the engine's passages."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document

from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.text.words import has_words


def check_texts(texts: Iterable[Any]) -> None:
    """Make sure that all are strings.

    Raises:
        TypeError: If one is not; the message names it and where it stands.
    """
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"Text number {number} is {text!r}, a {type(text).__name__}; expected a string.")


#: Characters of a query that are read. Longer ones are texts, not questions, and would keep others waiting.
MAX_QUERY = 10_000


def check_query(query: Any) -> str:
    """Make sure that a query is a string and return its first `MAX_QUERY` characters; "" for one without a word.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(query, str):
        raise TypeError(f"The query is {query!r}, a {type(query).__name__}; expected a string.")
    query = query[:MAX_QUERY]
    return query if has_words(query) else ""


def check_count(name: str, value: Any) -> int:
    """Make sure that a number of results is a whole number from 0 up and return it.

    Raises:
        ValueError: If it is not.
    """
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # numpy's whole numbers are whole numbers
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"{name}={value!r} is not a whole number from 0 up.")
    return number


def check_ids(ids: Any) -> list[str]:
    """Make sure that identifiers are a list of strings and return them.

    Raises:
        TypeError: If they are one string, whose letters would be taken for identifiers, or one is not a string.
    """
    if isinstance(ids, str):
        raise TypeError(f"ids={ids!r} is a string; expected a list of ids.")
    identifiers: list[str] = list(ids)
    check_texts(identifiers)
    return identifiers


def to_documents(texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None = None) -> list[Document]:
    """Turn texts and their metadata into documents.

    Raises:
        TypeError: If a text is not a string.
        ValueError: If there are more or fewer metadatas than texts.
    """
    texts = list(texts)
    check_texts(texts)
    if metadatas is not None and len(metadatas) != len(texts):
        raise ValueError(f"{len(metadatas)} metadatas for {len(texts)} texts; give one for each.")
    return [
        Document(page_content=text, metadata=metadatas[number] if metadatas else {})
        for number, text in enumerate(texts)
    ]


def to_passages(documents: Sequence[Document], ids: Sequence[str | None] | None = None) -> list[Passage]:
    """Turn documents into passages.

    Args:
        documents: The documents.
        ids: Their identifiers; where missing, the document's own, and where that is missing too, a new UUID.

    Raises:
        TypeError: If one is not a Document, or an identifier is not a string.
        ValueError: If there are more or fewer identifiers than documents.
    """
    if ids is not None and len(ids) != len(documents):
        raise ValueError(f"{len(ids)} ids for {len(documents)} documents; give one for each.")
    passages = []
    for number, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(
                f"Document number {number} is {document!r}, a {type(document).__name__}; expected a Document."
            )
        if ids is not None and not isinstance(ids[number], str | None):
            raise TypeError(
                f"Id number {number} is {ids[number]!r}, a {type(ids[number]).__name__}; expected a string."
            )
        identifier = (ids[number] if ids is not None else None) or document.id or str(uuid.uuid4())
        passages.append(Passage(identifier, document.page_content, document.metadata))
    return passages


def to_document(passage: Passage) -> Document:
    """Turn a passage into a document of its own."""
    return Document(id=passage.id, page_content=passage.text, metadata=dict(passage.metadata))


def title_of(metadata: dict[str, Any], title_key: str | None) -> str:
    """Return the title that is searched with a text; "" for none."""
    title = metadata.get(title_key) if title_key is not None else None
    return title if isinstance(title, str) else ""


def searchable_text(text: str, metadata: dict[str, Any], title_key: str | None) -> str:
    """Return the text that is searched: the title, if there is one, a line break, and the text."""
    title = title_of(metadata, title_key)
    return f"{title}\n{text}" if title else text


def check_one_kind(settings: IndexSettings) -> None:
    """Make sure that an index keeps words or vectors alone, so that who makes one of them may add to it.

    Raises:
        ValueError: If it keeps both.
    """
    if settings.lexical and settings.dense:
        raise ValueError(
            "This index keeps words and vectors; add to it with a KlueRetriever (KlueRetriever.load opens its folder)."
        )
