"""A whole RAG chain in LCEL, as Korean tutorials build it, with everything but the chat model real."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_text_splitters import RecursiveCharacterTextSplitter

from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever
from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages

ANSWER = "관리사무소에서 바꿉니다."


class RecordingChatModel(FakeListChatModel):
    """Answers the same to everything and keeps what it was asked."""

    asked: list[str] = []  # noqa: RUF012 - a pydantic field

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        self.asked.append(str(messages[-1].content))
        return super()._call(messages, *args, **kwargs)


@pytest.fixture(scope="module")
def passages() -> list[Document]:
    splitter = RecursiveCharacterTextSplitter(chunk_size=300, chunk_overlap=40)
    return splitter.split_documents(read_passages(SAMPLES / "passages.jsonl")[:80])


@pytest.fixture(scope="module")
def expected(passages: list[Document]) -> str:
    """The passage that must reach the chat model."""
    return next(one.page_content for one in passages if one.metadata["title"].startswith("승강기에 갇혔을 때"))


def chain(retriever: BaseRetriever, model: RecordingChatModel) -> Runnable[str, str]:
    def join(documents: list[Document]) -> str:
        return "\n\n".join(document.page_content for document in documents)

    prompt = ChatPromptTemplate.from_template("문서만 보고 답하세요.\n\n{context}\n\n질문: {question}")
    return {"context": retriever | join, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()


def contextual_compression(passages: list[Document]) -> BaseRetriever:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every import from langchain_community warns
        from langchain_community.vectorstores import FAISS

        store = FAISS.from_documents(passages, KlueEmbeddings())
    return ContextualCompressionRetriever(
        base_compressor=KlueReranker(top_n=3), base_retriever=store.as_retriever(search_kwargs={"k": 20})
    )


def klue_retriever(passages: list[Document]) -> BaseRetriever:
    return KlueRetriever.from_documents(passages, k=3)


@pytest.mark.parametrize("make", [contextual_compression, klue_retriever])
async def test_rag_chain(make: Any, passages: list[Document], expected: str) -> None:
    model = RecordingChatModel(responses=[ANSWER], asked=[])
    rag = chain(make(passages), model)
    question = "승강기에 갇혔을 때는 어떤 버튼을 눌러야 하나요?"
    assert rag.invoke(question) == ANSWER
    assert await rag.ainvoke(question) == ANSWER
    assert rag.batch([question, question]) == [ANSWER, ANSWER]
    assert "".join(rag.stream(question)) == ANSWER
    assert len(model.asked) >= 4
    for asked in model.asked:
        assert expected in asked
        assert f"질문: {question}" in asked
