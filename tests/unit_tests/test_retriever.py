"""KlueRetriever."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from pydantic import ValidationError

from langchain_klue_rerank import KlueBM25Retriever, KlueEmbeddings, KlueReranker, KlueRetriever, KlueVectorStore
from langchain_klue_rerank import retriever as retriever_module
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder
from langchain_klue_rerank.engine.text import tokenized as tokenized_module
from langchain_klue_rerank.errors import ModelMismatchError, ModelOutputError
from tests.unit_tests.fakes import (
    QUESTION,
    TEXTS,
    BigramEmbeddings,
    BrokenEmbeddings,
    LengthReranker,
    ListRetriever,
    Recorder,
    documents,
    same,
)
from tests.unit_tests.index_suite import IndexTests

QUERIES = [
    QUESTION,
    "여권을 신청할 때 무엇을 가져가야 하나요?",
    "",
    "음식물 쓰레기는 언제 내놓나요?",
    "도서관 책은 몇 권까지 빌릴 수 있어요?",
    " \n",
    "세탁기가 탈수할 때 흔들려요",
]
#: Passages, and questions about them in other words: what they share are words such as "day" and "card".
WORKPLACE = [
    "퇴근이 늦어질 때에는 팀장에게 미리 알리고 다음 날 출근 시간을 조정합니다.",
    "회의실은 하루 전에 예약하고 다 쓴 뒤에는 정리해야 합니다.",
    "급여일이 공휴일이면 그 전날 지급하며, 명세서는 사내 누리집에서 볼 수 있습니다.",
    "집에서 일하려면 전날까지 재택근무 신청서를 올리고 승인을 받습니다.",
    "갑자기 고장 난 노트북은 전산실에 맡기고 대여품을 받아 갑니다.",
    "법인 카드를 잃어버리면 곧바로 카드사에 정지를 요청하고 재무팀에 전화합니다.",
    "경조사가 있으면 닷새까지 유급 휴가를 쓸 수 있습니다.",
    "사원증을 두고 온 날에는 안내 데스크에서 임시 출입증을 빌립니다.",
]
IN_OTHER_WORDS = {
    "월급 받는 날이 쉬는 날이면 돈이 언제 들어오나요?": 2,
    "컴퓨터가 갑자기 안 켜지면 어떻게 하나요?": 4,
    "건물에 들어가는 신분 카드를 집에 두고 왔어요": 7,
    "결혼하면 며칠 쉴 수 있나요?": 6,
}
#: All words of all texts: lexical search finds every document.
EVERYTHING = " ".join(TEXTS)


@pytest.fixture(scope="module")
def retriever() -> KlueRetriever:
    """The default retriever; the tests that share it do not change it."""
    return KlueRetriever.from_documents(documents())


def all_same(answers: list[list[Document]], expected: list[list[Document]]) -> None:
    assert len(answers) == len(expected)
    for own, others in zip(answers, expected, strict=True):
        same(own, others)


def foreign(**fields: Any) -> KlueRetriever:
    return KlueRetriever.from_documents(documents(), embeddings=BigramEmbeddings(), **fields)


class TestIndex(IndexTests):
    def build(self, given: list[Document]) -> KlueRetriever:
        return KlueRetriever.from_documents(given)

    def load(self, folder: Path) -> KlueRetriever:
        return KlueRetriever.load(folder)

    def ask(self, index: KlueRetriever, query: str = QUESTION, **how: Any) -> list[Document]:
        return index.invoke(query, **how)


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search_type", ["hybrid", "dense", "lexical"])
@pytest.mark.parametrize("reranked", [True, False], ids=["reranked", "first stage"])
def test_finds_the_answer_in_every_way(retriever: KlueRetriever, search_type: Any, reranked: bool) -> None:
    asked = retriever if reranked else retriever.model_copy(update={"reranker": None})
    for query, answer in zip(QUERIES, ["d0", "d1", None, "d2", "d3", None, "d4"], strict=True):
        found = asked.invoke(query, search_type=search_type)
        assert ([one.id for one in found[:1]] or [None]) == [answer], query


def test_scores_of_both_stages_are_there(retriever: KlueRetriever) -> None:
    found = retriever.invoke(EVERYTHING, k=6)
    scores = [one.metadata["relevance_score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    for one in found:
        assert type(one.metadata["relevance_score"]) is type(one.metadata["first_stage_score"]) is float
        assert 0 <= one.metadata["relevance_score"] <= 1
        assert 0 < one.metadata["first_stage_score"] <= 1
    assert json.loads(dumps(found))
    assert json.loads(found[0].model_dump_json())


@pytest.mark.parametrize("search_type", ["hybrid", "dense", "lexical"])
def test_without_a_reranker_the_first_stage_has_the_last_word(retriever: KlueRetriever, search_type: Any) -> None:
    alone = retriever.model_copy(update={"reranker": None}).invoke(EVERYTHING, k=6, search_type=search_type)
    scores = [one.metadata["relevance_score"] for one in alone]
    assert scores == sorted(scores, reverse=True)
    assert all("first_stage_score" not in one.metadata for one in alone)
    reranked = retriever.invoke(EVERYTHING, k=6, search_type=search_type)
    assert {one.id: one.metadata["relevance_score"] for one in alone} == {
        one.id: one.metadata["first_stage_score"] for one in reranked
    }


def test_reranking_is_that_of_the_reranker(retriever: KlueRetriever) -> None:
    # dense search, for lexical search tells the packaged reranker how frequent words are in its index
    retriever = retriever.model_copy(update={"search_type": "dense"})
    first = retriever.model_copy(update={"reranker": None}).invoke(EVERYTHING, k=6)
    expected = KlueReranker(top_n=6).compress_documents(first, EVERYTHING)
    alone = retriever.model_copy(update={"rerank_weight": 1.0})
    found = alone.invoke(EVERYTHING, k=6)
    assert [one.id for one in found] == [one.id for one in expected]
    assert [one.metadata["relevance_score"] for one in found] == pytest.approx(
        [one.metadata["relevance_score"] for one in expected], abs=1e-5
    )


@pytest.mark.parametrize(
    ("search_type", "fields", "asked"),
    [
        ("hybrid", {}, 0),
        ("dense", {}, 0),
        ("lexical", {}, 1),
        ("hybrid", {"embeddings": BigramEmbeddings()}, 1),
        ("hybrid", {"sources": [ListRetriever(found=documents()[:3])]}, 1),
    ],
)
def test_cosines_that_the_first_stage_computed_are_not_computed_again(
    search_type: Any, fields: dict[str, Any], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = KlueRetriever.from_documents(documents(), k=6, **fields)
    computed: list[Any] = []
    cosines = StaticBiEncoder.best_cosines
    monkeypatch.setattr(
        StaticBiEncoder,
        "best_cosines",
        lambda *given: computed.append(given) or cosines(*given),  # type: ignore[func-returns-value]
    )
    found = retriever.invoke(EVERYTHING, search_type=search_type)
    assert len(computed) == asked
    if search_type == "dense":
        # The same scores as for the bare texts: all are short, so the index keeps one vector of each.
        scores = {one["index"]: one["relevance_score"] for one in KlueReranker().rerank(found, EVERYTHING, top_n=6)}
        for number, document in enumerate(found):
            # but for the fiftieth of the cosine that a bare reranker adds
            assert document.metadata["rerank_score"] == pytest.approx(scores[number], abs=0.0201)


def test_a_query_is_tokenized_once(retriever: KlueRetriever, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenized: list[str] = []
    split = tokenized_module.split_words
    monkeypatch.setattr(tokenized_module, "split_words", lambda text: tokenized.append(text) or split(text))
    assert retriever.invoke(QUESTION)
    assert tokenized == [QUESTION]


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.8])
def test_relevance_is_the_weighted_mean_of_both_stages(retriever: KlueRetriever, weight: float) -> None:
    found = retriever.model_copy(update={"rerank_weight": weight}).invoke(EVERYTHING, k=6)
    assert len(found) == 6
    for document in found:
        both = document.metadata["rerank_score"], document.metadata["first_stage_score"]
        assert document.metadata["relevance_score"] == pytest.approx(weight * both[0] + (1 - weight) * both[1])
    scores = [document.metadata["relevance_score"] for document in found]
    assert scores == sorted(scores, reverse=True)


def test_documents_read_in_parts_are_those_read_at_once(
    retriever: KlueRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many documents are embedded part by part, beside the tokenizing of the next ones."""
    monkeypatch.setattr(tokenized_module, "PART", 60)
    monkeypatch.setattr(retriever_module, "PART", 60)
    in_parts = KlueRetriever.from_documents(documents())
    all_same(in_parts.batch(QUERIES), retriever.batch(QUERIES))


