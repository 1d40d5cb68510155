"""LlamaIndex uses the postprocessor and the retriever as its own."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from langchain_klue_rerank import KlueReranker, KlueRetriever
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


def test_nodes_come_back_whole(tmp_path):
    given = [
        TextNode(
            text=TEXTS[0],
            id_="n0",
            metadata={"page": 0, "file": "규정.pdf"},
            excluded_llm_metadata_keys=["file"],
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id="규정"),
                NodeRelationship.NEXT: RelatedNodeInfo(node_id="n1"),
            },
            start_char_idx=10,
            end_char_idx=50,
        ),
        IndexNode(text=TEXTS[1], id_="n1", index_id="여권 안내"),
    ]
    retriever = KlueIndexRetriever.from_nodes(given, k=2).retriever
    retriever.save(tmp_path / "index")
    for one in (retriever, KlueRetriever.load(tmp_path / "index", k=2)):
        found = {node.node.node_id: node.node for node in KlueIndexRetriever(one).retrieve(" ".join(TEXTS[:2]))}
        assert found["n0"].ref_doc_id == "규정"
        assert found["n0"].relationships == given[0].relationships
        assert (found["n0"].start_char_idx, found["n0"].end_char_idx) == (10, 50)
        assert isinstance(found["n1"], IndexNode)
        assert found["n1"].index_id == "여권 안내"
        assert "_node" not in found["n0"].metadata


def test_scores_are_in_the_metadata_and_not_in_what_a_model_reads():
    [best, *_] = KlueIndexRetriever.from_nodes(nodes()).retrieve(QUESTION)
    assert best.node.metadata["rerank_score"] > 0
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert best.node.get_content(mode) == f"page: 0\n\n{TEXTS[0]}"


def test_a_misspelt_option_of_the_postprocessor_is_an_error():
    with pytest.raises(ValueError, match="top_k"):
        KlueNodePostprocessor(top_k=5)
    assert KlueNodePostprocessor.from_dict(KlueNodePostprocessor(top_n=2).to_dict()).top_n == 2


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
