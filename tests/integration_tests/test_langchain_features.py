"""The rest of LangChain: one test for each feature; docs/langchain.md lists them by name."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import warnings
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import pytest
import yaml
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    ConfigurableField,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.stores import InMemoryByteStore, InMemoryStore
from langchain_core.tools import create_retriever_tool
from langchain_text_splitters import CharacterTextSplitter, RecursiveCharacterTextSplitter

from langchain_klue_rerank import KlueBM25Retriever, KlueEmbeddings, KlueReranker, KlueRetriever, KlueVectorStore
from tests.unit_tests.fakes import QUESTION, TEXTS, BigramEmbeddings, ListRetriever, Recorder, documents, same

PASSPORT = "여권을 신청할 때 무엇을 가져가야 하나요?"


@pytest.fixture(scope="module")
def retriever() -> KlueRetriever:
    return KlueRetriever.from_documents(documents(), k=3)


def first_id(found: list[Document]) -> str | None:
    return found[0].id


def texts_of(found: list[Document]) -> list[str]:
    return [one.page_content for one in found]


class FirstAlone(KlueRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any, **options: Any) -> list[Document]:
        return super()._get_relevant_documents(query, run_manager=run_manager, **options)[:1]


class LastFirst(KlueReranker):
    def compress_documents(self, documents: Any, query: str, callbacks: Any = None) -> list[Document]:
        return super().compress_documents(documents, query, callbacks)[::-1]


async def test_what_a_subclass_changes_is_changed_asynchronously_too() -> None:
    alone = FirstAlone.from_documents(documents(), k=3)
    assert [len(found) for found in (alone.invoke(QUESTION), *alone.batch([QUESTION], k=2))] == [1, 1]
    assert [len(found) for found in (await alone.ainvoke(QUESTION), *await alone.abatch([QUESTION], k=2))] == [1, 1]
    best = await KlueReranker().acompress_documents(documents(), QUESTION)
    same(await LastFirst().acompress_documents(documents(), QUESTION), best[::-1])


# --- LCEL ---------------------------------------------------------------------------------------------------------


def test_pipe(retriever: KlueRetriever) -> None:
    assert (retriever | first_id).invoke(QUESTION) == "d0"
    assert (RunnableLambda(str.strip) | retriever | first_id).invoke(f"  {QUESTION} ") == "d0"


def test_runnable_parallel(retriever: KlueRetriever) -> None:
    both = RunnableParallel(ours=retriever | first_id, words=KlueBM25Retriever.from_documents(documents()) | first_id)
    assert both.invoke(QUESTION) == {"ours": "d0", "words": "d0"}
    chain = {"context": retriever | first_id, "question": RunnablePassthrough()} | RunnableLambda(tuple)
    assert set(chain.invoke(QUESTION)) == {"context", "question"}


def test_batch_in_a_chain(retriever: KlueRetriever) -> None:
    chain = retriever | first_id
    assert chain.batch([QUESTION, PASSPORT] * 3) == ["d0", "d1"] * 3
    assert dict(chain.batch_as_completed([QUESTION, PASSPORT])) == {0: "d0", 1: "d1"}


async def test_abatch_in_a_chain(retriever: KlueRetriever) -> None:
    assert await (retriever | first_id).abatch([QUESTION, PASSPORT]) == ["d0", "d1"]


async def test_astream(retriever: KlueRetriever) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("14일 안에 합니다."), AIMessage("14일 안에 합니다.")]))
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    chain = {"context": retriever | texts_of, "question": RunnablePassthrough()} | prompt | model
    parts = [part.content async for part in chain.astream(QUESTION)]
    assert len(parts) > 1
    assert "".join(map(str, parts)) == "14일 안에 합니다."
    assert [found async for found in retriever.astream(QUESTION)] == [retriever.invoke(QUESTION)]


async def test_astream_events(retriever: KlueRetriever) -> None:
    events = [event async for event in retriever.astream_events(QUESTION, version="v2")]
    by_name = {(event["event"], event["name"]) for event in events}
    assert {("on_retriever_start", "KlueRetriever"), ("on_retriever_end", "KlueRetriever")} <= by_name
    assert ("on_chain_end", "KlueReranker") in by_name


def test_runnable_with_fallbacks(retriever: KlueRetriever) -> None:
    class Down(ListRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            raise ConnectionError("the search server is down")

    remote = KlueRetriever(sources=[Down(found=[])])
    assert first_id(remote.with_fallbacks([retriever]).invoke(QUESTION)) == "d0"
    assert first_id(retriever.with_fallbacks([remote]).invoke(QUESTION)) == "d0"
    with pytest.raises(ConnectionError):
        remote.with_fallbacks([remote]).invoke(QUESTION)


def test_with_config_and_tags(retriever: KlueRetriever) -> None:
    seen: dict[str, Any] = {}

    class Tags(Recorder):
        def on_retriever_start(self, serialized: Any, query: str, *, tags: Any, metadata: Any, **rest: Any) -> None:
            seen.update(tags=tags, metadata=metadata, name=rest.get("name"))
            super().on_retriever_start(serialized, query, **rest)

    configured = retriever.with_config(tags=["한국어"], metadata={"team": "민원"}, run_name="검색", callbacks=[Tags()])
    assert first_id(configured.invoke(QUESTION)) == "d0"
    assert "한국어" in seen["tags"]
    assert seen["metadata"]["team"] == "민원"
    assert seen["name"] == "검색"


def test_configurable_fields(retriever: KlueRetriever) -> None:
    configurable = retriever.configurable_fields(
        k=ConfigurableField("k"), search_type=ConfigurableField("how"), reranker=ConfigurableField("reranker")
    )
    assert len(configurable.invoke(QUESTION)) == 3
    assert len(configurable.invoke(QUESTION, {"configurable": {"k": 2}})) == 2
    assert first_id(configurable.with_config(configurable={"k": 1, "how": "dense"}).invoke(QUESTION)) == "d0"
    [found] = configurable.invoke(QUESTION, {"configurable": {"k": 1, "reranker": None}})
    assert "rerank_score" not in found.metadata
    words = KlueBM25Retriever.from_documents(documents()).configurable_fields(k=ConfigurableField("k"))
    assert len(words.invoke("전입신고 여권 도서관", {"configurable": {"k": 1}})) == 1


async def test_configurable_fields_of_sources_and_of_a_loaded_index(retriever: KlueRetriever, tmp_path: Any) -> None:
    retriever.save(tmp_path / "index")
    beside = KlueRetriever.from_documents(documents(), sources=[ListRetriever(found=documents()[:2])])
    for one in (KlueRetriever.load(tmp_path / "index"), beside):
        configurable = one.configurable_fields(k=ConfigurableField("k"))
        assert [first.id for first in configurable.invoke(QUESTION, {"configurable": {"k": 1}})] == ["d0"]
        assert len(await configurable.ainvoke(" ".join(TEXTS), {"configurable": {"k": 6}})) == 6


def test_configurable_fields_cannot_change_what_the_index_was_built_with(retriever: KlueRetriever) -> None:
    configurable = retriever.configurable_fields(kiwi=ConfigurableField("kiwi"))
    with pytest.raises(ValueError, match="kiwi"):
        configurable.invoke(QUESTION, {"configurable": {"kiwi": False}})
    configurable = retriever.configurable_fields(embeddings=ConfigurableField("embeddings"))
    with pytest.raises(ValueError, match="BigramEmbeddings"):
        configurable.invoke(QUESTION, {"configurable": {"embeddings": BigramEmbeddings()}})


def test_configurable_alternatives(retriever: KlueRetriever) -> None:
    either = retriever.configurable_alternatives(
        ConfigurableField("search"), default_key="hybrid", words=KlueBM25Retriever.from_documents(documents(), k=1)
    )
    assert len(either.invoke(QUESTION)) == 3
    assert len(either.with_config(configurable={"search": "words"}).invoke(QUESTION)) == 1


# --- tools and agents ---------------------------------------------------------------------------------------------


class ToolCallingModel(GenericFakeChatModel):
    """A fake chat model that may be given tools."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def answers() -> Iterator[BaseMessage]:
    """What the model says to two questions: that it searches, and what it has found."""
    for _ in range(2):
        call = ToolCall(name="search_notices", args={"query": QUESTION}, id="1", type="tool_call")
        yield AIMessage("", tool_calls=[call])
        yield AIMessage("14일 안에 합니다.")