def test_titles_are_searched_and_read() -> None:
    given = [
        Document("신청은 구청 민원실에서 받습니다.", id=title, metadata={"title": title})
        for title in ("주차장 이용 안내", "여권 발급 안내", "도서 대출 안내")
    ]
    for search_type in ("hybrid", "dense", "lexical"):
        titled = KlueRetriever.from_documents(given, search_type=search_type)
        assert titled.invoke("여권 발급은 어떻게 하나요?", k=1)[0].id == "여권 발급 안내"
    blind = KlueRetriever.from_documents(given, title_key=None, search_type="lexical").invoke("여권 발급 신청")
    scores = [one.metadata["rerank_score"] for one in blind]
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-6)


def test_the_retrievers_title_key_is_also_the_rerankers() -> None:
    given = [
        Document("신청은 구청 민원실에서 받습니다.", id=title, metadata={"heading": title})
        for title in ("주차장 이용 안내", "여권 발급 안내", "도서 대출 안내")
    ]
    source = ListRetriever(found=given)
    titled = KlueRetriever(sources=[source], title_key="heading")
    assert titled.invoke("여권 발급은 어떻게 하나요?", k=1)[0].id == "여권 발급 안내"
    blind = KlueRetriever(sources=[source], title_key=None).invoke("여권 발급은 어떻게 하나요?")
    scores = [one.metadata["rerank_score"] for one in blind]
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-6)


def test_nfd_finds_the_same_as_nfc(retriever: KlueRetriever) -> None:
    nfd = KlueRetriever.from_texts(
        [unicodedata.normalize("NFD", text) for text in TEXTS], ids=[one.id for one in documents()]
    )
    for query in QUERIES:
        expected = [(one.id, one.metadata["relevance_score"]) for one in retriever.invoke(query)]
        for asked, form in [(retriever, unicodedata.normalize("NFD", query)), (nfd, query)]:
            found = asked.invoke(form)
            assert [(one.id, one.metadata["relevance_score"]) for one in found] == expected


@pytest.mark.slow
def test_a_megabyte(retriever: KlueRetriever) -> None:
    huge = "수도 요금 고지서를 확인하십시오. " * 50_000 + "분실물은 3층 안내대에 있습니다."
    big = KlueRetriever.from_documents([*documents(), Document(huge, id="huge")])
    assert big.invoke(QUESTION, k=1)[0].id == "d0"
    assert big.invoke("분실물은 어디에 있나요?", k=1)[0].id == "huge"


# --- options as fields and per call -------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "count"), [(0, 0), (1, 1), (6, 6), (1000, 6)])
@pytest.mark.parametrize("search_type", ["hybrid", "dense", "lexical"])
@pytest.mark.parametrize("reranked", [True, False], ids=["reranked", "first stage"])
def test_k(retriever: KlueRetriever, k: int, count: int, search_type: Any, reranked: bool) -> None:
    asked = retriever if reranked else retriever.model_copy(update={"reranker": None})
    found = asked.invoke(EVERYTHING, k=k, search_type=search_type)
    assert len(found) == count
    assert asked.model_copy(update={"k": k}).invoke(EVERYTHING, search_type=search_type) == found


