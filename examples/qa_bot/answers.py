"""What an answer is made of: the sentence that matched, numbered sources, and which of them a text cites."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from langchain_core.documents import Document

from langchain_klue_rerank import KlueReranker
from langchain_klue_rerank.explanation import explain_match

_CITATION = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")


@dataclass(frozen=True)
class Source:
    """A passage that an answer cites.

    Attributes:
        number: Its number in the answer, from 1.
        title: The file's name and the heading above the passage.
        page: The page of a PDF; None for other files.
        text: The passage.
        start: Where the sentence that matched begins in it.
        end: Where it ends.
    """

    number: int
    title: str
    page: int | str | None
    text: str
    start: int
    end: int

    @property
    def sentence(self) -> str:
        """The sentence that matched, on one line."""
        return " ".join(self.text[self.start : self.end].split())


@dataclass(frozen=True)
class Candidate:
    """A line of the table of scores: a passage before and after reranking.

    Attributes:
        title: Its title.
        before: Rank in the first stage, from 1.
        first_stage_score: That stage's score, 0..1.
        rerank_score: The reranker's score, 0..1.
        relevance_score: The weighted mean of both, by which they are ranked, 0..1.
    """

    title: str
    before: int
    first_stage_score: float
    rerank_score: float
    relevance_score: float


@dataclass(frozen=True)
class Answer:
    """An answer, or as much of it as there is while it is written.

    Attributes:
        text: The answer with [n] for its sources.
        sources: The passages it cites.
        notes: What the visitor should know: that it quotes, that a question was rewritten, what went wrong.
        candidates: All passages that were ranked, best first.
        milliseconds: How long each stage took, see `StageTimer`.
        found: Whether the files answer the question.
        markdown: Whether a chat model wrote the text, whose bold letters and lists are shown as such.
    """

    text: str = ""
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    milliseconds: dict[str, float] = field(default_factory=dict)
    found: bool = False
    markdown: bool = False


def candidates(documents: Sequence[Document]) -> tuple[Candidate, ...]:
    """Turn the retriever's documents, best first, into the table of scores."""
    order = sorted(range(len(documents)), key=lambda number: -documents[number].metadata["first_stage_score"])
    before = {number: rank for rank, number in enumerate(order, 1)}
    return tuple(
        Candidate(
            title=document.metadata["title"],
            before=before[number],
            first_stage_score=document.metadata["first_stage_score"],
            rerank_score=document.metadata["rerank_score"],
            relevance_score=document.metadata["relevance_score"],
        )
        for number, document in enumerate(documents)
    )


def source(number: int, document: Document, question: str, reranker: KlueReranker) -> Source:
    """Turn a document into a source: find the sentence that answers the question best."""
    text, title = document.page_content, document.metadata["title"]
    best = explain_match(question, text, title=title, reranker=reranker)
    start, end = (best.start, best.end) if best.sentence else (0, len(text))
    return Source(number, title, document.metadata.get("page"), text, start, end)


def quote(sources: Iterable[Source]) -> str:
    """Answer with the sources' own sentences."""
    return "\n".join(f"{without_citations(one.sentence)} [{one.number}]" for one in sources)


def without_citations(text: str) -> str:
    """Write what looks like a citation in a document's own text, "[2]", as "(2)"."""
    return _CITATION.sub(r"(\1)", text)


def cited_numbers(text: str) -> set[int]:
    """Return the numbers that a text cites, as [1] or [1, 2]."""
    return {int(number) for group in _CITATION.findall(text) for number in group.split(",")}


def keep_known_citations(text: str, known: int) -> str:
    """Write every citation as [n], and drop numbers that no source has.

    Args:
        text: A chat model's answer.
        known: How many sources it was given.
    """

    def known_ones(match: re.Match[str]) -> str:
        numbers = (int(number) for number in match[1].split(","))
        return "".join(f"[{number}]" for number in numbers if 1 <= number <= known)

    return re.sub(r" +(?=[.,\n]|$)", "", _CITATION.sub(known_ones, text))
