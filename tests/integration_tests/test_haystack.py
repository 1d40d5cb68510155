"""Haystack uses the ranker and the retriever as components of its pipelines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # before it is imported
pytest.importorskip("haystack")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.errors import FilterError
from haystack.utils.filters import document_matches_filter

from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.integrations.haystack import (
    KlueIndexRetriever,
    KlueRanker,
    to_filter,
    to_langchain,
)
from tests.unit_tests.fakes import QUESTION, TEXTS

#: Haystack reads no saved component of a module that it was not told to trust.
MODULE = "langchain_klue_rerank.integrations.haystack"


def documents() -> list[Document]:
    return [Document(id=f"h{place}", content=text, meta={"page": place}) for place, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("haystack") / "index"
    KlueRetriever.from_documents(to_langchain(documents())).save(folder)
    return folder


def test_documents_are_ranked_and_stay_as_they_are():
    given = documents()
    best = KlueRanker(top_k=2).run(QUESTION, given)["documents"]
    assert (len(best), best[0].id, best[0].meta) == (2, "h0", {"page": 0})
    assert 0 <= best[1].score <= best[0].score <= 1
    assert {document.score for document in given} == {None}
    assert KlueRanker().run(QUESTION, given, score_threshold=1.0)["documents"] == []
    assert KlueRanker().run(QUESTION, [])["documents"] == []


def test_a_ranker_in_a_pipeline_that_is_saved_and_read():
    store = InMemoryDocumentStore(bm25_tokenization_regex=r"\w")
    store.write_documents(documents())
    pipeline = Pipeline()
    pipeline.add_component("words", InMemoryBM25Retriever(store, top_k=6))
    pipeline.add_component("ranker", KlueRanker(top_k=1))
    pipeline.connect("words.documents", "ranker.documents")
    asked = {"words": {"query": QUESTION}, "ranker": {"query": QUESTION}}
    assert pipeline.run(asked)["ranker"]["documents"][0].id == "h0"
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=[MODULE])
    assert again.get_component("ranker").top_k == 1


def test_a_retriever_in_a_pipeline_that_is_saved_and_read(folder):
    pipeline = Pipeline()
    pipeline.add_component("search", KlueIndexRetriever(str(folder), top_k=2))
    for one in (pipeline, Pipeline.loads(pipeline.dumps(), allowed_modules=[MODULE])):
        found = one.run({"search": {"query": QUESTION}})["search"]["documents"]
        assert (len(found), found[0].id, found[0].content) == (2, "h0", TEXTS[0])
        assert 0 < found[0].score <= 1


@pytest.mark.parametrize(
    ("filters", "pages"),
    [
        ({"field": "meta.page", "operator": "==", "value": 3}, {3}),
        ({"field": "meta.page", "operator": "not in", "value": [0, 1, 2]}, {3, 4, 5}),
        (
            {
                "operator": "AND",
                "conditions": [
                    {"field": "meta.page", "operator": ">=", "value": 1},
                    {"operator": "NOT", "conditions": [{"field": "meta.page", "operator": ">", "value": 2}]},
                ],
            },
            {1, 2},
        ),
        (
            {
                "operator": "OR",
                "conditions": [
                    {"field": "meta.page", "operator": "<", "value": 1},
                    {"field": "meta.page", "operator": "in", "value": [4]},
                ],
            },
            {0, 4},
        ),
    ],
)
def test_filters_mean_what_they_mean_in_haystack(folder, filters, pages):
    store = InMemoryDocumentStore()
    store.write_documents(documents())
    assert {document.meta["page"] for document in store.filter_documents(filters)} == pages
    retriever = KlueRetriever.load(folder)
    assert {one.metadata["page"] for one in retriever.get_by_ids(retriever.find_ids(to_filter(filters)))} == pages
    found = KlueIndexRetriever(str(folder)).run(QUESTION, filters=filters)["documents"]
    assert {document.meta["page"] for document in found} <= pages


#: Metadata as it comes: fields in a dictionary, None, missing ones.
METAS = [
    {"page": 1, "author": {"name": "김", "age": 30}},
    {"page": 2, "author": {"name": "이", "age": None}},
    {"page": 3, "author": None},
    {"page": None},
    {"author": {"age": 41}},
    {},
]
FIELDS = ("meta.page", "page", "meta.author.age", "meta.author.name", "meta.nothing", "meta.nothing.at.all")
VALUES = {"==": (1, "김", None), "in": ([1, 30], [2, None], []), ">": (1, 30, None)}
VALUES |= {"!=": VALUES["=="], "not in": VALUES["in"], ">=": VALUES[">"], "<": VALUES[">"], "<=": VALUES[">"]}


@pytest.mark.parametrize("operator", VALUES)
def test_every_comparison_keeps_what_haystack_keeps(operator):
    given = [Document(id=f"h{place}", content=TEXTS[place], meta=meta) for place, meta in enumerate(METAS)]
    retriever = KlueRetriever.from_documents(to_langchain(given), reranker=None)
    for field in FIELDS:
        for value in VALUES[operator]:
            filters = {"field": field, "operator": operator, "value": value}
            try:
                kept = [one.id for one in given if document_matches_filter(filters, one)]
            except FilterError:  # an order of a text and a number
                continue
            assert retriever.find_ids(to_filter(filters)) == kept, filters
            negated = {"operator": "NOT", "conditions": [filters]}
            assert retriever.find_ids(to_filter(negated)) == [one.id for one in given if one.id not in kept], filters


@pytest.mark.parametrize("field", ["id", "content", "score", "meta"])
def test_a_field_that_an_index_cannot_filter_by_is_an_error(field):
    with pytest.raises(ValueError, match=f"'{field}'.*by meta only"):
        to_filter({"field": field, "operator": "in", "value": ["h1"]})
    assert to_filter({"field": f"meta.{field}", "operator": "==", "value": "h1"}) == {field: {"$eq": "h1"}}


def test_other_filters_are_refused():
    with pytest.raises(ValueError, match="none of Haystack's filters"):
        to_filter({"field": "meta.page", "operator": "like", "value": "a"})