def test_fetch_k_limits_what_the_reranker_sees(retriever: KlueRetriever) -> None:
    first = retriever.model_copy(update={"reranker": None})
    for fetch_k in (1, 3):
        candidates = {one.id for one in first.invoke(EVERYTHING, k=fetch_k)}
        per_call = retriever.invoke(EVERYTHING, k=1, fetch_k=fetch_k)
        assert {one.id for one in per_call} <= candidates
        assert retriever.model_copy(update={"fetch_k": fetch_k}).invoke(EVERYTHING, k=1) == per_call
    assert len(retriever.invoke(EVERYTHING, k=5, fetch_k=2)) == 5


@pytest.mark.parametrize("reranked", [True, False], ids=["reranked", "first stage"])
def test_score_threshold(retriever: KlueRetriever, reranked: bool) -> None:
    asked = retriever if reranked else retriever.model_copy(update={"reranker": None})
    everything = asked.invoke(EVERYTHING, k=6)
    threshold = everything[2].metadata["relevance_score"]
    expected = [one for one in everything if one.metadata["relevance_score"] >= threshold]
    assert asked.invoke(EVERYTHING, k=6, score_threshold=threshold) == expected
    assert asked.model_copy(update={"score_threshold": threshold}).invoke(EVERYTHING, k=6) == expected


def test_the_rerankers_own_threshold_counts(retriever: KlueRetriever) -> None:
    everything = retriever.invoke(EVERYTHING, k=6)
    threshold = sorted(one.metadata["rerank_score"] for one in everything)[3]
    strict = retriever.model_copy(update={"reranker": KlueReranker(score_threshold=threshold)})
    expected = [one for one in everything if one.metadata["rerank_score"] >= threshold]
    assert len(expected) == 3
    assert strict.invoke(EVERYTHING, k=6) == expected
    all_same(strict.batch([EVERYTHING], k=6), [expected])


def test_the_rerankers_own_top_n_does_not_cut_k(retriever: KlueRetriever) -> None:
    asked = retriever.model_copy(update={"reranker": KlueReranker(top_n=1)})
    assert len(asked.invoke(EVERYTHING, k=6)) == 6


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"number": 3}, {"d3"}),
        ({"number": [1, 4]}, {"d1", "d4"}),
        ({"missing": 1}, set()),
        (lambda one: "신고" in one.page_content, {"d0"}),
    ],
)
@pytest.mark.parametrize("search_type", ["hybrid", "dense", "lexical"])
def test_filter(retriever: KlueRetriever, condition: Any, expected: set[str], search_type: Any) -> None:
    found = retriever.invoke(EVERYTHING, k=6, filter=condition, search_type=search_type)
    assert {one.id for one in found} == expected


def test_dense_weight_moves_hybrid_between_the_two(retriever: KlueRetriever) -> None:
    first = retriever.model_copy(update={"reranker": None})

    def order(**update: Any) -> list[str | None]:
        return [one.id for one in first.model_copy(update=update).invoke(EVERYTHING, k=6)]

    assert order(dense_weight=0.0) == order(search_type="lexical")
    assert order(dense_weight=100.0) == order(search_type="dense")
    assert order(search_type="lexical") != order(search_type="dense")


@pytest.mark.parametrize(
    "wrong",
    [
        {"topk": 3},
        {"top_n": 3},
        {"k": -1},
        {"k": "many"},
        {"fetch_k": 0},
        {"score_threshold": 1.2},
        {"search_type": "bm25"},
        {"dense_weight": -1},
        {"reranker": "BAAI/bge-reranker-v2-m3"},
        {"embeddings": "BAAI/bge-m3"},
        {"sources": []},
    ],
    ids=str,
)
def test_wrong_fields_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        KlueRetriever(**wrong)
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        KlueRetriever.from_texts(TEXTS, **wrong)


async def keep_none(document: Document) -> bool:
    return False


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"k": -1}, ValueError),
        ({"k": 2.5}, ValueError),
        ({"fetch_k": -1}, ValueError),
        ({"score_threshold": -0.1}, ValueError),
        ({"score_threshold": float("nan")}, ValueError),
        ({"score_threshold": "0.5"}, ValueError),
        ({"search_type": "bm25"}, ValueError),
        ({"filter": "number == 3"}, TypeError),
        pytest.param({"filter": keep_none}, TypeError, id="async"),  # what it returns is true for every document
        ({"topk": 3}, TypeError),
        ({"top_n": 3}, TypeError),
    ],
    ids=str,
)
async def test_wrong_arguments_of_a_call_are_refused(
    retriever: KlueRetriever, wrong: dict[str, Any], error: type[Exception]
) -> None:
    name = next(iter(wrong))
    with pytest.raises(error, match=name):
        retriever.invoke(QUESTION, **wrong)
    with pytest.raises(error, match=name):
        await retriever.ainvoke(QUESTION, **wrong)
    with pytest.raises(error, match=name):
        retriever.batch([QUESTION, QUESTION], **wrong)
    with pytest.raises(error, match=name):
        await retriever.abatch([QUESTION, QUESTION], **wrong)
    for result in retriever.batch([QUESTION, QUESTION], return_exceptions=True, **wrong):
        assert isinstance(result, error)


