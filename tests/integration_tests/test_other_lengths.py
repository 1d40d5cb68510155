"""Stores whose vectors were made with other lengths than `KlueEmbeddings` gives: docs/migration.md."""

from __future__ import annotations

import pytest
from langchain_core.embeddings import Embeddings

from langchain_klue_rerank import KlueEmbeddings, KlueRetriever, KlueVectorStore
from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class _NotNormalised(Embeddings):
    """The packaged model's vectors at other lengths, as a model gives them whose output is not normalised."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors = KlueEmbeddings().embed_documents(texts)
        return [[(2 + number % 7) * value for value in vector] for number, vector in enumerate(vectors)]

    def embed_query(self, text: str) -> list[float]:
        return [4 * value for value in KlueEmbeddings().embed_query(text)]


@pytest.mark.parametrize("normalised", [True, False])
def test_faiss_vectors_of_other_lengths_are_warned_of_and_rank_otherwise(
    normalised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    vectorstores = pytest.importorskip("langchain_community.vectorstores")
    documents = read_passages(SAMPLES / "passages.jsonl")[:100]
    store = vectorstores.FAISS.from_documents(documents, KlueEmbeddings() if normalised else _NotNormalised())
    store.embedding_function = KlueEmbeddings()  # as the guide has it: the same model, now with length 1
    retriever = KlueRetriever(sources=[store], reranker=None, k=10)
    exact = KlueVectorStore.from_documents(documents, KlueEmbeddings(), window_words=None, title_key=None)
    question = "승강기에 갇혔을 때는 어떤 버튼을 눌러야 하나요?"
    found = {document.page_content for document in retriever.invoke(question)}
    expected = {document.page_content for document in exact.similarity_search(question, k=10)}
    assert len(found & expected) == 10 if normalised else len(found & expected) <= 5
    warnings = [record for record in caplog.records if "do not have length 1" in record.getMessage()]
    assert len(warnings) == (0 if normalised else 1)
    retriever.invoke(question)
    assert len([one for one in caplog.records if "do not have length 1" in one.getMessage()]) == len(warnings)
