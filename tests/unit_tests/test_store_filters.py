"""One filter, said in every store's language; that the stores understand it is tested with the stores themselves."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_klue_rerank import KlueVectorStore
from langchain_klue_rerank.adapters.filters import stores_filter
from tests.unit_tests.fakes import BigramEmbeddings


class Chroma:
    """A store that is known by its name only; nobody has to install it."""


class MyChroma(Chroma):
    """And a subclass of it."""


class Milvus:
    pass


class FAISS:
    index_to_docstore_id = dict.fromkeys(range(50))


def test_no_filter_is_no_argument() -> None:
    for store in (Chroma(), Milvus(), KlueVectorStore(BigramEmbeddings())):
        assert stores_filter(store, None) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("store", "condition", "expected"),
    [
        (Chroma(), {"source": "a"}, {"filter": {"source": {"$eq": "a"}}}),
        (Chroma(), {"source": ["a", "b"]}, {"filter": {"source": {"$in": ["a", "b"]}}}),
        (MyChroma(), {"a": 1, "b": [2]}, {"filter": {"$and": [{"a": {"$eq": 1}}, {"b": {"$in": [2]}}]}}),
        (Chroma(), {"year": {"$gt": 2020}}, {"filter": {"year": {"$gt": 2020}}}),
        (Chroma(), {}, {}),
        (FAISS(), {"source": "a"}, {"filter": {"source": {"$eq": "a"}}, "fetch_k": 50}),
        (Milvus(), {"source": '따옴표 "와 \\'}, {"expr": 'source in ["따옴표 \\"와 \\\\"]'}),
        (Milvus(), {"a": [1, 2], "b": True}, {"expr": "a in [1, 2] and b in [true]"}),
        (Milvus(), "year > 2020", {"expr": "year > 2020"}),
    ],
    ids=str,
)
def test_metadata_in_the_stores_language(store: Any, condition: Any, expected: dict[str, Any]) -> None:
    assert stores_filter(store, condition) == expected


def test_stores_of_others_get_the_filter_as_it_is() -> None:
    class Other:
        pass

    for condition in ({"source": "a"}, "source = 'a'", len):
        assert stores_filter(Other(), condition) == {"filter": condition}  # type: ignore[arg-type]


@pytest.mark.parametrize("store", [Chroma(), Milvus()])
def test_a_function_is_refused_where_no_function_can_run(store: Any) -> None:
    with pytest.raises(TypeError, match=f"{type(store).__name__} cannot run"):
        stores_filter(store, lambda document: True)


def test_what_milvus_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="in 파일"):
        stores_filter(Milvus(), {"in 파일": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expression"):
        stores_filter(Milvus(), {"year": {"$gt": 2020}})  # type: ignore[arg-type]


def test_cores_store_takes_metadata_too() -> None:
    store = InMemoryVectorStore(BigramEmbeddings())
    arguments = stores_filter(store, {"source": ["a", "b"]})
    assert arguments["filter"](Document("글", metadata={"source": "b"}))
    assert not arguments["filter"](Document("글", metadata={"source": "c"}))
