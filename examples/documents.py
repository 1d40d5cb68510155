"""What the examples search and how they show it to the chat model."""

from __future__ import annotations

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate

from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages

PROMPT = ChatPromptTemplate.from_template(
    "다음 자료만 근거로 질문에 답하고, 근거가 된 자료의 번호를 [1]처럼 붙이세요. 자료에 없으면 없다고 답하세요.\n\n"
    "{context}\n\n질문: {question}"
)


def sample_documents() -> list[Document]:
    """Return the sample documents that come with the package."""
    return read_passages(SAMPLES / "passages.jsonl")


def numbered(documents: list[Document]) -> str:
    """Return documents as the numbered sources of a prompt."""
    return "\n".join(
        f"[{number}] {document.metadata.get('title', '')}: {document.page_content}"
        for number, document in enumerate(documents, 1)
    )
