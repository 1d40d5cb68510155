"""A second bi-encoder in a retriever: what it finds, and what becomes of its vectors."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from langchain_klue_rerank import KlueBM25Retriever, KlueReranker, KlueRetriever
from langchain_klue_rerank.errors import ModelMismatchError
from tests.unit_tests.fakes import TEXTS, documents, same

#: Shares no word with TEXTS[0], which it means in the language of one bi-encoder alone.
QUESTION = "무지개떡은 서점에서 어떻게 해요?"


class Concepts(Embeddings):
    """Knows that registering an address is called a rainbow cake, and fails after so many texts."""

    def __init__(self, model: str = "concepts", fails_after: int | None = None) -> None:
        self.model, self.fails_after, self.embedded = model, fails_after, 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += len(texts)
        if self.fails_after is not None and self.embedded > self.fails_after:
            raise KeyboardInterrupt
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0] if any(word in text for word in ("무지개떡", "전입신고")) else [0.6, 0.8]


@pytest.fixture
def retriever() -> KlueRetriever:
    return KlueRetriever.from_documents(documents(), second_embeddings=Concepts(), k=3)


def test_it_finds_what_no_word_tells(retriever: KlueRetriever) -> None:
    assert KlueRetriever.from_documents(documents()).invoke(QUESTION)[0].id != "d0"
    for reranker in (retriever.reranker, None):
        found = retriever.model_copy(update={"reranker": reranker}).invoke(QUESTION)
        assert found[0].id == "d0"
        assert 0 <= found[0].metadata["relevance_score"] <= 1
    same(retriever.batch([QUESTION])[0], retriever.invoke(QUESTION))
    without = retriever.model_copy(update={"second_weight": 0.0})
    same(without.invoke(QUESTION), KlueRetriever.from_documents(documents(), k=3).invoke(QUESTION))
    for search_type in ("dense", "lexical"):
        plain = KlueRetriever.from_documents(documents(), k=3).invoke(TEXTS[1], search_type=search_type)
        same(retriever.invoke(TEXTS[1], search_type=search_type), plain)


def test_the_packaged_encoder_finds_questions_in_other_words() -> None:
    retriever = KlueRetriever.from_documents(documents(), second_embeddings="packaged-encoder", k=1, reranker=None)
    questions = {
        "책을 몇 권이나 대출할 수 있나요?": "d3",
        "집을 옮기면 언제까지 알려야 해요?": "d0",
        "로그인이 막혔어요": "d5",
    }
    assert [found[0].id for found in retriever.batch(list(questions))] == list(questions.values())


def test_the_packaged_encoder_reads_the_first_result_for_the_confidence() -> None:
    texts = documents() + [Document(f"{number}번 안내문입니다.", id=f"more{number}") for number in range(10)]
    retriever = KlueRetriever.from_documents(texts, second_embeddings="packaged-encoder")
    question = "전입신고는 언제까지 해요?"
    confidence = retriever.confidence(question)
    assert confidence is not None
    assert retriever.batch([question])[0][0].metadata["confidence"] == pytest.approx(confidence, abs=1e-6)
    assert asyncio.run(retriever.ainvoke(question))[0].metadata["confidence"] == pytest.approx(confidence, abs=1e-6)
    doubtful = "책을 찢었는데 물어내요?"  # about the same as a text that does not say it
    near = retriever.confidence(doubtful)
    assert near is not None
    assert near < confidence
    in_a_hurry = retriever.model_copy(update={"reranker": KlueReranker(max_latency_ms=60_000)})
    assert in_a_hurry.confidence(question) == confidence  # where there is no doubt nothing is read
    without_reading = in_a_hurry.confidence(doubtful)
    assert without_reading is not None
    assert without_reading != near


def test_the_packaged_encoder_reads_two_first_results_that_are_close() -> None:
    parking = {
        "resident": "주차장은 입주자 차 한 대까지 무료이고 두 대째부터 한 달에 삼만 원입니다.",
        "visitor": "주차장에 방문한 차는 경비실에서 방문증을 받아 네 시간까지 세웁니다.",
        "charger": "주차장 전기차 충전기는 열네 시간이 지나면 자리를 비워 줘야 합니다.",
        "damage": "주차장 기둥을 긁으면 관리사무소에 알리고 수리비를 냅니다.",
    }
    texts = documents() + [Document(text, id=name) for name, text in parking.items()]
    retriever = KlueRetriever.from_documents(texts, second_embeddings="packaged-encoder", k=3)
    question = "손님 차는 어디 대요?"
    unread = retriever.model_copy(update={"reranker": KlueReranker(max_latency_ms=60_000)})  # no time to read
    first, second, _ = unread.invoke(question)
    assert [first.id, second.id] == ["resident", "visitor"]
    found = retriever.invoke(question)
    assert [one.id for one in found][:2] == ["visitor", "resident"]
    scores = [one.metadata["relevance_score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == first.metadata["relevance_score"]
    same(retriever.batch([question])[0], found)
    same(asyncio.run(retriever.ainvoke(question)), found)
    bare = retriever.model_copy(update={"scores_in_metadata": False})
    assert bare.invoke(question, k=1)[0].id == "visitor"


def test_an_index_in_parts_is_an_index_in_one(retriever: KlueRetriever, tmp_path: Path) -> None:
    grown = KlueRetriever(second_embeddings=Concepts(), k=3)
    for document in documents():
        grown.add_documents([document])
    grown.add_documents([Document("지울 문서", id="x")])
    grown.delete(["x"])
    same(grown.invoke(QUESTION), retriever.invoke(QUESTION))
    grown.save(tmp_path / "index")
    loaded = KlueRetriever.load(tmp_path / "index", second_embeddings=Concepts(), k=3)
    same(loaded.invoke(QUESTION), retriever.invoke(QUESTION))
    loaded.add_documents([Document("전입신고 창구는 여섯 시에 닫습니다.", id="new")])
    assert {found.id for found in loaded.invoke(QUESTION)[:2]} == {"d0", "new"}


def test_long_passages_are_found_by_their_best_window() -> None:
    filler = " ".join(["그날 저녁에는 모두 모여 늦게까지 이야기를 나누었습니다."] * 40)
    texts = [Document(f"{filler} 전입신고는 새집에서 합니다. {filler}", id="long"), *documents()[1:]]
    retriever = KlueRetriever.from_documents(texts, second_embeddings=Concepts(), k=1)
    assert retriever.invoke(QUESTION)[0].id == "long"


def test_the_packaged_encoders_vectors_are_searched_without_naming_it(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    made = KlueRetriever.from_documents(documents(), second_embeddings="packaged-encoder", k=3)
    made.save(folder)
    loaded = KlueRetriever.load(folder, k=3)
    same(loaded.invoke(QUESTION), made.invoke(QUESTION))
    without = KlueRetriever.load(folder, second_embeddings=None, k=3)
    same(without.invoke(QUESTION), KlueRetriever.from_documents(documents(), k=3).invoke(QUESTION))
    with pytest.raises(ModelMismatchError, match="second_embeddings"):
        without.add_documents([Document("새 문서")])
    assert KlueRetriever.load(folder, search_type="lexical").invoke(TEXTS[0])[0].id == "d0"
    assert KlueBM25Retriever.load(folder).invoke(TEXTS[0])[0].id == "d0"
    assert KlueRetriever.rebuild(folder, k=3).invoke(QUESTION)[0].id == loaded.invoke(QUESTION)[0].id


def test_another_models_vectors_are_refused(retriever: KlueRetriever, tmp_path: Path) -> None:
    retriever.save(tmp_path / "index")
    with pytest.raises(ModelMismatchError, match=r"concepts.*other"):
        KlueRetriever.load(tmp_path / "index", second_embeddings=Concepts("other"))
    KlueRetriever.from_documents(documents()).save(tmp_path / "plain")
    with pytest.raises(ModelMismatchError, match="rebuild"):
        KlueRetriever.load(tmp_path / "plain", second_embeddings=Concepts())


def test_an_index_gets_them_later_and_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    many = [Document(f"{number}번째 안내문입니다.", id=f"n{number}") for number in range(600)]
    KlueRetriever.from_documents([*documents(), *many]).save(folder)
    interrupted = Concepts(fails_after=300)
    with pytest.raises(KeyboardInterrupt):
        KlueRetriever.rebuild(folder, second_embeddings=interrupted)
    assert KlueRetriever.load(folder).invoke(TEXTS[0])[0].id == "d0"
    again = Concepts()
    retriever = KlueRetriever.rebuild(folder, second_embeddings=again, k=3)
    assert again.embedded == 606 - 256
    assert retriever.invoke(QUESTION)[0].id == "d0"
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    untouched = Concepts()
    KlueRetriever.rebuild(folder, second_embeddings=untouched)
    assert untouched.embedded == 0


@pytest.mark.parametrize("search_type", ["dense", "lexical"])
def test_it_is_for_hybrid_search(search_type: str) -> None:
    with pytest.raises(ValueError, match="hybrid"):
        KlueRetriever(second_embeddings=Concepts(), search_type=search_type)  # type: ignore[arg-type]