def test_retriever_tool(retriever: KlueRetriever) -> None:
    tool = create_retriever_tool(
        retriever, "search_notices", "안내문을 찾습니다.", response_format="content_and_artifact"
    )
    call = ToolCall(name="search_notices", args={"query": QUESTION}, id="1", type="tool_call")
    message = tool.invoke(call)
    assert isinstance(message, ToolMessage)
    assert TEXTS[0] in message.content
    assert first_id(message.artifact) == "d0"


async def test_retriever_tool_in_an_agent(retriever: KlueRetriever) -> None:
    from langchain_classic.agents import AgentExecutor, create_tool_calling_agent

    tool = create_retriever_tool(retriever, "search_notices", "안내문을 찾습니다.")
    prompt = ChatPromptTemplate.from_messages([("human", "{input}"), ("placeholder", "{agent_scratchpad}")])
    agent: Any = create_tool_calling_agent(ToolCallingModel(messages=answers()), [tool], prompt)
    executor = AgentExecutor(agent=agent, tools=[tool], return_intermediate_steps=True, stream_runnable=False)
    for answer in (executor.invoke({"input": QUESTION}), await executor.ainvoke({"input": QUESTION})):
        assert answer["output"] == "14일 안에 합니다."
        [(_, observation)] = answer["intermediate_steps"]
        assert observation.startswith(TEXTS[0])


