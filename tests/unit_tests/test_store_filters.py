"""One filter, said in every store's language; that the stores understand it is tested with the stores themselves."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_klue_rerank import KlueVectorStore
from langchain_klue_rerank.adapters.filters import store_filter
from tests.unit_tests.fakes import BigramEmbeddings


class Store:
    """A store that is known by its name only; nobody has to install it."""

    def __str__(self) -> str:
        return type(self).__name__  # a test's name is the same in every process


class Chroma(Store):
    pass


class MyChroma(Chroma):
    """And a subclass of it."""


class Milvus(Store):
    pass


class PGVector(Store):
    pass


class FAISS(Store):
    index_to_docstore_id = dict.fromkeys(range(50))


def arguments(store: Any, condition: Any) -> dict[str, Any]:
    return store_filter(store, condition).arguments


def test_no_filter_is_no_argument() -> None:
    for store in (Chroma(), Milvus(), KlueVectorStore(BigramEmbeddings())):
        for condition in (None, {}):
            assert store_filter(store, condition).keep is None  # type: ignore[arg-type]
        assert arguments(store, None) == {}
    assert arguments(Chroma(), {}) == {}


@pytest.mark.parametrize(
    ("store", "condition", "expected"),
    [
        (Chroma(), {"source": "a"}, {"filter": {"source": {"$eq": "a"}}}),
        (Chroma(), {"source": ["a", "b"]}, {"filter": {"source": {"$in": ["a", "b"]}}}),
        (MyChroma(), {"a": True, "b": ["c"]}, {"filter": {"$and": [{"a": {"$eq": True}}, {"b": {"$eq": "c"}}]}}),
        (Chroma(), {"year": {"$gt": 2020}}, {"filter": {"year": {"$gt": 2020}}}),
        (Chroma(), {"year": 2020}, {"filter": {"$or": [{"year": {"$eq": 2020}}, {"year": {"$eq": 2020.0}}]}}),
        (Chroma(), {"year": {"$ne": 2020}}, {}),
        (Chroma(), {"tags": {"$contains": "a"}}, {"filter": {"tags": {"$contains": "a"}}}),  # its own
        (Milvus(), {"source": '따옴표 "와 \\'}, {"expr": 'source in ["따옴표 \\"와 \\\\"]'}),
        (Milvus(), {"a": [1, 2], "b": True}, {"expr": "(a in [1, 2]) and (b in [true])"}),
        (Milvus(), {"year": {"$gt": 2020}}, {"expr": "year > 2020"}),
        (Milvus(), {"in 파일": 1}, {}),
        (Milvus(), "year > 2020", {"expr": "year > 2020"}),
        (PGVector(), {"a": [1, "b"]}, {"filter": {"$or": [{"a": {"$eq": 1}}, {"a": {"$eq": "b"}}]}}),
        (PGVector(), {"a": {"b": 1}}, {}),
        (PGVector(), {"$or": [{"a": 1}, {"b c": 1}]}, {}),
        (PGVector(), {"$and": [{"a": 1}, {"b c": 1}]}, {"filter": {"a": {"$eq": 1}}}),
        (PGVector(), {"a": {"$ilike": "b%"}}, {"filter": {"a": {"$ilike": "b%"}}}),  # its own
    ],
    ids=str,
)
def test_metadata_in_the_stores_syntax(store: Any, condition: Any, expected: dict[str, Any]) -> None:
    assert arguments(store, condition) == expected


def test_what_nothing_can_meet_asks_no_store() -> None:
    assert store_filter(Chroma(), {"a": []}).nothing  # type: ignore[arg-type]


def test_stores_of_others_get_the_filter_as_it_is() -> None:
    class Other:
        pass

    for condition in ({"source": "a"}, {"year": {"gte": 2020}}, "source = 'a'", len):
        assert arguments(Other(), condition) == {"filter": condition}


@pytest.mark.parametrize("store", [Chroma(), Milvus()], ids=str)
def test_a_function_is_refused_where_no_function_can_run(store: Any) -> None:
    with pytest.raises(TypeError, match=f"{type(store).__name__} cannot run"):
        store_filter(store, lambda document: True)


@pytest.mark.parametrize("store", [Chroma(), Milvus(), PGVector(), FAISS()], ids=str)
def test_an_operator_without_its_sign_is_an_error(store: Any) -> None:
    with pytest.raises(ValueError, match=r'"\$gte": 2020'):
        store_filter(store, {"year": {"gte": 2020}})


def test_faiss_looks_at_all_documents() -> None:
    asked = arguments(FAISS(), {"tags": "a"})
    assert asked["fetch_k"] == 50
    assert asked["filter"]({"tags": ["a", "b"]})
    assert not asked["filter"]({"tags": "ab"})


def test_cores_store_takes_metadata_too() -> None:
    keep = arguments(InMemoryVectorStore(BigramEmbeddings()), {"source": ["a", "b"]})["filter"]
    assert keep(Document("글", metadata={"source": "b"}))
    assert not keep(Document("글", metadata={"source": "c"}))
