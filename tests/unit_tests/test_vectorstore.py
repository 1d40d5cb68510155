"""KlueVectorStore."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from langchain_klue_rerank import KlueVectorStore
from langchain_klue_rerank.errors import ModelMismatchError, ModelOutputError
from tests.unit_tests.fakes import QUESTION, TEXTS, BigramEmbeddings, BrokenEmbeddings, documents
from tests.unit_tests.index_suite import IndexTests


@pytest.fixture
def store() -> KlueVectorStore:
    return KlueVectorStore.from_documents(documents(), BigramEmbeddings())


class TestIndex(IndexTests):
    def build(self, given: list[Document]) -> KlueVectorStore:
        return KlueVectorStore.from_documents(given, BigramEmbeddings())

    def load(self, folder: Path) -> KlueVectorStore:
        return KlueVectorStore.load(folder, BigramEmbeddings())

    def ask(self, index: KlueVectorStore, query: str = QUESTION, **how: Any) -> list[Document]:
        return index.similarity_search(query, **{"k": 3, **how})


# --- search -------------------------------------------------------------------------------------------------------


def test_finds_the_nearest_first(store: KlueVectorStore) -> None:
    for number, text in enumerate(TEXTS):
        [(found, score)] = store.similarity_search_with_score(text, k=1)
        assert found == documents()[number]
        assert score == pytest.approx(1, abs=1e-5)


def test_scores_are_the_cosine_moved_to_0_to_1(store: KlueVectorStore) -> None:
    embeddings = BigramEmbeddings()
    query = embeddings.embed_query(QUESTION)
    found = store.similarity_search_with_score(QUESTION, k=6)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    for document, score in found:
        assert type(score) is float
        cosine = np.dot(query, embeddings.embed_query(document.page_content))
        assert score == pytest.approx((1 + cosine) / 2, abs=1e-5)


def test_all_methods_give_the_same_scores(store: KlueVectorStore) -> None:
    vector = BigramEmbeddings().embed_query(QUESTION)
    expected = store.similarity_search_with_score(QUESTION, k=4)
    assert store.similarity_search_with_relevance_scores(QUESTION, k=4) == expected
    assert store.similarity_search_with_score_by_vector(vector, k=4) == expected
    assert store.similarity_search(QUESTION) == [document for document, _ in expected]
    assert store.similarity_search_by_vector(vector) == [document for document, _ in expected]
    assert store.search(QUESTION, "similarity") == [document for document, _ in expected]


def test_the_length_of_a_vector_does_not_matter(store: KlueVectorStore) -> None:
    vector = np.asarray(BigramEmbeddings().embed_query(QUESTION))
    long = store.similarity_search_with_score_by_vector((100 * vector).tolist(), k=6)
    for (one, score), (other, expected) in zip(long, store.similarity_search_with_score(QUESTION, k=6), strict=True):
        assert one == other
        assert score == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("k", "count"), [(0, 0), (1, 1), (6, 6), (7, 6), (10_000, 6)])
def test_k(store: KlueVectorStore, k: int, count: int) -> None:
    assert len(store.similarity_search(QUESTION, k=k)) == count
    assert len(store.max_marginal_relevance_search(QUESTION, k=k, fetch_k=max(k, 1))) == count


@pytest.mark.parametrize("k", [-1, 2.5, "3", None, True], ids=repr)
def test_a_k_that_is_no_count_is_refused(store: KlueVectorStore, k: Any) -> None:
    with pytest.raises(ValueError, match="k="):
        store.similarity_search(QUESTION, k=k)
    with pytest.raises(ValueError, match="k="):
        store.max_marginal_relevance_search(QUESTION, k=k)


def test_nfd_finds_the_same_as_nfc() -> None:
    store = KlueVectorStore.from_documents(documents())
    nfd = KlueVectorStore.from_texts(
        [unicodedata.normalize("NFD", text) for text in TEXTS], ids=[str(one.id) for one in documents()]
    )
    for text in [QUESTION, *TEXTS]:
        expected = [(one.id, pytest.approx(score, abs=1e-5)) for one, score in store.similarity_search_with_score(text)]
        for searched, query in [(store, unicodedata.normalize("NFD", text)), (nfd, text)]:
            assert [(one.id, score) for one, score in searched.similarity_search_with_score(query)] == expected


# --- filters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"number": 3}, {"d3"}),
        ({"number": [1, 4, 99]}, {"d1", "d4"}),
        ({"number": [1, 4], "kind": "안내"}, {"d1", "d4"}),
        ({"number": 3, "kind": "기사"}, set()),
        ({"missing": None}, set()),
        ({}, {"d0", "d1", "d2", "d3", "d4", "d5"}),
        (lambda one: one.metadata["number"] % 2, {"d1", "d3", "d5"}),
        (lambda one: "신고" in one.page_content, {"d0"}),
        (lambda one: one.id in {"d2"}, {"d2"}),
    ],
)
def test_filters(condition: Any, expected: set[str]) -> None:
    store = KlueVectorStore.from_documents(documents(kind="안내"), BigramEmbeddings())
    vector = BigramEmbeddings().embed_query(QUESTION)
    results = [
        store.similarity_search(QUESTION, 10, condition),
        store.similarity_search(QUESTION, k=10, filter=condition),
        store.similarity_search_by_vector(vector, k=10, filter=condition),
        store.max_marginal_relevance_search(QUESTION, k=10, filter=condition),
        [one for one, _ in store.similarity_search_with_relevance_scores(QUESTION, k=10, filter=condition)],
    ]
    for result in results:
        assert {one.id for one in result} == expected


def test_a_filter_is_applied_before_k(store: KlueVectorStore) -> None:
    worst = store.similarity_search(QUESTION, k=6)[-1]
    assert store.similarity_search(QUESTION, k=1, filter={"number": worst.metadata["number"]}) == [worst]


def test_a_filter_cannot_change_the_store(store: KlueVectorStore) -> None:
    store.similarity_search(QUESTION, filter=lambda one: one.metadata.clear() or True)
    assert store.get_by_ids(["d0"]) == [documents()[0]]


@pytest.mark.parametrize("wrong", ["number == 3", 3, ["number"]], ids=repr)
def test_a_filter_of_another_kind_is_refused(store: KlueVectorStore, wrong: Any) -> None:
    with pytest.raises(TypeError, match="filter="):
        store.similarity_search(QUESTION, filter=wrong)


# --- MMR ----------------------------------------------------------------------------------------------------------


def test_mmr_takes_unlike_documents() -> None:
    texts = [TEXTS[0], TEXTS[0] + " 꼭!", TEXTS[0] + " 네.", TEXTS[1]]
    store = KlueVectorStore.from_texts(texts, BigramEmbeddings(), ids=["a", "b", "c", "d"])
    assert {one.id for one in store.similarity_search(TEXTS[0], k=2)} <= {"a", "b", "c"}
    assert {one.id for one in store.max_marginal_relevance_search(TEXTS[0], k=2, lambda_mult=0.1)} == {"a", "d"}
    nearest = store.max_marginal_relevance_search(TEXTS[0], k=2, lambda_mult=1)
    assert nearest == store.similarity_search(TEXTS[0], k=2)
    vector = BigramEmbeddings().embed_query(TEXTS[0])
    by_vector = store.max_marginal_relevance_search_by_vector(vector, k=2, lambda_mult=0.1)
    assert {one.id for one in by_vector} == {"a", "d"}


def test_mmr_gives_k_even_if_fetch_k_is_smaller(store: KlueVectorStore) -> None:
    assert len(store.max_marginal_relevance_search(QUESTION, k=5, fetch_k=2)) == 5


@pytest.mark.parametrize("wrong", [{"lambda_mult": 1.5}, {"lambda_mult": float("nan")}, {"fetch_k": None}], ids=str)
def test_mmr_refuses_numbers_that_mean_nothing(store: KlueVectorStore, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        store.max_marginal_relevance_search(QUESTION, k=2, **wrong)


# --- windows ------------------------------------------------------------------------------------------------------


LONG = Document(
    "도서관은 월요일에 쉽니다. " * 30 + "자전거 보관소 열쇠는 경비실에서 빌립니다. " + "주차장은 밤에 닫습니다. " * 30,
    id="long",
)


@pytest.mark.parametrize("embedding", [None, BigramEmbeddings()], ids=["packaged", "foreign"])
def test_the_best_window_of_a_long_document_counts(embedding: Any, tmp_path: Path) -> None:
    query = "자전거 보관소 열쇠"
    one = KlueVectorStore.from_documents([*documents(), LONG], embedding, window_words=None)
    several = KlueVectorStore.from_documents([*documents(), LONG], embedding, window_words=8)
    [(_, drowned)] = one.similarity_search_with_score(query, k=1, filter=lambda document: document.id == "long")
    [(found, score)] = several.similarity_search_with_score(query, k=1)
    assert found == LONG
    assert score > drowned + 0.05
    assert several.max_marginal_relevance_search(query, k=1) == [LONG]
    by_nearness = several.max_marginal_relevance_search(query, k=7, lambda_mult=1)
    assert by_nearness == several.similarity_search(query, k=7)
    several.save(tmp_path)
    loaded = KlueVectorStore.load(tmp_path, embedding)
    assert loaded.similarity_search_with_score(query, k=7) == several.similarity_search_with_score(query, k=7)
    loaded.add_documents([LONG.model_copy(update={"id": "later"})])  # in windows, too
    assert [each for _, each in loaded.similarity_search_with_score(query, k=2)] == pytest.approx([score, score])


def test_windows_suit_the_model() -> None:
    """The packaged model makes windows by itself; with other models every window is a text more to embed."""
    query = "자전거 보관소 열쇠"
    by_default = KlueVectorStore.from_documents([LONG]).similarity_search_with_score(query)
    assert by_default != KlueVectorStore.from_documents([LONG], window_words=None).similarity_search_with_score(query)
    foreign = KlueVectorStore.from_documents([LONG], BigramEmbeddings())
    [(_, score)] = foreign.similarity_search_with_score(query)
    [whole] = BigramEmbeddings().embed_documents([LONG.page_content])
    cosine = np.dot(BigramEmbeddings().embed_query(query), whole) / np.linalg.norm(whole)
    assert score == pytest.approx((1 + cosine) / 2, abs=1e-5)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "all"], ids=repr)
def test_windows_of_no_words_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="window_words="):
        KlueVectorStore(BigramEmbeddings(), window_words=wrong)


# --- adding, replacing, removing ----------------------------------------------------------------------------------


def test_ids_are_given_kept_or_made() -> None:
    store = KlueVectorStore(BigramEmbeddings())
    assert store.add_texts(["하나", "둘"], ids=["1", "2"]) == ["1", "2"]
    assert store.add_documents([Document("셋", id="3")]) == ["3"]
    assert store.add_documents([Document("넷", id="ignored")], ids=["4"]) == ["4"]
    [made] = store.add_texts(["다섯"])
    assert len(store) == 5
    assert store.get_by_ids([made])[0].page_content == "다섯"


def test_counts_that_do_not_match_are_refused(store: KlueVectorStore) -> None:
    with pytest.raises(ValueError, match="1 ids for 2"):
        store.add_texts(["하나", "둘"], ids=["1"])
    with pytest.raises(ValueError, match="1 metadatas for 2"):
        store.add_texts(["하나", "둘"], metadatas=[{}])
    assert len(store) == 6


def test_misspelt_arguments_are_refused(store: KlueVectorStore) -> None:
    calls: list[Any] = [
        lambda: KlueVectorStore(BigramEmbeddings(), titel_key="x"),  # type: ignore[call-arg]
        lambda: KlueVectorStore.from_texts(["글"], BigramEmbeddings(), meta=[{}]),
        lambda: store.add_texts(["글"], metadata=[{}]),
        lambda: store.add_documents([], id=["1"]),
        lambda: store.similarity_search(QUESTION, top_k=3),
        lambda: store.similarity_search_with_score(QUESTION, filters={}),
        lambda: store.similarity_search_by_vector([1.0] * 64, fetch_k=3),
        lambda: store.max_marginal_relevance_search(QUESTION, lambda_multi=1),
        lambda: store.delete(["d0"], namespace="x"),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert len(store) == 6


@pytest.mark.parametrize(
    "wrong", [[], [1.0, 2.0], [float("nan")] * 64, [float("inf")] * 64], ids=["0", "2", "nan", "inf"]
)
def test_a_wrong_query_vector_is_refused(store: KlueVectorStore, wrong: list[float]) -> None:
    with pytest.raises(ModelOutputError):
        store.similarity_search_by_vector(wrong)


class _Fewer(BigramEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return super().embed_documents(texts)[:-1]


class _Ragged(BigramEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector[: 60 + number] for number, vector in enumerate(super().embed_documents(texts))]


@pytest.mark.parametrize(
    "broken",
    [BrokenEmbeddings("여권"), BigramEmbeddings(size=32), _Fewer(), _Ragged()],
    ids=["nan", "size", "fewer", "ragged"],
)
def test_a_broken_model_leaves_the_store_as_it_was(store: KlueVectorStore, broken: BigramEmbeddings) -> None:
    before = store.similarity_search_with_score(QUESTION, k=10)
    store._embedding = broken
    with pytest.raises(ModelOutputError):
        store.add_documents([Document("새 글", id="d0"), Document("여권 사진", id="new")])
    store._embedding = BigramEmbeddings()
    assert store.similarity_search_with_score(QUESTION, k=10) == before


def test_nan_for_a_query_is_an_error() -> None:
    store = KlueVectorStore.from_documents(documents(), BrokenEmbeddings("분실"))
    with pytest.raises(ModelOutputError, match="NaN"):
        store.similarity_search("여권 분실")


# --- the model, titles, retrievers, async -------------------------------------------------------------------------


def test_an_index_of_another_model_is_refused(tmp_path: Path) -> None:
    KlueVectorStore.from_documents(documents(), BigramEmbeddings()).save(tmp_path)
    with pytest.raises(ModelMismatchError, match=r"bigrams.*other"):
        KlueVectorStore.load(tmp_path, BigramEmbeddings(model="other"))
    with pytest.raises(ModelMismatchError, match="packaged"):
        KlueVectorStore.load(tmp_path)


def test_uses_the_packaged_embeddings_by_default() -> None:
    store = KlueVectorStore.from_documents(documents())
    assert type(store.embeddings).__name__ == "KlueEmbeddings"
    assert store.similarity_search("이사한 뒤 전입신고는 언제까지?", k=1)[0].id == "d0"


def test_titles_are_embedded_unless_asked_not_to(tmp_path: Path) -> None:
    given = [
        Document("자세한 것은 문의하십시오.", id=title, metadata={"title": title})
        for title in ("주차 등록", "여권 발급")
    ]
    titled = KlueVectorStore.from_documents(given, BigramEmbeddings())
    assert titled.similarity_search("여권 발급", k=1)[0] == given[1]
    bare = KlueVectorStore.from_documents(given, BigramEmbeddings(), title_key=None)
    scores = bare.similarity_search_with_score("여권 발급")
    assert len({score for _, score in scores}) == 1
    titled.save(tmp_path)
    loaded = KlueVectorStore.load(tmp_path, BigramEmbeddings())
    loaded.add_documents([Document("자세한 것은 문의하십시오.", id="도서 대출", metadata={"title": "도서 대출"})])
    assert loaded.similarity_search("도서 대출", k=1)[0].id == "도서 대출"


def test_as_retriever(store: KlueVectorStore) -> None:
    scored = store.similarity_search_with_score(QUESTION, k=6)
    threshold = scored[1][1]
    by_score = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": threshold, "k": 6}
    )
    assert by_score.invoke(QUESTION) == [one for one, score in scored if score >= threshold]
    assert store.as_retriever(search_kwargs={"k": 2}).invoke(QUESTION) == [one for one, _ in scored[:2]]
    mmr = store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 6})
    assert mmr.invoke(QUESTION) == store.max_marginal_relevance_search(QUESTION, k=2, fetch_k=6)


async def test_async_twins(store: KlueVectorStore) -> None:
    vector = BigramEmbeddings().embed_query(QUESTION)
    assert await store.asimilarity_search(QUESTION, k=2) == store.similarity_search(QUESTION, k=2)
    assert await store.asimilarity_search(QUESTION, filter={"number": 2}) == [documents()[2]]
    assert await store.asimilarity_search_with_score(QUESTION) == store.similarity_search_with_score(QUESTION)
    assert await store.asimilarity_search_with_relevance_scores(QUESTION) == store.similarity_search_with_score(
        QUESTION
    )
    assert await store.asimilarity_search_by_vector(vector) == store.similarity_search_by_vector(vector)
    assert await store.amax_marginal_relevance_search(QUESTION, k=3) == store.max_marginal_relevance_search(
        QUESTION, k=3
    )
    assert await store.as_retriever().ainvoke(QUESTION) == store.similarity_search(QUESTION)
    assert await store.aget_by_ids(["d1"]) == [documents()[1]]
    assert await store.aadd_documents([Document("새 글", id="new")]) == ["new"]
    assert await store.aadd_texts(["또 새 글"], ids=["newer"]) == ["newer"]
    assert await store.adelete(["d0"]) is True
    assert len(store) == 7
    built = await KlueVectorStore.afrom_documents(documents(), BigramEmbeddings())
    assert built.similarity_search(TEXTS[1], k=1) == [documents()[1]]
    built = await KlueVectorStore.afrom_texts(TEXTS, BigramEmbeddings(), ids=list("abcdef"))
    assert built.similarity_search(TEXTS[1], k=1)[0].id == "b"