async def test_create_agent(retriever: KlueRetriever) -> None:
    agents = pytest.importorskip("langchain.agents")

    tool = create_retriever_tool(
        retriever, "search_notices", "안내문을 찾습니다.", response_format="content_and_artifact"
    )
    agent = agents.create_agent(ToolCallingModel(messages=answers()), tools=[tool])
    asked: Any = {"messages": [("human", QUESTION)]}
    for state in (agent.invoke(asked), await agent.ainvoke(asked)):
        assert state["messages"][-1].content == "14일 안에 합니다."
        [found] = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        assert found.content.startswith(TEXTS[0])
        assert found.artifact[0].id == "d0"
        assert 0 <= found.artifact[0].metadata["relevance_score"] <= 1


async def test_documents_in_the_memory_of_an_agent(retriever: KlueRetriever) -> None:
    """A checkpoint writes messages with the documents that a tool has found, and reads them again."""
    agents = pytest.importorskip("langchain.agents")
    memory = pytest.importorskip("langgraph.checkpoint.memory").InMemorySaver()
    messages = chain(islice(answers(), 2), [AIMessage("네")])
    tool = create_retriever_tool(
        retriever, "search_notices", "안내문을 찾습니다.", response_format="content_and_artifact"
    )
    agent = agents.create_agent(ToolCallingModel(messages=messages), tools=[tool], checkpointer=memory)
    thread: Any = {"configurable": {"thread_id": "1"}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.invoke({"messages": [("human", QUESTION)]}, thread)
        state = agent.invoke({"messages": [("human", "고맙습니다.")]}, thread)
    [found] = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    first = found.artifact[0]  # LangGraph reads documents in a message again as dictionaries
    assert (first["id"], first["metadata"]["number"]) == ("d0", 0)
    assert 0 <= first["metadata"]["relevance_score"] <= 1


# --- LangChain's retrievers, compressors and embeddings -----------------------------------------------------------


async def test_contextual_compression_retriever() -> None:
    from langchain_classic.retrievers import ContextualCompressionRetriever

    store = KlueVectorStore.from_documents(documents())
    compression = ContextualCompressionRetriever(
        base_compressor=KlueReranker(top_n=2), base_retriever=store.as_retriever(search_kwargs={"k": 6})
    )
    assert [one.id for one in compression.invoke(QUESTION)][:1] == ["d0"]
    assert await compression.ainvoke(QUESTION) == compression.invoke(QUESTION)
    over_ours = ContextualCompressionRetriever(
        base_compressor=KlueReranker(top_n=2), base_retriever=KlueRetriever.from_documents(documents(), reranker=None)
    )
    assert first_id(over_ours.invoke(QUESTION)) == "d0"


async def test_ensemble_retriever(retriever: KlueRetriever) -> None:
    from langchain_classic.retrievers import EnsembleRetriever

    words = KlueBM25Retriever.from_documents(documents())
    ensemble = EnsembleRetriever(retrievers=[words, retriever], weights=[0.3, 0.7], id_key=None)
    found = ensemble.invoke(QUESTION)
    assert first_id(found) == "d0"
    assert len(texts_of(found)) == len(set(texts_of(found)))
    assert texts_of(await ensemble.ainvoke(QUESTION)) == texts_of(found)


async def test_document_compressor_pipeline() -> None:
    from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline, EmbeddingsFilter

    long = [Document("\n".join(TEXTS[:3]), id="1"), Document("\n".join(TEXTS[3:]), id="2")]
    pipeline = DocumentCompressorPipeline(
        transformers=[
            CharacterTextSplitter(separator="\n", chunk_size=60, chunk_overlap=0),
            EmbeddingsFilter(embeddings=KlueEmbeddings(), k=5),
            KlueReranker(top_n=2),
        ]
    )
    found = pipeline.compress_documents(long, QUESTION)
    assert texts_of(list(found))[0] == TEXTS[0]
    assert len(found) == 2
    assert [one.page_content for one in await pipeline.acompress_documents(long, QUESTION)] == texts_of(list(found))


async def test_cache_backed_embeddings() -> None:
    from langchain_classic.embeddings import CacheBackedEmbeddings

    store, embeddings = InMemoryByteStore(), KlueEmbeddings()
    cached = CacheBackedEmbeddings.from_bytes_store(
        embeddings, store, namespace=embeddings.identity, query_embedding_cache=True, key_encoder="sha256"
    )
    expected = embeddings.embed_documents(TEXTS)
    for _ in range(2):
        assert cached.embed_documents(TEXTS) == [pytest.approx(vector, abs=1e-6) for vector in expected]
        assert cached.embed_query(QUESTION) == pytest.approx(embeddings.embed_query(QUESTION), abs=1e-6)
    assert len(list(store.yield_keys())) == len(TEXTS) + 1
    assert await cached.aembed_documents(TEXTS[:1]) == [pytest.approx(expected[0], abs=1e-6)]
    assert first_id(KlueVectorStore.from_documents(documents(), cached).similarity_search(QUESTION)) == "d0"
    assert first_id(KlueRetriever.from_documents(documents(), embeddings=cached).invoke(QUESTION)) == "d0"


async def test_multi_vector_retriever() -> None:
    from langchain_classic.retrievers import MultiVectorRetriever

    parents = documents()
    asked = [Document(f"{text[:12]}?", metadata={"doc_id": one.id}) for one, text in zip(parents, TEXTS, strict=True)]
    found_by = MultiVectorRetriever(
        vectorstore=KlueVectorStore.from_documents(asked), docstore=InMemoryStore(), id_key="doc_id"
    )
    found_by.docstore.mset([(str(one.id), one) for one in parents])
    assert first_id(found_by.invoke(QUESTION)) == "d0"
    assert first_id(await found_by.ainvoke(QUESTION)) == "d0"


def test_parent_document_retriever() -> None:
    from langchain_classic.retrievers import ParentDocumentRetriever

    whole = ParentDocumentRetriever(
        vectorstore=KlueVectorStore(),
        docstore=InMemoryStore(),
        child_splitter=RecursiveCharacterTextSplitter(chunk_size=25, chunk_overlap=0),
    )
    whole.add_documents([Document(" ".join(TEXTS[:3])), Document(" ".join(TEXTS[3:]))])
    assert whole.invoke("음식물 쓰레기 봉투")[0].page_content == " ".join(TEXTS[:3])
    assert whole.invoke("도서관 책")[0].page_content == " ".join(TEXTS[3:])


def test_self_query_retriever() -> None:
    pytest.importorskip("lark")
    from langchain_classic.chains.query_constructor.schema import AttributeInfo
    from langchain_classic.retrievers.self_query.base import SelfQueryRetriever
    from langchain_community.query_constructors.chroma import ChromaTranslator

    condition = 'and(gte(\\"number\\", 1), lt(\\"number\\", 3))'
    answer = f'```json\n{{"query": "{QUESTION}", "filter": "{condition}"}}\n```'
    retriever = SelfQueryRetriever.from_llm(
        GenericFakeChatModel(messages=iter([AIMessage(answer)])),
        KlueVectorStore.from_documents(documents()),
        "동네 안내",
        [AttributeInfo(name="number", description="번호", type="integer")],
        structured_query_translator=ChromaTranslator(),
    )
    assert {one.id for one in retriever.invoke("1번과 2번에서 찾아 줘")} == {"d1", "d2"}


def test_vector_store_retriever_searches() -> None:
    store = KlueVectorStore.from_documents(documents())
    assert first_id(store.as_retriever(search_type="mmr", search_kwargs={"k": 3}).invoke(QUESTION)) == "d0"
    threshold = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.6})
    assert first_id(threshold.invoke(QUESTION)) == "d0"
    only = store.as_retriever(search_kwargs={"k": 1, "filter": {"number": 1}}).invoke(QUESTION)
    assert [one.id for one in only] == ["d1"]


