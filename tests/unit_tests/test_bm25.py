"""KlueBM25Retriever."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from pydantic import ValidationError

from langchain_klue_rerank import KlueBM25Retriever, KlueRetriever, KlueVectorStore
from langchain_klue_rerank.errors import IndexFormatError
from tests.unit_tests.fakes import QUESTION, TEXTS, BigramEmbeddings, Recorder, documents
from tests.unit_tests.index_suite import IndexTests


@pytest.fixture(params=[True, False], ids=["kiwi", "bigrams"])
def retriever(request: pytest.FixtureRequest) -> KlueBM25Retriever:
    return KlueBM25Retriever.from_documents(documents(), kiwi=request.param)


class TestIndex(IndexTests):
    def build(self, given: list[Document]) -> KlueBM25Retriever:
        return KlueBM25Retriever.from_documents(given)

    def load(self, folder: Path) -> KlueBM25Retriever:
        return KlueBM25Retriever.load(folder)

    def ask(self, index: KlueBM25Retriever, query: str = QUESTION, **how: Any) -> list[Document]:
        return index.invoke(query, **how)


def test_finds_by_words_whatever_their_endings(retriever: KlueBM25Retriever) -> None:
    for query, answer in [
        ("전입신고를 해야 하나요", "d0"),
        ("여권이요", "d1"),
        ("도서관에서 책 빌리기", "d3"),
        ("세탁기", "d4"),
    ]:
        assert retriever.invoke(query)[0].id == answer


def test_scores_fall_and_lie_in_0_to_1(retriever: KlueBM25Retriever) -> None:
    found = [one.metadata["relevance_score"] for one in retriever.invoke(" ".join(TEXTS), k=6)]
    assert len(found) == 6
    assert found == sorted(found, reverse=True)
    assert all(type(score) is float and 0 < score <= 1 for score in found)


def test_only_what_shares_a_word_is_found(retriever: KlueBM25Retriever) -> None:
    assert retriever.invoke("바이올린 협주곡") == []
    assert [one.id for one in retriever.invoke("세탁기", k=6)] == ["d4"]


@pytest.mark.parametrize(("k", "count"), [(0, 0), (1, 1), (6, 6), (100, 6)])
def test_k_as_field_and_argument(retriever: KlueBM25Retriever, k: int, count: int) -> None:
    query = " ".join(TEXTS)
    assert len(retriever.invoke(query, k=k)) == count
    assert len(KlueBM25Retriever.from_documents(documents(), k=k, kiwi=retriever.kiwi).invoke(query)) == count


@pytest.mark.parametrize("k", [-1, 1.5, "2"], ids=repr)
def test_a_k_that_is_no_count_is_refused(retriever: KlueBM25Retriever, k: Any) -> None:
    with pytest.raises(ValueError, match="k="):
        retriever.invoke(QUESTION, k=k)
    if k != "2":  # pydantic reads the field's "2" as 2
        with pytest.raises(ValidationError, match="k"):
            KlueBM25Retriever(k=k)


@pytest.mark.parametrize("wrong", [{"topk": 3}, {"preprocess_func": str.split}, {"title": "x"}], ids=str)
def test_misspelt_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        KlueBM25Retriever(**wrong)
    with pytest.raises(TypeError, match=next(iter(wrong))):
        KlueBM25Retriever.from_documents(documents()).invoke(QUESTION, **wrong)


def test_nfd_finds_the_same_as_nfc(retriever: KlueBM25Retriever) -> None:
    nfd = KlueBM25Retriever.from_texts(
        [unicodedata.normalize("NFD", text) for text in TEXTS],
        [one.metadata for one in documents()],
        ids=[one.id for one in documents()],
        kiwi=retriever.kiwi,
    )
    expected = [(one.id, one.metadata) for one in retriever.invoke(QUESTION)]
    assert [(one.id, one.metadata) for one in nfd.invoke(QUESTION)] == expected
    assert [(one.id, one.metadata) for one in retriever.invoke(unicodedata.normalize("NFD", QUESTION))] == expected


def test_a_megabyte(retriever: KlueBM25Retriever) -> None:
    retriever.add_documents([Document("수도 요금 고지서 " * 100_000 + "끝단어", id="huge")])
    assert retriever.invoke("끝단어")[0].id == "huge"
    assert retriever.invoke(QUESTION)[0].id == "d0"


def test_filters(retriever: KlueBM25Retriever) -> None:
    query = " ".join(TEXTS)
    assert {one.id for one in retriever.invoke(query, k=9, filter={"number": [1, 2]})} == {"d1", "d2"}
    assert {one.id for one in retriever.invoke(query, k=9, filter=lambda one: one.id == "d5")} == {"d5"}
    with pytest.raises(TypeError, match="filter="):
        retriever.invoke(query, filter="number")


def test_titles_are_searched() -> None:
    given = [Document("문의는 102번.", id=title, metadata={"title": title}) for title in ("주차 등록", "여권 발급")]
    assert KlueBM25Retriever.from_documents(given).invoke("여권 발급")[0].id == "여권 발급"
    assert KlueBM25Retriever.from_documents(given, title_key=None).invoke("여권 발급") == []


async def test_batches_async_and_threads_give_the_same(retriever: KlueBM25Retriever) -> None:
    queries = [QUESTION, "", "여권", *TEXTS] * 2
    expected = [retriever.invoke(query) for query in queries]
    assert retriever.batch(queries) == expected
    assert await retriever.abatch(queries) == expected
    assert [await retriever.ainvoke(query) for query in queries] == expected
    some: Any = {"k": 9, "filter": {"number": [1, 2]}}
    assert await retriever.ainvoke(QUESTION, **some) == retriever.invoke(QUESTION, **some)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(retriever.invoke, queries)) == expected


def test_leaves_a_run_in_a_trace(retriever: KlueBM25Retriever) -> None:
    recorder = Recorder()
    found = retriever.invoke(QUESTION, {"callbacks": [recorder]})
    assert recorder.ended[recorder.run("KlueBM25Retriever")] == found


def test_settings_are_kept_and_fields_can_be_given(tmp_path: Path) -> None:
    KlueBM25Retriever.from_documents(documents(), kiwi=False, title_key=None).save(tmp_path)
    loaded = KlueBM25Retriever.load(tmp_path, k=1)
    assert (loaded.kiwi, loaded.title_key, loaded.k) == (False, None, 1)
    with pytest.raises(ValidationError, match="topk"):
        KlueBM25Retriever.load(tmp_path, topk=1)


def test_operators(retriever: KlueBM25Retriever) -> None:
    query = " ".join(TEXTS)

    def found(condition: dict[str, Any]) -> list[int]:
        return sorted(one.metadata["number"] for one in retriever.invoke(query, k=9, filter=condition))

    assert found({"number": {"$gte": 4}}) == [4, 5]
    assert found({"$or": [{"number": 1}, {"number": {"$in": [2, 3]}}]}) == [1, 2, 3]
    assert found({"$not": {"number": {"$lt": 5}}}) == [5]
    assert found({"number": {"plain": 1}}) == []
    with pytest.raises(ValueError, match=r'"\$gte": 1'):
        found({"number": {"gte": 1}})
    with pytest.raises(TypeError, match=r"'\$regex'"):
        found({"number": {"$regex": "1"}})


def test_what_an_index_lacks_is_said_before_anything_is_added(retriever: KlueBM25Retriever, tmp_path: Path) -> None:
    KlueVectorStore.from_documents(documents(), BigramEmbeddings()).save(tmp_path / "vectors")
    with pytest.raises(IndexFormatError, match="vectors only"):
        KlueBM25Retriever.load(tmp_path / "vectors")
    retriever.save(tmp_path / "words")
    with pytest.raises(IndexFormatError, match="without vectors"):
        KlueVectorStore.load(tmp_path / "words", BigramEmbeddings())
    KlueRetriever.from_documents(documents(), embeddings=BigramEmbeddings()).save(tmp_path / "both")
    with pytest.raises(ValueError, match=r"KlueRetriever\.load"):
        KlueBM25Retriever.load(tmp_path / "both").add_documents([Document("새 글")])
    with pytest.raises(ValueError, match=r"KlueRetriever\.load"):
        KlueVectorStore.load(tmp_path / "both", BigramEmbeddings()).add_texts(["새 글"])