@pytest.mark.parametrize(("built", "refused"), [("lexical", ["dense", "hybrid"]), ("dense", ["lexical", "hybrid"])])
def test_a_search_that_the_index_was_not_built_for(built: Any, refused: list[Any], tmp_path: Path) -> None:
    retriever = KlueRetriever.from_documents(documents(), search_type=built)
    retriever.save(tmp_path)
    for asked in (retriever, KlueRetriever.load(tmp_path)):
        assert asked.invoke(QUESTION)[0].id == "d0"
        for search_type in refused:
            with pytest.raises(ValueError, match=f"{search_type}.*not possible"):
                asked.invoke(QUESTION, search_type=search_type)


# --- the index ----------------------------------------------------------------------------------------------------


def test_ids_are_made_where_missing() -> None:
    retriever = KlueRetriever.from_texts(TEXTS)
    ids = {one.id for one in retriever.invoke(EVERYTHING, k=6)}
    assert len(ids) == 6
    assert retriever.delete([str(one) for one in ids]) == 6
    with pytest.raises(ValueError, match="1 ids for 2"):
        KlueRetriever.from_texts(["하나", "둘"], ids=["1"])
    with pytest.raises(ValueError, match="1 metadatas for 2"):
        KlueRetriever.from_texts(["하나", "둘"], [{}])


def test_a_broken_embedding_model_leaves_the_index_as_it_was() -> None:
    retriever = KlueRetriever.from_documents(documents(), embeddings=BrokenEmbeddings("분실"))
    before = retriever.invoke(EVERYTHING, k=6)
    with pytest.raises(ModelOutputError, match="NaN"):
        retriever.add_documents([Document("다른 글", id="d0"), Document("여권 분실", id="new")])
    assert retriever.invoke(EVERYTHING, k=6) == before
    with pytest.raises(ModelOutputError, match="NaN"):
        retriever.invoke("분실 신고")


async def test_batches_give_exceptions_where_asked_for() -> None:
    retriever = KlueRetriever.from_documents(documents(), embeddings=BrokenEmbeddings("분실"))
    good, exact = retriever.invoke(QUESTION), retriever.invoke("제14조 14일")  # what is exact has more lexical weight
    with pytest.raises(ModelOutputError):
        retriever.batch([QUESTION, "분실 신고"])
    with pytest.raises(ModelOutputError):
        await retriever.abatch([QUESTION, "분실 신고"])
    queries: list[Any] = [QUESTION, "분실 신고", "", None, "제14조 14일"]
    for result in (
        retriever.batch(queries, return_exceptions=True),
        await retriever.abatch(queries, return_exceptions=True),
    ):
        assert result[0] == good
        assert isinstance(result[1], ModelOutputError)
        assert result[2] == []
        assert isinstance(result[3], TypeError)
        all_same([result[4]], [exact])


def test_another_model_is_refused_on_loading(tmp_path: Path) -> None:
    foreign().save(tmp_path)
    with pytest.raises(ModelMismatchError, match="written with the model"):
        KlueRetriever.load(tmp_path)
    loaded = KlueRetriever.load(tmp_path, embeddings=BigramEmbeddings())
    assert loaded.invoke(QUESTION) == foreign().invoke(QUESTION)


def test_a_lexical_index_is_of_no_model(tmp_path: Path) -> None:
    KlueRetriever.from_documents(documents(), search_type="lexical").save(tmp_path)
    loaded = KlueRetriever.load(tmp_path, embeddings=BigramEmbeddings(), k=1)
    assert [one.id for one in loaded.invoke(QUESTION)] == ["d0"]


def test_the_lexical_part_can_be_opened_by_the_bm25_retriever(tmp_path: Path, retriever: KlueRetriever) -> None:
    retriever.save(tmp_path)
    bm25 = KlueBM25Retriever.load(tmp_path, k=2)
    expected = retriever.model_copy(update={"reranker": None}).invoke(QUESTION, k=2, search_type="lexical")
    assert bm25.invoke(QUESTION) == expected


def test_settings_are_kept(tmp_path: Path) -> None:
    KlueRetriever.from_documents(documents(), kiwi=False, title_key="name", search_type="lexical").save(tmp_path)
    loaded = KlueRetriever.load(tmp_path, k=2, reranker=None)
    assert (loaded.kiwi, loaded.title_key, loaded.search_type, loaded.k, loaded.reranker) == (
        False,
        "name",
        "lexical",
        2,
        None,
    )
    with pytest.raises(ValidationError, match="topk"):
        KlueRetriever.load(tmp_path, topk=3)


def test_the_best_window_of_a_long_document_counts(tmp_path: Path) -> None:
    text = (
        "도서관은 월요일에 쉽니다. " * 30
        + "자전거 보관소 열쇠는 경비실에서 빌립니다. "
        + "주차장은 밤에 닫습니다. " * 30
    )
    given = [*documents(), Document(text, id="long", metadata={"title": "아파트 안내"})]
    query, scores = "자전거 열쇠를 빌리는 곳", {}
    for words in (None, "auto", 8):
        retriever = KlueRetriever.from_documents(given, window_words=words, reranker=None, k=1)
        for kind in ("dense", "hybrid"):
            found = {one.id: one.metadata["relevance_score"] for one in retriever.invoke(query, search_type=kind, k=7)}
            scores[words, kind] = found["long"]
        retriever.save(tmp_path / str(words))
        loaded = KlueRetriever.load(tmp_path / str(words), reranker=None, k=1)
        assert loaded.window_words == {"auto": 50}.get(str(words), words)
        assert loaded.invoke(query) == retriever.invoke(query)
        loaded.add_documents([Document(text, id="again", metadata={"title": "아파트 안내"})])
        found = {one.id: one.metadata["relevance_score"] for one in loaded.invoke(query, k=8)}
        assert found["again"] == pytest.approx(found["long"], abs=1e-6)  # in the same windows
    for kind in ("dense", "hybrid"):
        assert scores[None, kind] < scores["auto", kind] < scores[8, kind]


# --- rerankers ----------------------------------------------------------------------------------------------------