# --- the indexing API ---------------------------------------------------------------------------------------------


def source(text: str, name: str) -> Document:
    return Document(text, metadata={"source": name})


def counted(result: Any) -> tuple[int, int, int, int]:
    return result["num_added"], result["num_updated"], result["num_skipped"], result["num_deleted"]


@pytest.mark.parametrize("cleanup", ["incremental", "full"])
def test_indexing_api(cleanup: Any) -> None:
    store, records = KlueVectorStore(BigramEmbeddings()), InMemoryRecordManager("notices")
    records.create_schema()
    given = [source(TEXTS[0], "move.txt"), source(TEXTS[1], "passport.txt")]

    def run(some: list[Document]) -> tuple[int, int, int, int]:
        options: Any = {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256"}
        return counted(index(some, records, store, **options))

    assert run(given) == (2, 0, 0, 0)
    assert run(given) == (0, 0, 2, 0)
    changed = source("전입신고는 이제 30일 안에 합니다.", "move.txt")
    assert run([changed, given[1]]) == (1, 0, 1, 1)
    assert {one.page_content for one in store.documents()} == {changed.page_content, TEXTS[1]}
    # a file that is gone: only a full cleanup sees that
    assert run([changed]) == ((0, 0, 1, 1) if cleanup == "full" else (0, 0, 1, 0))
    assert len(store) == (1 if cleanup == "full" else 2)


async def test_indexing_api_async() -> None:
    from langchain_core.indexing import aindex

    store, records = KlueVectorStore(BigramEmbeddings()), InMemoryRecordManager("notices")
    await records.acreate_schema()
    given = [source(TEXTS[0], "move.txt")]
    options: Any = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
    assert counted(await aindex(given, records, store, **options)) == (1, 0, 0, 0)
    assert counted(await aindex(given, records, store, **options)) == (0, 0, 1, 0)
    assert counted(await aindex([], records, store, **options)) == (0, 0, 0, 1)


# --- callbacks, traces, copies, JSON ------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["invoke", "ainvoke"])
async def test_callbacks_and_tracing(retriever: KlueRetriever, call: str) -> None:
    recorder = Recorder()
    config: Any = {"callbacks": [recorder]}
    chain = (retriever | first_id).with_config(run_name="chain")
    await chain.ainvoke(QUESTION, config) if call == "ainvoke" else chain.invoke(QUESTION, config)
    top, search, rerank = (recorder.run(name) for name in ("chain", "KlueRetriever", "KlueReranker"))
    assert recorder.started[search]["parent"] == top
    assert recorder.started[rerank]["parent"] == search
    inputs, outputs = recorder.started[rerank]["inputs"], recorder.ended[rerank]
    assert inputs["model"] == "packaged"
    assert inputs["query"] == QUESTION
    assert inputs["documents"] > 0
    assert outputs["milliseconds"] > 0
    assert outputs["documents"] == recorder.ended[search]


async def test_a_compressor_reports_to_the_chain_around_it() -> None:
    recorder = Recorder()
    given = documents()
    step = RunnableLambda(lambda query: KlueReranker(top_n=1).compress_documents(given, query))
    step.with_config(run_name="step").invoke(QUESTION, {"callbacks": [recorder]})
    assert recorder.started[recorder.run("KlueReranker")]["parent"] == recorder.run("step")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301
def test_pickle_and_deepcopy(retriever: KlueRetriever, again: Any) -> None:
    other = again(retriever)
    same(other.invoke(QUESTION), retriever.invoke(QUESTION))
    other.delete(["d0"])
    assert first_id(retriever.invoke(QUESTION)) == "d0"  # nothing is shared
    assert first_id(other.invoke(QUESTION)) != "d0"
    embeddings, reranker, store = KlueEmbeddings(), KlueReranker(), KlueVectorStore.from_documents(documents())
    words = KlueBM25Retriever.from_documents(documents())
    assert again(embeddings).embed_query(QUESTION) == embeddings.embed_query(QUESTION)
    assert again(reranker).rerank(TEXTS, QUESTION) == reranker.rerank(TEXTS, QUESTION)
    same(again(store).similarity_search(QUESTION), store.similarity_search(QUESTION))
    same(again(words).invoke(QUESTION), words.invoke(QUESTION))
    assert again(KlueRetriever()).invoke(QUESTION) == []


def test_pickle_of_a_loaded_index(retriever: KlueRetriever, tmp_path: Any) -> None:
    retriever.save(tmp_path / "index")
    loaded = KlueRetriever.load(tmp_path / "index")
    same(pickle.loads(pickle.dumps(loaded)).invoke(QUESTION), loaded.invoke(QUESTION))  # noqa: S301


def test_dumps_of_results(retriever: KlueRetriever) -> None:
    found = retriever.invoke(QUESTION)
    assert json.loads(dumps(found, ensure_ascii=False))[0]["kwargs"]["id"] == "d0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # loads is marked as beta
        assert loads(dumps(found)) == found


#: Writes metadata and reads it again; what is not installed is skipped.
SERIALIZERS: dict[str, Any] = {
    "json": lambda value: json.loads(json.dumps(value)),
    "yaml": lambda value: yaml.safe_load(yaml.safe_dump(value)),
    "yaml, not safe": lambda value: yaml.safe_load(yaml.dump(value)),
    "yaml in C": lambda value: yaml.safe_load(yaml.dump(value, Dumper=yaml.CSafeDumper)),
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),  # noqa: S301
    "copy": lambda value: copy.copy(copy.deepcopy(value)),
    "pydantic": lambda value: Document("", metadata=value).model_dump()["metadata"],
    "orjson": lambda value: pytest.importorskip("orjson").loads(pytest.importorskip("orjson").dumps(value)),
    "msgpack": lambda value: pytest.importorskip("msgpack").unpackb(pytest.importorskip("msgpack").packb(value)),
    "ormsgpack": lambda value: pytest.importorskip("ormsgpack").unpackb(pytest.importorskip("ormsgpack").packb(value)),
    "dill": lambda value: pytest.importorskip("dill").loads(pytest.importorskip("dill").dumps(value)),
    "toml": lambda value: pytest.importorskip("toml").loads(pytest.importorskip("toml").dumps(value)),
    "pandas": lambda value: pytest.importorskip("pandas").DataFrame([value, value]).to_dict("records")[1],
    "pyarrow": lambda value: pytest.importorskip("pyarrow").array([value]).to_pylist()[0],
}


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_metadata_with_scores_is_written_as_a_dictionary_is(serializer: str) -> None:
    found = KlueRetriever.from_texts(
        TEXTS, [{"source": "안내.txt", "pages": [1, 2], "of": {"year": 2026}}] * len(TEXTS)
    )
    metadata = found.invoke(QUESTION)[0].metadata
    again = SERIALIZERS[serializer](metadata)
    assert dict(again) == dict(metadata)
    assert again["relevance_score"] > 0


def test_dumps_of_a_chain_with_our_retriever(retriever: KlueRetriever) -> None:
    assert json.loads(dumps(retriever | first_id))


async def test_many_threads_and_tasks_share_one_retriever(retriever: KlueRetriever) -> None:
    chain: Any = retriever | first_id
    assert await asyncio.gather(*(chain.ainvoke(query) for query in [QUESTION, PASSPORT] * 5)) == ["d0", "d1"] * 5
    assert isinstance(retriever, BaseRetriever)
