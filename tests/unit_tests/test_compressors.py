"""KlueReranker: the conformance suite for packaged weights and for a hub-style folder, and what is its own."""

from __future__ import annotations

import copy
import pickle
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ValidationError

from langchain_klue_rerank import KlueReranker, KlueRetriever
from langchain_klue_rerank.engine.threads import Lazy
from langchain_klue_rerank.errors import ModelLoadError
from tests.unit_tests.compressor_suite import CompressorTests, scores, state
from tests.unit_tests.fakes import QUESTION, TEXTS, documents


class TestPackaged(CompressorTests):
    def construct(self, **options: Any) -> BaseDocumentCompressor:
        return KlueReranker(**options)


class TestHubStyleFolder(CompressorTests):
    @pytest.fixture(autouse=True)
    def _folder(self, klue_cross_encoder_folder: Path) -> None:
        self.folder = klue_cross_encoder_folder

    def construct(self, **options: Any) -> BaseDocumentCompressor:
        return KlueReranker(model=str(self.folder), model_kwargs={"device": "cpu"}, **options)


@pytest.fixture
def reranker() -> KlueReranker:
    return KlueReranker(top_n=None)


def test_the_packaged_weights_put_the_answer_first(reranker: KlueReranker) -> None:
    questions = [
        ("이사하고 며칠 안에 전입신고를 해야 하나요?", "d0"),
        ("여권을 신청할 때 무엇을 가져가야 하나요?", "d1"),
        ("음식물 쓰레기는 언제 내놓나요?", "d2"),
        ("도서관에서 책을 몇 권까지 빌릴 수 있어요?", "d3"),
        ("탈수할 때 세탁기가 흔들려요", "d4"),
        ("비밀번호를 여러 번 틀리면 어떻게 되나요?", "d5"),
    ]
    for question, answer in questions:
        assert reranker.compress_documents(documents()[::-1], question)[0].id == answer, question


def test_nfd_and_nfc_score_the_same(reranker: KlueReranker) -> None:
    nfd = [Document(unicodedata.normalize("NFD", text), id=f"d{number}") for number, text in enumerate(TEXTS)]
    expected = reranker.rerank(documents(), QUESTION)
    assert reranker.rerank(nfd, QUESTION) == expected
    assert reranker.rerank(documents(), unicodedata.normalize("NFD", QUESTION)) == expected


def test_a_long_document_is_read_to_its_end(reranker: KlueReranker) -> None:
    filler = " ".join(TEXTS[2:] * 40)
    [buried, without] = reranker.score([QUESTION], [[f"{filler} {TEXTS[0]}", filler]])[0]
    assert buried > without


