"""LlamaIndex uses the postprocessor and the retriever as its own."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode

from langchain_klue_rerank import KlueReranker
from langchain_klue_rerank.integrations.llama_index import KlueIndexRetriever, KlueNodePostprocessor
from tests.unit_tests.fakes import QUESTION, TEXTS


def nodes() -> list[TextNode]:
    return [TextNode(text=text, id_=f"n{place}", metadata={"page": place}) for place, text in enumerate(TEXTS)]


def test_nodes_are_reranked_and_stay_as_they_are():
    given = [NodeWithScore(node=node, score=0.5) for node in nodes()]
    best = KlueNodePostprocessor(top_n=2).postprocess_nodes(given, query_str=QUESTION)
    assert [node.node.node_id for node in best][:1] == ["n0"]
    assert len(best) == 2
    [scores] = KlueReranker().score([QUESTION], [TEXTS])
    assert best[0].score == pytest.approx(max(scores))
    assert {node.score for node in given} == {0.5}
    assert KlueNodePostprocessor(score_threshold=1).postprocess_nodes(given, query_str=QUESTION) == []
    assert KlueNodePostprocessor().postprocess_nodes([], query_str=QUESTION) == []
    with pytest.raises(ValueError, match="question"):
        KlueNodePostprocessor().postprocess_nodes(given)


async def test_a_retriever_of_nodes():
    retriever = KlueIndexRetriever.from_nodes(nodes(), k=2)
    found = retriever.retrieve(QUESTION)
    assert (found[0].node.node_id, found[0].text, found[0].node.metadata["page"]) == ("n0", TEXTS[0], 0)
    assert 0 < found[1].score <= found[0].score <= 1
    assert [node.node.node_id for node in await retriever.aretrieve(QUESTION)] == [n.node.node_id for n in found]
    filtered = KlueIndexRetriever(retriever.retriever, filter={"page": {"$gt": 3}})
    assert all(node.node.metadata["page"] > 3 for node in filtered.retrieve(QUESTION))


def test_in_a_query_engine():
    engine = RetrieverQueryEngine.from_args(
        KlueIndexRetriever.from_nodes(nodes(), k=5),
        llm=MockLLM(),
        node_postprocessors=[KlueNodePostprocessor(top_n=1)],
    )
    answer = engine.query(QUESTION)
    assert [node.node.node_id for node in answer.source_nodes] == ["n0"]
    assert TEXTS[0] in str(answer)  # the mock says its prompt back


def test_a_prompt_has_the_metadata_that_the_nodes_show_and_none_of_our_scores():
    given = nodes()
    for node in given:
        node.metadata["file_size"] = 1234
        node.excluded_llm_metadata_keys = ["file_size"]
    prompt = str(RetrieverQueryEngine.from_args(KlueIndexRetriever.from_nodes(given), llm=MockLLM()).query(QUESTION))
    assert "page: 0" in prompt
    assert not [key for key in ("score", "confidence", "file_size") if key in prompt]
