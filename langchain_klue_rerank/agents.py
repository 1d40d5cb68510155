"""Search as a tool of agents: passages as numbered sources that a model can cite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, StructuredTool

from langchain_klue_rerank.engine.text.words import clean, encodable
from langchain_klue_rerank.retriever import KlueRetriever

#: Characters of a title or a path that are shown.
_LONGEST_NAME = 200
_NOTHING = "No passage matches. Search again in other words, or say that the documents do not answer this."
_DESCRIPTION = (
    "Search the documents. Returns passages as numbered sources, the most relevant first. "
    "Cite a source by its number in brackets and its title, such as [1] 연차 규정."
)


def numbered_sources(documents: Sequence[Document], *, max_characters: int = 8000, first: int = 1) -> str:
    """Write passages as numbered sources.

    Every source is a line with its number, title, place (source and page) and id, and below it its text, indented:
    no text can pretend to be another source. Where all of it would be too long, the longest texts are cut.

    Args:
        documents: The passages, the best first.
        max_characters: Maximum number of characters of the texts together. Default 8000.
        first: The first one's number. Default 1.

    Returns:
        The sources; "" if there are none.
    """
    texts = [clean(document.page_content).strip() for document in documents]
    limit = _longest(sorted(map(len, texts)), max_characters)
    parts = []
    for number, (document, text) in enumerate(zip(documents, texts, strict=True), first):
        shown = text if len(text) <= limit else f"{text[:limit].rstrip()} … ({len(text) - limit} more characters)"
        head = f"[{number}] {heading(document)}"
        parts.append("\n".join([head, *(f"    {line.strip()}" for line in shown.splitlines() if line.strip())]))
    return "\n\n".join(parts)


def heading(document: Document) -> str:
    """Return one line that says what a passage is: its title, its source and page, and its id."""
    metadata = document.metadata
    source = _line(metadata.get("source"))
    title = _line(metadata.get("title")) or source.rpartition("/")[2] or "untitled"
    place = [source] if source and source != title else []
    if isinstance(page := metadata.get("page"), int | str):
        place.append(f"page {_line(page)}")
    shown = f"{title} ({', '.join(place)})" if place else title
    return f"{shown} id={encodable(document.id)}" if document.id else shown


def _line(value: Any) -> str:
    text = " ".join(clean(str(value)).split()) if isinstance(value, str | int) else ""
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"


def _longest(lengths: list[int], total: int) -> int:
    """Return where to cut texts of these lengths, shortest first, so that they have a total length."""
    left = total
    for place, length in enumerate(lengths):
        share = left // (len(lengths) - place)
        if length > share:
            return share
        left -= length
    return total


def found_sources(retriever: BaseRetriever, documents: Sequence[Document], *, max_characters: int = 8000) -> str:
    """Write what a retriever found as numbered sources, with a remark where the answer is probably not among them."""
    if not documents:
        return _NOTHING
    text = numbered_sources(documents, max_characters=max_characters)
    confidence = documents[0].metadata.get("confidence")
    if isinstance(retriever, KlueRetriever) and confidence is not None and confidence < retriever.confidence_threshold:
        text += f"\n\nThe answer is probably not among these passages (confidence {confidence:.2f})."
    return text


def search_tool(
    retriever: BaseRetriever,
    *,
    name: str = "search_documents",
    description: str = _DESCRIPTION,
    max_characters: int = 8000,
) -> BaseTool:
    """Make a tool for LangChain's agents that searches with a retriever.

    The model reads numbered sources with titles, files and pages; the tool message's ``artifact`` has the documents,
    so that an application can show what ``[1]`` means. Numbers begin with 1 at every call.

    Args:
        retriever: What searches. Its own ``k`` decides how many sources there are.
        name: The tool's name.
        description: When to use it, for the model.
        max_characters: Maximum number of characters of the texts that a call returns. Default 8000.

    Examples:
        >>> from langchain_core.documents import Document
        >>> from langchain_klue_rerank import KlueRetriever
        >>> documents = [Document("연차는 15일입니다.", metadata={"title": "취업 규칙", "page": 7})]
        >>> tool = search_tool(KlueRetriever.from_documents(documents))
        >>> print(tool.invoke({"query": "연차는 며칠?"}).split(" id=")[0])
        [1] 취업 규칙 (page 7)
    """

    def search(query: str) -> tuple[str, list[Document]]:
        documents = retriever.invoke(query)
        return found_sources(retriever, documents, max_characters=max_characters), documents

    async def asearch(query: str) -> tuple[str, list[Document]]:
        documents = await retriever.ainvoke(query)
        return found_sources(retriever, documents, max_characters=max_characters), documents

    return StructuredTool.from_function(
        search, asearch, name=name, description=description, response_format="content_and_artifact"
    )