async def test_a_foreign_reranker() -> None:
    retriever = foreign(reranker=LengthReranker())
    found = retriever.invoke(EVERYTHING, k=3)
    shortest = sorted(documents(), key=lambda one: (len(one.page_content), one.page_content))[:3]
    assert [one.id for one in found] == [one.id for one in shortest]
    assert all({"relevance_score", "first_stage_score", "number"} == set(one.metadata) for one in found)
    assert await retriever.ainvoke(EVERYTHING, k=3) == found
    assert retriever.batch([EVERYTHING, ""], k=3) == [found, []]
    assert await retriever.abatch([EVERYTHING, ""], k=3) == [found, []]
    threshold = found[1].metadata["relevance_score"]
    assert retriever.invoke(EVERYTHING, score_threshold=threshold) == found[:2]


def test_a_foreign_reranker_may_give_one_by_one_and_scores_of_numpy() -> None:
    class Generator(LengthReranker):  # as FlashRank, which leaves np.float32
        def compress_documents(self, documents: Any, query: str, callbacks: Any = None) -> Any:
            for one in super().compress_documents(documents, query, callbacks):
                one.metadata["relevance_score"] = np.float32(one.metadata["relevance_score"])
                yield one

    retriever = foreign(reranker=Generator())
    found = retriever.invoke(EVERYTHING, score_threshold=0.001, k=3)
    assert [one.id for one in found] == [one.id for one in foreign(reranker=LengthReranker()).invoke(EVERYTHING, k=3)]
    assert all(json.loads(json.dumps(one.metadata))["relevance_score"] > 0 for one in found)


def test_a_hub_style_folder_as_reranker(klue_cross_encoder_folder: Path) -> None:
    reranker = KlueReranker(model=str(klue_cross_encoder_folder), model_kwargs={"device": "cpu"})
    retriever = foreign(reranker=reranker, rerank_weight=1.0)
    found = retriever.invoke(EVERYTHING, k=6)
    first = foreign(reranker=None).invoke(EVERYTHING, k=6)
    expected = reranker.model_copy(update={"top_n": None}).compress_documents(first, EVERYTHING)
    assert [one.id for one in found] == [one.id for one in expected]
    all_same(retriever.batch([EVERYTHING, QUESTION], k=6), [found, retriever.invoke(QUESTION, k=6)])


def test_hub_style_folders_for_both_stages(klue_bi_encoder_folder: Path, klue_cross_encoder_folder: Path) -> None:
    retriever = KlueRetriever.from_documents(
        documents(),
        embeddings=KlueEmbeddings(model=str(klue_bi_encoder_folder), model_kwargs={"device": "cpu"}),
        reranker=KlueReranker(model=str(klue_cross_encoder_folder), model_kwargs={"device": "cpu"}),
    )
    assert len(retriever.invoke(QUESTION)) == 4


# --- sources ------------------------------------------------------------------------------------------------------


def in_memory() -> InMemoryVectorStore:
    return InMemoryVectorStore.from_documents(documents(), BigramEmbeddings())


def community_faiss() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("langchain_community")
        from langchain_community.vectorstores import FAISS

        return FAISS.from_documents(documents(), BigramEmbeddings(), ids=[str(one.id) for one in documents()])


def classic_bm25() -> Any:
    """community's BM25 needs rank-bm25; any other retriever will do, here our own over documents without ids."""
    return ListRetriever(found=[Document(text) for text in TEXTS])


