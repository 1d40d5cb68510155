"""LangChain documents: checks of a caller's input, conversion from and to passages, scores in the metadata."""

from __future__ import annotations

import copy
import operator
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from langchain_core.documents import Document

from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.text.words import has_words
from langchain_klue_rerank.engine.threads import gently

#: Characters of a query that are read; a longer one is a text, not a question, and would block other callers.
MAX_QUERY = 10_000
#: The metadata keys that the retrievers and rerankers write.
SCORE_KEYS = ("relevance_score", "first_stage_score", "rerank_score", "confidence", "reranked")


def check_list(values: Iterable[Any], name: str, of: str) -> list[Any]:
    """Return values as a list: what can be gone through only once is then whole.

    Args:
        values: The values.
        name: What an error calls them.
        of: What it says that they should be.

    Raises:
        TypeError: If they are one string, whose letters would be taken for values.
    """
    if isinstance(values, str):
        raise TypeError(f"{name}={values!r} is one string; expected a list of {of}, such as [{values[:20]!r}].")
    return list(values)


def check_documents(documents: Any, given: str) -> list[Document]:
    """Check that all are Documents and return them as a list.

    Args:
        documents: The documents.
        given: How an error begins that names what was given instead.

    Raises:
        TypeError: If one is not, or they are no list.
    """
    if isinstance(documents, str) or not isinstance(documents, Iterable):
        raise TypeError(f"{given} {documents!r}; expected a list of Documents.")
    checked = list(documents)
    for number, one in enumerate(gently(checked)):
        if not isinstance(one, Document):
            raise TypeError(f"{given} {one!r}, a {type(one).__name__}, as number {number}; expected Documents.")
    return checked


def check_texts(texts: Iterable[Any], kind: str = "Text") -> list[str]:
    """Check that all are strings and return them as a list.

    Args:
        texts: The strings.
        kind: What an error calls one of them.

    Raises:
        TypeError: If one is not, the message names it and where it stands; or if they are one string, whose letters
            would be taken for texts.
    """
    checked = check_list(texts, f"{kind.lower()}s", "strings")
    for number, text in enumerate(checked):
        if not isinstance(text, str):
            raise TypeError(f"{kind} number {number} is {text!r}, a {type(text).__name__}; expected a string.")
    return checked


def check_query(query: Any) -> str:
    """Check that a query is a string and return its first `MAX_QUERY` characters; "" for one without a word.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(query, str):
        raise TypeError(f"The query is {query!r}, a {type(query).__name__}; expected a string.")
    query = query[:MAX_QUERY]
    return query if has_words(query) else ""


def check_count(name: str, value: Any) -> int:
    """Check that a number of results is a whole number from 0 up and return it.

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


def check_share(name: str, value: Any) -> float:
    """Check that a number is in 0..1 and return it.

    Raises:
        ValueError: If it is not.
    """
    try:
        if 0 <= value <= 1:
            return float(value)
    except (TypeError, ValueError):  # no number, or many
        pass
    raise ValueError(f"{name}={value!r} is not a number in 0..1.")


def check_ids(ids: Any) -> list[str]:
    """Check that identifiers are a list of strings and return them.

    Raises:
        TypeError: If they are one string, whose letters would be taken for identifiers, or one is not a string.
    """
    return check_texts(ids, "Id")


def to_documents(texts: Iterable[str], metadatas: Iterable[dict[str, Any]] | None = None) -> list[Document]:
    """Turn texts and their metadata into documents.

    Raises:
        TypeError: If a text is not a string.
        ValueError: If there are more or fewer metadatas than texts.
    """
    texts = check_texts(texts)
    given = [{} for _ in texts] if metadatas is None else list(metadatas)
    if len(given) != len(texts):
        raise ValueError(f"{len(given)} metadatas for {len(texts)} texts; give one for each.")
    return [Document(page_content=text, metadata=metadata) for text, metadata in zip(texts, given, strict=True)]