@pytest.mark.slow
def test_a_megabyte(reranker: KlueReranker) -> None:
    huge = (TEXTS[3] * (1_000_000 // len(TEXTS[3]) + 1))[:1_000_000]
    result = reranker.compress_documents([Document(huge, id="huge"), *documents()], QUESTION)
    assert result[0].id == "d0"
    assert {one.id: one.page_content for one in result}["huge"] == huge


def test_titles_are_read() -> None:
    given = [
        Document("신청은 구청 민원실에서 받습니다.", id="plain", metadata={"title": "주차장 이용 안내"}),
        Document("신청은 구청 민원실에서 받습니다.", id="titled", metadata={"title": "여권 발급 안내"}),
    ]
    question = "여권 발급은 어디에서 신청하나요?"
    assert KlueReranker(top_n=1).compress_documents(given, question)[0].id == "titled"
    blind = KlueReranker(top_n=None, title_key=None).compress_documents(given, question)
    assert len(set(scores(blind))) == 1


@pytest.mark.parametrize("title", [None, "", 7, ["여권"]], ids=repr)
def test_a_title_that_is_no_text_is_passed_over(reranker: KlueReranker, title: Any) -> None:
    [with_title] = reranker.compress_documents([Document(TEXTS[0], metadata={"title": title})], QUESTION)
    [without] = reranker.compress_documents([Document(TEXTS[0])], QUESTION)
    assert with_title.metadata["relevance_score"] == without.metadata["relevance_score"]


# --- rerank and score ---------------------------------------------------------------------------------------------


def test_rerank_takes_strings_and_documents_alike(reranker: KlueReranker) -> None:
    ranked = reranker.rerank(TEXTS, QUESTION)
    assert ranked == reranker.rerank(documents(), QUESTION)
    assert sorted(line["index"] for line in ranked) == list(range(6))
    assert [line["relevance_score"] for line in ranked] == scores(reranker.compress_documents(documents(), QUESTION))


def test_rerank_top_n(reranker: KlueReranker) -> None:
    assert reranker.rerank(TEXTS, QUESTION, top_n=2) == reranker.rerank(TEXTS, QUESTION)[:2]
    assert reranker.rerank(TEXTS, QUESTION, top_n=0) == []
    assert len(KlueReranker(top_n=1).rerank(TEXTS, QUESTION)) == 1
    assert len(KlueReranker(top_n=1).rerank(TEXTS, QUESTION, top_n=None)) == len(TEXTS)  # as CohereRerank's
    assert len(KlueReranker(top_n=2).rerank(TEXTS, QUESTION, top_n=-1)) == 2
    with pytest.raises(ValueError, match="top_n=-2"):
        reranker.rerank(TEXTS, QUESTION, top_n=-2)


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", {"page_content": "x"}], ids=repr)
def test_rerank_refuses_what_is_no_text(reranker: KlueReranker, wrong: Any) -> None:
    with pytest.raises(TypeError, match="strings or Documents"):
        reranker.rerank([TEXTS[0], wrong], QUESTION)


def test_one_string_is_no_list_of_documents(reranker: KlueReranker) -> None:
    one: Any = TEXTS[0]
    with pytest.raises(TypeError, match="one string"):
        reranker.rerank(one, QUESTION)
    with pytest.raises(TypeError, match="one string"):
        reranker.score([QUESTION], [one])


def test_score_of_several_queries_is_that_of_each(reranker: KlueReranker) -> None:
    queries = [QUESTION, " ", "여권 사진", "책 대출"]
    lists: list[list[str]] = [TEXTS, TEXTS[:2], [], TEXTS[3:]]
    together = reranker.score(queries, lists)
    assert together == [reranker.score([query], [own])[0] for query, own in zip(queries, lists, strict=True)]
    assert [len(own) for own in together] == [6, 2, 0, 3]
    assert together[1] == [0.0, 0.0]
    assert reranker.score([], []) == []
    for queries, lists in (([QUESTION], []), ([QUESTION], [TEXTS, TEXTS]), ([], [TEXTS])):
        with pytest.raises(ValueError, match="lists of documents"):
            reranker.score(queries, lists)
    with pytest.raises(TypeError, match="one string"):
        reranker.score(QUESTION, [TEXTS])


# --- models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no such folder", "./missing", "/not/there", "a/b/c", "", "  "], ids=repr)
def test_a_bad_model_name_is_refused_at_once(name: str) -> None:
    with pytest.raises(ModelLoadError):
        KlueReranker(model=name)


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelLoadError, match="is a file"):
        KlueReranker(model=str(tmp_path / "model.bin"))


def test_a_folder_without_a_model_is_refused_on_first_use(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        KlueReranker(model=str(tmp_path)).rerank(TEXTS, QUESTION)


def test_the_model_cannot_be_exchanged_afterwards(reranker: KlueReranker) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        reranker.model_name = "BAAI/bge-reranker-v2-m3"


def test_packaged_may_be_named() -> None:
    assert KlueReranker(model="packaged").rerank(TEXTS, QUESTION) == KlueReranker().rerank(TEXTS, QUESTION)
    assert KlueReranker(model_name="packaged").rerank(TEXTS, QUESTION) == KlueReranker().rerank(TEXTS, QUESTION)


def test_a_failed_load_is_tried_again(reranker: KlueReranker, monkeypatch: pytest.MonkeyPatch) -> None:
    make = reranker._encoder._make
    calls = []

    def fail_once() -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ModelLoadError("the network is down")
        return make()

    monkeypatch.setattr(reranker, "_encoder", Lazy(fail_once))
    with pytest.raises(ModelLoadError):
        reranker.rerank(TEXTS, QUESTION)
    assert len(reranker.rerank(TEXTS, QUESTION)) == 6


@pytest.mark.parametrize("kind", ["packaged", "folder"])
@pytest.mark.parametrize("loaded", [False, True], ids=["fresh", "loaded"])
def test_copies_and_pickles_keep_working(kind: str, loaded: bool, klue_cross_encoder_folder: Path) -> None:
    model = None if kind == "packaged" else str(klue_cross_encoder_folder)
    original = KlueReranker(model=model, top_n=2)
    if loaded:
        original.rerank(TEXTS, QUESTION)
    copies = [
        original.model_copy(),
        original.model_copy(deep=True),
        copy.copy(original),
        copy.deepcopy(original),
        pickle.loads(pickle.dumps(original)),  # noqa: S301 - our own pickle
        KlueReranker(**original.model_dump()),
    ]
    expected = state(original.compress_documents(documents(), QUESTION))
    for one in copies:
        assert one.model_dump() == original.model_dump()
        assert state(one.compress_documents(documents(), QUESTION)) == expected
    changed = original.model_copy(update={"top_n": 1})
    assert state(changed.compress_documents(documents(), QUESTION)) == expected[:1]
    assert original.top_n == 2


def test_a_loaded_model_outlives_its_folder_and_a_change_of_the_working_directory(
    klue_cross_encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(klue_cross_encoder_folder, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    early, late = (KlueReranker(model="model", model_kwargs={"device": "cpu"}) for _ in range(2))
    expected = early.rerank(TEXTS, QUESTION)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert late.rerank(TEXTS, QUESTION) == expected
    shutil.rmtree(tmp_path / "model")
    assert early.rerank(TEXTS, QUESTION) == expected
    retriever = KlueRetriever.from_documents(documents(), reranker=early)
    assert retriever.invoke(QUESTION)


def test_assigned_values_are_checked(reranker: KlueReranker) -> None:
    own = reranker.model_copy()
    own.top_n = 2
    with pytest.raises(ValueError, match="top_n"):
        own.top_n = -1
    with pytest.raises(ValueError, match="score_threshold"):
        own.score_threshold = 2.0
    assert len(own.rerank(TEXTS, QUESTION)) == 2


def test_a_bi_encoder_is_no_reranker(klue_bi_encoder_folder: Path, late_interaction_folder: Path) -> None:
    body = KlueReranker(model=str(klue_bi_encoder_folder), model_kwargs={"device": "cpu"})
    with pytest.raises(ModelLoadError, match="scores would be random"):
        body.rerank(TEXTS, QUESTION)