SOURCES = {
    "InMemoryVectorStore": lambda: [in_memory()],
    "community FAISS": lambda: [community_faiss()],
    "KlueVectorStore": lambda: [KlueVectorStore.from_documents(documents(), BigramEmbeddings())],
    "a retriever": lambda: [KlueBM25Retriever.from_documents(documents(), k=30)],
    "vector store as retriever": lambda: [in_memory().as_retriever(search_kwargs={"k": 6})],
    "our retriever": lambda: [foreign(reranker=None, k=6)],
    "both fused": lambda: [in_memory(), KlueBM25Retriever.from_documents(documents(), k=30)],
    "without ids": lambda: [in_memory(), classic_bm25()],
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
async def test_sources(make: Any) -> None:
    sources = make()
    retriever = KlueRetriever(sources=sources, k=6)
    found = retriever.invoke(EVERYTHING)
    assert sorted(one.page_content for one in found) == sorted(TEXTS)
    scores = [one.metadata["relevance_score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < one.metadata["first_stage_score"] <= 1 for one in found)
    assert retriever.invoke(QUESTION, k=1)[0].page_content == TEXTS[0]
    assert await retriever.ainvoke(EVERYTHING) == found
    assert retriever.batch([EVERYTHING, "", QUESTION]) == [found, [], retriever.invoke(QUESTION)]
    assert await retriever.abatch([EVERYTHING, "", QUESTION]) == [found, [], retriever.invoke(QUESTION)]
    assert retriever.invoke(" ") == []
    assert len(retriever.invoke(EVERYTHING, k=2)) == 2
    assert retriever.invoke(EVERYTHING, k=0) == []
    assert len(retriever.invoke(EVERYTHING, k=2, score_threshold=1.0)) <= 2


def test_a_single_source_keeps_its_order() -> None:
    found = KlueRetriever(sources=[in_memory()], reranker=None, k=6).invoke(QUESTION)
    assert [one.id for one in found] == [one.id for one in in_memory().similarity_search(QUESTION, k=6)]
    scores = [one.metadata["relevance_score"] for one in found]
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)


def test_what_two_sources_find_comes_before_what_one_finds() -> None:
    given = documents()
    first, second = ListRetriever(found=given[:3]), ListRetriever(found=[given[2], given[3]])
    found = KlueRetriever(sources=[first, second], reranker=None).invoke(QUESTION)
    assert found[0].id == "d2"
    assert sorted(str(one.id) for one in found) == ["d0", "d1", "d2", "d3"]


def test_a_source_that_finds_nothing() -> None:
    nothing = ListRetriever(found=[])
    assert KlueRetriever(sources=[nothing]).invoke(QUESTION) == []
    assert KlueRetriever(sources=[nothing, in_memory()]).invoke(QUESTION, k=1)[0].id == "d0"


async def test_a_source_that_gives_no_documents_is_named() -> None:
    for wrong in (None, TEXTS[0], [TEXTS[0]], 3):
        retriever = KlueRetriever(sources=[ListRetriever.model_construct(found=wrong)])
        with pytest.raises(TypeError, match=r"ListRetriever returned .* expected .*Documents"):
            retriever.invoke(QUESTION)
        with pytest.raises(TypeError, match=r"ListRetriever returned .* expected .*Documents"):
            await retriever.ainvoke(QUESTION)
    one_by_one = KlueRetriever(sources=[ListRetriever.model_construct(found=(one for one in documents()))])
    assert one_by_one.invoke(QUESTION, k=1)[0].id == "d0"


@dataclasses.dataclass
class OwnStore(VectorStore):
    """Somebody's store: it has no hash, and its index asks a server that is away."""

    found: list[Document]

    @property
    def index(self) -> Any:
        raise RuntimeError("no connection")

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        return self.found[:k]

    @classmethod
    def from_texts(cls, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


async def test_a_store_of_somebody_elses_class_is_asked_for_nothing_else() -> None:
    retriever = KlueRetriever(sources=[OwnStore(documents())])
    assert retriever.invoke(QUESTION, k=1)[0].id == "d0"
    assert (await retriever.ainvoke(QUESTION, k=1))[0].id == "d0"


async def test_a_filter_holds_for_every_source() -> None:
    def wanted(document: Document) -> bool:
        return document.metadata["number"] in (1, 2)

    sources = [in_memory(), ListRetriever(found=documents())]
    retriever = KlueRetriever(sources=sources)
    assert {one.id for one in retriever.invoke(EVERYTHING, filter=wanted)} == {"d1", "d2"}
    assert {one.id for one in await retriever.ainvoke(EVERYTHING, filter=wanted)} == {"d1", "d2"}


class TestOwnWordsBesideSources:
    """Vectors live in a foreign store, the words of the same documents in our own index."""

    async def test_both_find_and_nothing_is_doubled(self) -> None:
        given = documents()
        # the store knows the first three, the own index the last four
        store = InMemoryVectorStore.from_documents(given[:3], BigramEmbeddings())
        retriever = KlueRetriever.from_documents(given[2:], sources=[store], k=6)
        found = retriever.invoke(EVERYTHING)
        assert sorted(str(one.id) for one in found) == ["d0", "d1", "d2", "d3", "d4", "d5"]
        assert retriever.invoke(QUESTION, k=1)[0].id == "d0"
        assert retriever.invoke("세탁기가 탈수할 때 흔들려요", k=1)[0].id == "d4"
        assert await retriever.ainvoke(EVERYTHING) == found
        assert retriever.batch([EVERYTHING, ""]) == [found, []]

    @pytest.mark.parametrize("held", [0, 3, 8], ids=["words of others", "words of some", "words of all"])
    @pytest.mark.parametrize("kind", ["a store", "without ids", "a retriever", "with one by chance"])
    def test_questions_in_other_words_find_the_same_as_in_an_index_of_its_own(self, kind: str, held: int) -> None:
        given = [Document(text, id=f"w{number}") for number, text in enumerate(WORKPLACE)]
        embeddings = KlueEmbeddings()
        anonymous = [Document(text) for text in WORKPLACE]
        store = InMemoryVectorStore.from_documents(anonymous if kind == "without ids" else given, embeddings)
        sources: list[Any] = [store.as_retriever(search_kwargs={"k": 8}) if kind == "a retriever" else store]
        if kind == "with one by chance":
            sources.append(ListRetriever(found=[given[number] for number in (1, 6, 3, 0, 5)]))
        words = [*given[:held], *documents()]  # nothing that a question asks for is in the others
        beside = KlueRetriever.from_documents(words, sources=sources, k=8)
        for question, answer in IN_OTHER_WORDS.items():
            assert beside.invoke(question)[0].page_content == WORKPLACE[answer], question

    def test_a_candidate_has_the_scores_of_an_index_of_its_own_whoever_found_it(self) -> None:
        given = documents()
        expected = {one.id: one.metadata for one in KlueRetriever.from_documents(given, k=6).invoke(QUESTION)}
        for found in (given, [Document(text) for text in TEXTS], given[3:]):
            beside = KlueRetriever.from_documents(given, sources=[ListRetriever(found=found)], k=6)
            for one in beside.invoke(QUESTION):
                own = expected.get(f"d{TEXTS.index(one.page_content)}")
                if own is None:  # nothing in common with the question
                    continue
                assert one.metadata["rerank_score"] == pytest.approx(own["rerank_score"], abs=2e-3)
                # a place in a ranking adds a little
                assert (
                    own["first_stage_score"] - 0.02
                    < one.metadata["first_stage_score"]
                    < own["first_stage_score"] + 0.05
                )

    def test_the_confidence_is_that_of_an_index_of_its_own(self) -> None:
        given = [Document(text, id=f"w{number}") for number, text in enumerate(WORKPLACE)] + documents()
        plain = KlueRetriever.from_documents(given)
        for source in (ListRetriever(found=given[::-1]), InMemoryVectorStore.from_documents(given, KlueEmbeddings())):
            beside = KlueRetriever.from_documents(given, sources=[source])
            for question in (*IN_OTHER_WORDS, QUESTION, "주차장은 몇 시까지 여나요?"):
                assert beside.confidence(question) == pytest.approx(plain.confidence(question), abs=0.05)
        assert KlueRetriever(sources=[ListRetriever(found=given)]).confidence(QUESTION) is None

    @pytest.mark.parametrize(("search_type", "expected"), [("dense", {"d0"}), ("lexical", {"d1"})])
    def test_either_can_be_asked_alone(self, search_type: Any, expected: set[str]) -> None:
        given = documents()
        retriever = KlueRetriever.from_documents(given[1:2], sources=[ListRetriever(found=given[:1])])
        assert {one.id for one in retriever.invoke("여권 전입신고", search_type=search_type)} == expected
        assert {one.id for one in retriever.invoke("여권 전입신고")} == {"d0", "d1"}

    def test_documents_come_back_as_they_were_added(self) -> None:
        given = documents(tags=["원본"])
        changed = [Document(one.page_content, id=one.id, metadata={"pk": one.id}) for one in given]
        retriever = KlueRetriever.from_documents(given, sources=[ListRetriever(found=changed)], reranker=None, k=6)
        for found in retriever.invoke(QUESTION):
            assert found.metadata.pop("relevance_score") > 0
            assert found in given

    def test_an_id_that_means_another_text_in_a_source_is_not_confused(self) -> None:
        other = Document("여권 사진은 여섯 달 안에 찍은 것이어야 합니다.", id="d0")
        retriever = KlueRetriever.from_documents(documents(), sources=[ListRetriever(found=[other])], k=6)
        texts = [one.page_content for one in retriever.invoke("전입신고와 여권 사진")]
        assert other.page_content in texts
        assert TEXTS[0] in texts

    def test_the_same_scores_with_and_without_tokens_at_hand(self) -> None:
        anonymous = [Document(text) for text in TEXTS]
        with_tokens, without = (
            KlueRetriever.from_documents(documents()[:1], sources=[ListRetriever(found=found)], k=6).invoke(QUESTION)
            for found in (documents()[:1], anonymous[:1])
        )
        assert with_tokens == without

    def test_sources_are_never_written_to(self) -> None:
        store = InMemoryVectorStore(BigramEmbeddings())
        retriever = KlueRetriever.from_documents(documents(), sources=[store])
        assert len(retriever) == 6
        assert store.store == {}
        assert retriever.delete(["d0"]) == 1
        assert "d0" not in {one.id for one in retriever.invoke(QUESTION, k=6)}

    def test_only_words_are_kept_and_saved(self, tmp_path: Path) -> None:
        retriever = KlueRetriever.from_documents(
            documents(), embeddings=BrokenEmbeddings("신고"), sources=[in_memory()]
        )
        retriever.save(tmp_path / "index")
        assert not list((tmp_path / "index").rglob("vectors.npy"))
        loaded = KlueRetriever.load(tmp_path / "index", sources=[in_memory()])
        assert loaded.search_type == "hybrid"
        same(loaded.invoke(QUESTION), retriever.invoke(QUESTION))
        assert KlueRetriever.load(tmp_path / "index").search_type == "lexical"

    async def test_a_filter_holds_for_both(self) -> None:
        retriever = KlueRetriever.from_documents(documents(), sources=[in_memory()], k=6)
        for condition in ({"number": [1, 2]}, lambda document: document.metadata["number"] in (1, 2)):
            assert {one.id for one in retriever.invoke(EVERYTHING, filter=condition)} == {"d1", "d2"}
            assert {one.id for one in await retriever.ainvoke(EVERYTHING, filter=condition)} == {"d1", "d2"}


async def test_a_failing_source_is_not_hidden() -> None:
    class Failing(ListRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            raise ConnectionError("the search server is down")

    retriever = KlueRetriever(sources=[in_memory(), Failing(found=[])])
    with pytest.raises(ConnectionError):
        retriever.invoke(QUESTION)
    with pytest.raises(ConnectionError):
        await retriever.ainvoke(QUESTION)


# --- batches, async, threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"k": 2, "search_type": "lexical"}, {"filter": {"number": [0, 1]}}], ids=str)
@pytest.mark.parametrize("reranked", [True, False], ids=["reranked", "first stage"])
async def test_batch_abatch_and_ainvoke_give_the_same_as_invoke(
    retriever: KlueRetriever, arguments: dict[str, Any], reranked: bool
) -> None:
    asked = retriever if reranked else retriever.model_copy(update={"reranker": None})
    expected = [asked.invoke(query, **arguments) for query in QUERIES]
    assert expected[2] == expected[5] == []
    all_same(asked.batch(QUERIES, **arguments), expected)
    all_same(asked.batch(QUERIES, return_exceptions=True, **arguments), expected)
    all_same(asked.batch(QUERIES, {"max_concurrency": 1}, **arguments), expected)
    all_same(await asked.abatch(QUERIES, **arguments), expected)
    assert [await asked.ainvoke(query, **arguments) for query in QUERIES] == expected


async def test_batches_without_a_query_to_answer(retriever: KlueRetriever) -> None:
    assert retriever.batch([]) == []
    assert await retriever.abatch([]) == []
    assert retriever.batch(["", " "]) == [[], []]


def test_every_query_of_a_batch_has_its_run(retriever: KlueRetriever) -> None:
    recorders = [Recorder(), Recorder()]
    configs: Any = [{"callbacks": [recorder]} for recorder in recorders]
    answers = retriever.batch(QUERIES[:2], configs)
    for recorder, query, answer in zip(recorders, QUERIES, answers, strict=False):
        run = recorder.run("KlueRetriever")
        assert recorder.started[run]["inputs"] == query
        assert recorder.ended[run] == answer


async def test_a_callback_that_asks_the_retriever_during_its_batch_gets_its_own_answer(
    retriever: KlueRetriever,
) -> None:
    other = QUERIES[1]
    expected = retriever.invoke(other)
    heard: list[list[Document]] = []

    class Asks(BaseCallbackHandler):
        run_inline = True

        def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
            heard.append(retriever.invoke(other, {"callbacks": []}))

    class AsksAsync(AsyncCallbackHandler):
        async def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
            heard.append(await retriever.ainvoke(other, {"callbacks": []}))

    answers = retriever.batch([QUESTION, QUESTION], {"callbacks": [Asks()]})
    answers += await retriever.abatch([QUESTION, QUESTION], {"callbacks": [AsksAsync()]})
    assert [one[0].id for one in answers] == ["d0"] * 4
    assert len(heard) == 4
    all_same(heard, [expected] * 4)


async def test_the_queries_of_a_batch_may_come_one_by_one(retriever: KlueRetriever) -> None:
    queries: Any = (query for query in QUERIES[:2])
    assert len(retriever.batch(queries)) == 2
    queries = (query for query in QUERIES[:2])
    assert len(await retriever.abatch(queries)) == 2


@pytest.mark.parametrize(
    "make", [lambda: foreign(), lambda: KlueRetriever(sources=[in_memory()])], ids=["own", "sources"]
)
async def test_the_trace_shows_the_reranking(make: Any) -> None:
    retriever = make()
    for call in ("sync", "async"):
        recorder = Recorder()
        config: Any = {"callbacks": [recorder]}
        found = retriever.invoke(QUESTION, config) if call == "sync" else await retriever.ainvoke(QUESTION, config)
        parent, child = recorder.run("KlueRetriever"), recorder.run("KlueReranker")
        assert recorder.started[child]["parent"] == parent
        assert recorder.started[child]["inputs"]["query"] == QUESTION
        assert recorder.ended[child]["documents"] == recorder.ended[parent] == found


def test_threads_give_the_same(retriever: KlueRetriever) -> None:
    expected = [retriever.invoke(query) for query in QUERIES * 3]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(retriever.invoke, QUERIES * 3)) == expected


def test_searching_while_documents_come_and_go() -> None:
    retriever = KlueRetriever.from_documents(documents())
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            retriever.add_documents([Document(f"임시 공지 {number}", id=f"t{number % 3}")])
            retriever.delete([f"t{(number + 1) % 3}"])
            number += 1

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        try:
            for _ in range(30):
                assert retriever.invoke(QUESTION, k=1)[0].id == "d0"
        finally:
            stop.set()
        changing.result()


async def test_many_tasks_at_once_give_the_same(retriever: KlueRetriever) -> None:
    expected = [retriever.invoke(query) for query in QUERIES]
    assert await asyncio.gather(*(retriever.ainvoke(query) for query in QUERIES)) == expected


def test_two_stores_with_ids_of_their_own_give_a_text_once() -> None:
    texts = ["전입신고는 14일 안에 합니다.", "여권은 구청에서 만듭니다."]
    sources = [KlueBM25Retriever.from_texts(texts), KlueBM25Retriever.from_texts(texts)]
    found = KlueRetriever(sources=sources, reranker=None).invoke("전입신고와 여권")
    assert sorted(document.page_content for document in found) == sorted(texts)


def test_a_text_that_one_source_has_twice_stays_twice() -> None:
    source = KlueBM25Retriever.from_texts(["같은 글입니다.", "같은 글입니다."], ids=["하나", "둘"])
    found = KlueRetriever(sources=[source], reranker=None).invoke("같은 글")
    assert {document.id for document in found} == {"하나", "둘"}


@pytest.mark.parametrize("field", [{"kiwi": False}, {"title_key": None}, {"window_words": 20}])
def test_loading_refuses_what_the_index_decides(tmp_path: Path, field: dict[str, Any]) -> None:
    KlueRetriever.from_documents(documents(), search_type="lexical", reranker=None).save(tmp_path / "index")
    with pytest.raises(ValueError, match=next(iter(field))):
        KlueRetriever.load(tmp_path / "index", reranker=None, **field)


async def test_documents_are_read_back_and_added_without_blocking() -> None:
    retriever = KlueRetriever.from_documents(documents(), reranker=None)
    assert [one.id for one in retriever.documents()] == [one.id for one in documents()]
    assert [one.id for one in retriever.get_by_ids(["d2", "없음", "d0"])] == ["d2", "d0"]
    assert await retriever.aadd_documents([Document("도서관은 월요일에 쉽니다.")], ids=["new"]) == ["new"]
    assert retriever.get_by_ids(["new"])[0].page_content == "도서관은 월요일에 쉽니다."
    with pytest.raises(TypeError, match=r"ids=.*one string"):
        retriever.get_by_ids("d0")


def test_the_index_is_no_field_and_assigned_values_are_checked() -> None:
    retriever = KlueRetriever.from_documents(documents(), reranker=None)
    assert "index" not in KlueRetriever.model_fields
    with pytest.raises(ValueError, match="index"):
        KlueRetriever(index=retriever._index)
    retriever.k = 2
    for name, wrong in (("k", -1), ("fetch_k", 0), ("search_type", "exact"), ("rerank_weight", 2.0)):
        with pytest.raises(ValueError, match=name):
            setattr(retriever, name, wrong)
    assert len(retriever.invoke(QUESTION)) == 2


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    retriever = KlueRetriever.from_documents(documents(), k=np.int64(2))
    assert len(retriever.invoke(QUESTION)) == 2
    assert len(retriever.invoke(QUESTION, k=np.int32(3), fetch_k=np.uint8(4))) == 3
    assert len(KlueReranker().rerank(TEXTS, QUESTION, top_n=np.int64(2))) == 2
    for wrong in (True, 2.0, np.float64(2), "2"):
        with pytest.raises(ValueError, match="k="):
            retriever.invoke(QUESTION, k=wrong)
