"""Our retrievers inside what others wrote: several questions at once, and rerankers of other libraries."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_klue_rerank import KlueBM25Retriever, KlueReranker, KlueRetriever
from langchain_klue_rerank.adapters.documents import with_metadata
from tests.unit_tests.fakes import QUESTION, BigramEmbeddings, ListRetriever, documents

ASKED = ["전입신고는 언제까지 하나요?", "이사하면 어디에 신고하나요?", "며칠 안에 전입신고를 합니까?"]


def model() -> Any:
    return GenericFakeChatModel(messages=iter([AIMessage("\n".join(ASKED))] * 9))


@pytest.mark.parametrize(
    "retriever",
    [
        KlueRetriever.from_documents(documents(), embeddings=BigramEmbeddings(), k=3),
        KlueRetriever.from_documents(documents(), embeddings=BigramEmbeddings(), reranker=None, k=3),
        KlueBM25Retriever.from_documents(documents(), k=3),
        KlueRetriever(sources=[InMemoryVectorStore.from_documents(documents(), BigramEmbeddings())], k=3),
    ],
    ids=["reranked", "first stage", "bm25", "source"],
)
def test_multi_query_gives_every_document_once(retriever: Any) -> None:
    classic = pytest.importorskip("langchain_classic.retrievers.multi_query")
    several = classic.MultiQueryRetriever.from_llm(retriever, model(), include_original=True)
    found = several.invoke(QUESTION)
    assert len(found) == len({one.id for one in found}) < sum(len(retriever.invoke(one)) for one in [*ASKED, QUESTION])


def test_multi_query_around_a_compressor() -> None:
    classic = pytest.importorskip("langchain_classic.retrievers")
    base = KlueBM25Retriever.from_documents(documents(), k=5)
    reranked = classic.ContextualCompressionRetriever(base_compressor=KlueReranker(), base_retriever=base)
    found = classic.MultiQueryRetriever.from_llm(reranked, model()).invoke(QUESTION)
    assert len(found) == len({one.id for one in found})


@pytest.mark.parametrize("make", [KlueRetriever, KlueBM25Retriever])
def test_rag_fusion_compares_strings(make: Any) -> None:
    """The recipe fuses rankings by ``dumps(document)``."""
    fields = {"embeddings": BigramEmbeddings()} if make is KlueRetriever else {}
    retriever = make.from_documents(documents(), scores_in_metadata=False, k=4, **fields)
    fused: dict[str, float] = {}
    for found in retriever.batch(ASKED):
        for rank, one in enumerate(found):
            fused[dumps(one)] = fused.get(dumps(one), 0) + 1 / (rank + 60)
    given = {one.id: one for one in documents()}
    assert {loads(one, allowed_objects="all").id for one in fused} <= set(given)
    assert len(fused) == len({loads(one, allowed_objects="all").id for one in fused})
    assert all(loads(one, allowed_objects="all") == given[loads(one, allowed_objects="all").id] for one in fused)


def test_scores_do_not_make_another_document_and_everything_else_does() -> None:
    document = Document("글", id="a", metadata={"page": 1})
    one, other = with_metadata(document, relevance_score=0.5), with_metadata(document, relevance_score=0.25)
    assert one == other == document
    assert one.metadata["relevance_score"] != other.metadata["relevance_score"]
    for changed in (
        Document("글", id="a", metadata={"page": 2}),
        Document("글", id="b", metadata={"page": 1}),
        Document("말", id="a", metadata={"page": 1}),
    ):
        assert one != changed
        assert with_metadata(changed, relevance_score=0.5) != one
    for again in (copy.deepcopy(one), pickle.loads(pickle.dumps(one)), one.model_copy(deep=True)):  # noqa: S301
        assert again == other
        assert again.metadata["relevance_score"] == 0.5


def test_copies_share_nothing_with_what_was_given() -> None:
    nested = Document("전입신고 기한", metadata={"tags": ["가"], "place": {"city": ["서울"]}, "seen": {1}})
    for change in (
        KlueReranker().compress_documents([nested], "전입신고")[0],
        KlueRetriever(sources=[ListRetriever(found=[nested])]).invoke("전입신고")[0],
        KlueRetriever(sources=[ListRetriever(found=[nested])], reranker=None).invoke("전입신고")[0],
    ):
        change.metadata["tags"].append("나")
        change.metadata["place"]["city"].clear()
        change.metadata["seen"].add(2)
        assert nested.metadata == {"tags": ["가"], "place": {"city": ["서울"]}, "seen": {1}}


class Scorer:
    """A cross-encoder behind LangChain's own reranker."""

    def score(self, pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len(text)) for _, text in pairs]


def cross_encoder_reranker() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classic = pytest.importorskip("langchain_classic.retrievers.document_compressors")
    from langchain_core.cross_encoders import BaseCrossEncoder

    class Lengths(Scorer, BaseCrossEncoder):
        pass

    return classic.CrossEncoderReranker(model=Lengths(), top_n=3)


@pytest.mark.parametrize("stale", [None, 0.99])
def test_a_threshold_that_cannot_be_applied_is_an_error(stale: float | None) -> None:
    given = documents(**({} if stale is None else {"relevance_score": stale, "rerank_score": stale}))
    retriever = KlueRetriever(sources=[ListRetriever(found=given)], reranker=cross_encoder_reranker())
    found = retriever.invoke(QUESTION)
    assert len(found) == 3
    assert not any({"relevance_score", "rerank_score"} & set(one.metadata) for one in found)  # nothing stale
    with pytest.raises(ValueError, match=r"score_threshold=0.5.*CrossEncoderReranker"):
        retriever.invoke(QUESTION, score_threshold=0.5)


async def test_the_same_without_blocking() -> None:
    retriever = KlueRetriever(sources=[ListRetriever(found=documents())], reranker=cross_encoder_reranker())
    with pytest.raises(ValueError, match="CrossEncoderReranker"):
        await retriever.ainvoke(QUESTION, score_threshold=0.5)


class Failing(BigramEmbeddings):
    """Fails for some queries, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(text)
        if "고장" in text:
            raise ConnectionError(text)
        return [0.5, 0.5] if "차원" in text else super().embed_query(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [BigramEmbeddings.embed_query(self, text) for text in texts]


@pytest.mark.parametrize("reranker", [None, KlueReranker()], ids=["first stage", "reranked"])
async def test_every_query_of_a_batch_has_its_own_error_and_is_asked_once(reranker: Any) -> None:
    embeddings = Failing()
    retriever = KlueRetriever.from_documents(documents(), embeddings=embeddings, reranker=reranker)
    queries: list[Any] = ["전입신고 기한", "고장 하나", "여권", 7, "다른 차원", "고장 둘", " "]
    found = retriever.batch(queries, return_exceptions=True)
    assert embeddings.asked == [one for one in queries if isinstance(one, str) and one.strip()]
    assert [type(one).__name__ for one in found] == [
        "list",
        "ConnectionError",
        "list",
        "TypeError",
        "ModelOutputError",
        "ConnectionError",
        "list",
    ]
    assert [str(found[1]), str(found[5])] == ["고장 하나", "고장 둘"]
    assert found[0] == retriever.invoke(queries[0])
    again = await retriever.abatch(queries, return_exceptions=True)
    assert [type(one) for one in again] == [type(one) for one in found]
    with pytest.raises(ConnectionError, match="고장 하나"):
        retriever.batch(queries)
    with pytest.raises(TypeError, match="7"):
        retriever.batch(["여권", 7])
    assert all(isinstance(one, TypeError) for one in retriever.batch(["여권"], return_exceptions=True, mistyped=1))
