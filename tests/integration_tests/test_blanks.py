"""Passages without a word among others, in real vector stores by every distance: nothing is not near."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_klue_rerank import KlueBM25Retriever, KlueEmbeddings, KlueReranker, KlueRetriever, KlueVectorStore
from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages, read_sets
from tests.unit_tests.fakes import BigramEmbeddings

BLANKS = ["- - -", "", "\n", "---", "🚚", " \t", "***", "!?", "\u3164\u3164", "\u115f\u1160"]


def faiss(distance: str) -> Callable[[Embeddings, list[Document]], VectorStore]:
    def build(embeddings: Embeddings, documents: list[Document]) -> VectorStore:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            faiss = pytest.importorskip("langchain_community.vectorstores.faiss")
            return faiss.FAISS.from_documents(  # type: ignore[no-any-return]
                documents, embeddings, distance_strategy=distance
            )

    return build


def in_memory(embeddings: Embeddings, documents: list[Document]) -> VectorStore:
    return InMemoryVectorStore.from_documents(documents, embeddings)


def qdrant(distance: str) -> Callable[[Embeddings, list[Document]], VectorStore]:
    def build(embeddings: Embeddings, documents: list[Document]) -> VectorStore:
        models = pytest.importorskip("qdrant_client").models
        store = pytest.importorskip("langchain_qdrant").QdrantVectorStore
        return store.from_documents(  # type: ignore[no-any-return]
            documents, embeddings, location=":memory:", collection_name="blanks", distance=models.Distance[distance]
        )

    return build


def chroma(space: str) -> Callable[[Embeddings, list[Document]], VectorStore]:
    def build(embeddings: Embeddings, documents: list[Document]) -> VectorStore:
        chroma = pytest.importorskip("langchain_chroma").Chroma
        filled = [Document(one.page_content or " ", metadata=one.metadata) for one in documents]
        return chroma.from_documents(  # type: ignore[no-any-return]
            filled, embeddings, collection_metadata={"hnsw:space": space}
        )

    return build


STORES = {
    "faiss, L2": faiss("EUCLIDEAN_DISTANCE"),
    "faiss, inner product": faiss("MAX_INNER_PRODUCT"),
    "in memory, cosine": in_memory,
    "qdrant, cosine": qdrant("COSINE"),
    "qdrant, L2": qdrant("EUCLID"),
    "qdrant, inner product": qdrant("DOT"),
    "chroma, L2": chroma("l2"),
    "chroma, cosine": chroma("cosine"),
}
stores = pytest.mark.parametrize("build", STORES.values(), ids=STORES)


def documents() -> list[Document]:
    passages = read_passages(SAMPLES / "passages.jsonl")[:60]
    texts = [Document(one.page_content, metadata={"blank": False}) for one in passages]
    return [*(Document(text, metadata={"blank": True}) for text in BLANKS), *texts]


@stores
def test_no_blank_is_found_before_a_text(build: Any) -> None:
    given = documents()
    store = build(KlueEmbeddings(), given)
    for question in [*read_sets("samples")[-1].questions[:40], "가", "Is this Korean?", "🚚", "?!", ""]:
        found = [one.metadata["blank"] for one in store.similarity_search(question, k=len(given))]
        texts = found[: len(given) - len(BLANKS)]
        assert len(found) == len(given) or "chroma" in type(store).__name__.lower()
        assert not any(texts), question


WORDS = st.text(st.sampled_from("가나다라abc 12.,!-"), max_size=12)


@given(st.lists(WORDS, min_size=2, max_size=8), WORDS)
@settings(max_examples=40)
def test_no_texts_bring_a_blank_before_a_text(texts: list[str], question: str) -> None:
    embeddings = KlueEmbeddings()
    given = [Document(text, metadata={"blank": not any(map(str.isalnum, text))}) for text in texts]
    for build in (STORES["faiss, L2"], in_memory):
        found = [one.metadata["blank"] for one in build(embeddings, given).similarity_search(question, k=len(given))]
        assert found == sorted(found)


@pytest.mark.parametrize("embeddings", [KlueEmbeddings(), BigramEmbeddings()], ids=["packaged", "foreign"])
@pytest.mark.parametrize("words", [None, 3])
def test_our_own_index_has_blanks_last_and_answers_no_blank(embeddings: Embeddings, words: int | None) -> None:
    given = documents()
    store = KlueVectorStore.from_documents(given, embeddings, window_words=words)
    hybrid = KlueRetriever.from_documents(given, embeddings=embeddings, window_words=words, k=100, fetch_k=100)
    for question in ["전입신고는 언제까지 하나요?", "가"]:
        found = store.similarity_search_with_score(question, k=100)
        assert [score == 0 for _, score in found] == [one.metadata["blank"] for one, _ in found]
        assert sum(one.metadata["blank"] for one, _ in found[: -len(BLANKS)]) == 0
        for search_type in ("hybrid", "lexical"):
            assert not any(one.metadata["blank"] for one in hybrid.invoke(question, search_type=search_type))
    for question in ["", " ", "?!", "🚚", "- - -"]:
        assert store.similarity_search(question) == store.max_marginal_relevance_search(question) == []
        assert store.similarity_search_with_score(question) == []
        assert hybrid.invoke(question) == hybrid.batch([question])[0] == []
        assert KlueBM25Retriever.from_documents(given).invoke(question) == []
        assert KlueReranker().rerank(["글", "말"], question)[0]["relevance_score"] == 0


def test_a_question_without_a_word_finds_nothing_in_a_store_behind_the_retriever() -> None:
    store = InMemoryVectorStore.from_documents(documents(), KlueEmbeddings())
    assert KlueRetriever(sources=[store]).invoke("?!") == []
    assert all(abs(score) < 0.1 for _, score in store.similarity_search_with_score("?!", k=100))


def test_a_list_of_the_embeddings_searches_our_store() -> None:
    embeddings = KlueEmbeddings()
    store = KlueVectorStore.from_documents(documents(), embeddings)
    question = "전입신고는 언제까지 하나요?"
    assert store.similarity_search_by_vector(embeddings.embed_query(question)) == store.similarity_search(question)
    assert store.similarity_search_by_vector(embeddings.embed_query("?!")) == []


def test_a_foreign_model_is_not_asked_for_blanks() -> None:
    """Some services refuse an empty string."""

    class Refusing(BigramEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            assert all(any(map(str.isalnum, text)) for text in texts)
            return super().embed_documents(texts)

    store = KlueVectorStore.from_documents(documents(), Refusing())
    assert len(store) == len(documents())