def to_passages(documents: Iterable[Document], ids: Iterable[str | None] | None = None) -> list[Passage]:
    """Turn documents into passages.

    Args:
        documents: The documents.
        ids: Their identifiers; where missing, the document's own, and where that is missing too, a new UUID.

    Raises:
        TypeError: If one is not a Document, or an identifier is not a string.
        ValueError: If there are more or fewer identifiers than documents.
    """
    documents = check_documents(documents, "documents are")
    given = [None] * len(documents) if ids is None else check_list(ids, "ids", "strings")
    if len(given) != len(documents):
        raise ValueError(f"{len(given)} ids for {len(documents)} documents; give one for each.")
    passages = []
    for number, (document, own) in enumerate(gently([*zip(documents, given, strict=True)])):
        if not isinstance(own, str | None):
            raise TypeError(f"Id number {number} is {own!r}, a {type(own).__name__}; expected a string.")
        passages.append(Passage(own or document.id or str(uuid.uuid4()), document.page_content, document.metadata))
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


def searchable_texts(passages: Sequence[Passage], title_key: str | None) -> list[str]:
    """Return the texts of passages that are searched; see `searchable_text`."""
    return [searchable_text(passage.text, passage.metadata, title_key) for passage in gently(passages)]


def check_one_kind(settings: IndexSettings) -> None:
    """Check that an index has words or vectors alone, so that a class that makes one of them may add to it.

    Raises:
        ValueError: If it keeps both.
    """
    if settings.lexical and settings.dense:
        raise ValueError(
            "This index keeps words and vectors; add to it with a KlueRetriever (KlueRetriever.load opens its folder)."
        )


class ScoredMetadata(dict[str, Any]):
    """Metadata in which some keys are scores of one query; they do not count when two are compared.

    `MultiQueryRetriever` and recipes like it ask several questions and keep what is new: documents are compared with
    their metadata. By another question the same document has other scores.

    Args:
        metadata: All keys and values. Default: none, as of a dictionary; some writers make one of the same class.
        scores: The keys that are scores.
    """

    def __init__(self, metadata: dict[str, Any] | None = None, scores: Iterable[str] = ()) -> None:
        super().__init__(metadata or {})
        self.scores = frozenset(scores)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dict):
            return NotImplemented
        scores = self.scores | (other.scores if isinstance(other, ScoredMetadata) else frozenset())
        return {k: v for k, v in self.items() if k not in scores} == {k: v for k, v in other.items() if k not in scores}

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ScoredMetadata, (dict(self), self.scores)


# YAML's writers refuse classes that they do not know; those in C exist where libyaml does
for _dumper in (
    getattr(yaml, name) for name in ("Dumper", "SafeDumper", "CDumper", "CSafeDumper") if hasattr(yaml, name)
):
    _table: Any = next(base for base in _dumper.__mro__ if "yaml_representers" in vars(base))
    _table.add_representer(ScoredMetadata, yaml.SafeDumper.represent_dict)


def with_metadata(document: Document, **scores: Any) -> Document:
    """Return a copy of a document with scores in its metadata; its id and everything else stay.

    Nothing in the copy is shared with the document: changing one leaves the other as it is.
    """
    old = document.metadata
    known = (*scores, *(old.scores if isinstance(old, ScoredMetadata) else ()))
    metadata = ScoredMetadata({**{key: _copy(value) for key, value in old.items()}, **scores}, known)
    return document.model_copy(update={"metadata": metadata})


def rescored(document: Document, **scores: Any) -> Document:
    """Return a copy of a document with these scores in its metadata, and without those of an earlier query."""
    metadata = {key: _copy(value) for key, value in document.metadata.items() if key not in SCORE_KEYS}
    if scores:
        metadata = ScoredMetadata({**metadata, **scores}, scores)
    return document.model_copy(update={"metadata": metadata})


def _copy(value: Any) -> Any:
    """Copy a value of metadata; what cannot be copied, such as a lock, is shared."""
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if kind is dict:
        return {key: _copy(one) for key, one in value.items()}
    if kind is list:
        return [_copy(one) for one in value]
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever the object's own copying raises
        return value
