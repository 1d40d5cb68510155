"""KlueEmbeddings: packaged weights and a hub-style folder."""

from __future__ import annotations

import copy
import pickle
import shutil
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydantic import ValidationError

from langchain_klue_rerank import KlueEmbeddings
from langchain_klue_rerank.adapters.embedding import embed_passages, embed_queries, index_vectors, model_identity
from langchain_klue_rerank.engine.arrays.unit_vectors import as_unit_vectors
from langchain_klue_rerank.engine.models.packaged.blanks import mark_blanks, without_marks
from langchain_klue_rerank.errors import ModelLoadError
from tests.unit_tests.fakes import HOSTILE, QUESTION, TEXTS, BigramEmbeddings, loaded_once


@pytest.fixture(scope="module", params=["packaged", "folder"])
def embeddings(request: pytest.FixtureRequest) -> KlueEmbeddings:
    if request.param == "packaged":
        return KlueEmbeddings()
    return KlueEmbeddings(model=str(request.getfixturevalue("klue_bi_encoder_folder")), model_kwargs={"device": "cpu"})


def test_vectors_are_lists_of_python_floats_of_length_1(embeddings: KlueEmbeddings) -> None:
    vectors = embeddings.embed_documents(TEXTS)
    assert len({len(vector) for vector in vectors}) == 1
    for vector in [*vectors, embeddings.embed_query(QUESTION)]:
        assert type(vector) is list
        assert {type(value) for value in vector} == {float}
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_a_vector_does_not_depend_on_the_other_texts(embeddings: KlueEmbeddings) -> None:
    together = embeddings.embed_documents(TEXTS)
    alone = [embeddings.embed_documents([text])[0] for text in TEXTS]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together[::-1], embeddings.embed_documents(TEXTS[::-1]), atol=1e-5)


def test_no_texts(embeddings: KlueEmbeddings) -> None:
    assert embeddings.embed_documents([]) == []


def test_nfd_and_nfc_are_the_same_text(embeddings: KlueEmbeddings) -> None:
    nfd = [unicodedata.normalize("NFD", text) for text in TEXTS]
    assert nfd != TEXTS
    np.testing.assert_allclose(embeddings.embed_documents(nfd), embeddings.embed_documents(TEXTS), atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_query(nfd[0]), embeddings.embed_query(TEXTS[0]), atol=1e-6)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_get_finite_vectors(embeddings: KlueEmbeddings, text: str) -> None:
    vectors = np.asarray([*embeddings.embed_documents([text, TEXTS[0]]), embeddings.embed_query(text)])
    assert np.isfinite(vectors).all()
    assert (np.linalg.norm(vectors, axis=1) < 1 + 1e-5).all()


@pytest.mark.parametrize("wrong", [None, 7, b"bytes", ["list"]], ids=repr)
def test_what_is_no_text_is_refused_by_name(embeddings: KlueEmbeddings, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"Text number 1 is .*expected a string"):
        embeddings.embed_documents(["글", wrong])
    with pytest.raises(TypeError, match="expected a string"):
        embeddings.embed_query(wrong)


def test_texts_may_come_one_by_one_but_not_as_one_string(embeddings: KlueEmbeddings) -> None:
    texts: Any = (text for text in TEXTS)
    assert embeddings.embed_documents(texts) == embeddings.embed_documents(TEXTS)
    one: Any = TEXTS[0]
    with pytest.raises(TypeError, match="one string; expected a list"):
        embeddings.embed_documents(one)


async def test_async_gives_the_same(embeddings: KlueEmbeddings) -> None:
    assert await embeddings.aembed_documents(TEXTS) == embeddings.embed_documents(TEXTS)
    assert await embeddings.aembed_query(QUESTION) == embeddings.embed_query(QUESTION)


def test_threads_give_the_same(embeddings: KlueEmbeddings) -> None:
    texts = TEXTS * 3
    expected = [embeddings.embed_query(text) for text in texts]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(embeddings.embed_query, texts)) == expected


def test_arrays_are_the_models_own_and_lists_have_two_dimensions_more(embeddings: KlueEmbeddings) -> None:
    passages = embed_passages(embeddings, TEXTS)
    assert passages.dtype == np.float32
    for own, lists in (
        (passages, embeddings.embed_documents(TEXTS)),
        (embed_queries(embeddings, TEXTS), [embeddings.embed_query(text) for text in TEXTS]),
    ):
        table = np.asarray(lists)
        added = 2 if embeddings.reads_tokens else 0
        assert table.shape[1] == own.shape[1] + added
        kept = index_vectors(embeddings, table)
        np.testing.assert_allclose(kept / np.linalg.norm(kept, axis=1)[:, None], own, atol=1e-5)
        if added:  # the order of cosines stays
            np.testing.assert_allclose(table @ table.T, 0.75 * own @ own.T + 0.25, atol=1e-5)


def test_the_packaged_weights_know_what_belongs_together() -> None:
    embeddings = KlueEmbeddings()
    similar, other = embeddings.embed_documents([TEXTS[0], TEXTS[2]])
    question = embeddings.embed_query("새로 이사 왔는데 주민센터에 신고를 언제까지 하나요?")
    assert np.dot(question, similar) > np.dot(question, other)


BLANKS = ["", " \n\t\u3000", "---", "- - -", "!?", "🚚👨‍👩‍👧", "\u200b", "\ud83d", "\u3164", "\u115f\u1160", "\uffa0"]
OTHERS = ["引っ越し", "متى", "ㅋㅋㅋ", "7", "a"]


def test_nothing_is_nearer_than_the_farthest_text() -> None:
    embeddings = KlueEmbeddings()
    texts = np.asarray(embeddings.embed_documents([*TEXTS, *OTHERS]))
    blanks = np.asarray(embeddings.embed_documents(BLANKS))
    queries = np.asarray([embeddings.embed_query(text) for text in [QUESTION, *TEXTS, *OTHERS, *BLANKS]])
    np.testing.assert_allclose(np.linalg.norm(np.vstack([texts, blanks, queries]), axis=1), 1, atol=1e-6)
    assert (queries @ texts.T).min() > (queries @ blanks.T).max(axis=1).max()


def test_for_a_question_without_a_word_all_texts_are_equally_far() -> None:
    embeddings = KlueEmbeddings()
    cosines = np.asarray(embeddings.embed_query("?!")) @ np.asarray(embeddings.embed_documents(TEXTS)).T
    np.testing.assert_allclose(cosines, 1 / 32, atol=1e-6)


@given(hnp.arrays(np.float32, (4, 6), elements=st.floats(-1, 1, width=32)))
def test_no_vectors_bring_a_blank_before_a_text(vectors: NDArray[np.float32]) -> None:
    """Opposite texts, too: the least similar that there can be."""
    texts = np.vstack([vectors, -vectors, np.zeros((1, 6), np.float32)])
    texts = as_unit_vectors(texts)
    passages, queries = mark_blanks(texts, "passage"), mark_blanks(texts, "query")
    blank = ~texts.any(axis=1)
    products = queries @ passages.T
    distances = np.linalg.norm(queries[:, None] - passages[None], axis=2)
    if (~blank).any():
        assert (products[:, ~blank].min(axis=1) >= products[:, blank].max(axis=1) - 1e-6).all()
        assert (distances[:, ~blank].max(axis=1) <= distances[:, blank].min(axis=1) + 1e-6).all()
    np.testing.assert_allclose(without_marks(passages) @ texts.T, np.sqrt(0.75) * texts @ texts.T, atol=1e-6)


@pytest.mark.slow
def test_a_megabyte() -> None:
    huge = (TEXTS[0] + " ") * (1_000_000 // (len(TEXTS[0]) + 1))
    embeddings = KlueEmbeddings()
    assert np.dot(embeddings.embed_query(huge), embeddings.embed_query(TEXTS[0])) > 0.9


# --- construction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"modle": "x"},
        {"batch_size": 8},
        {"encode_kwargs": {"batch_size": 0}, "model": "a/b"},
        {"encode_kwargs": {"batchsize": 8}, "model": "a/b"},
        {"encode_kwargs": {"max_length": 1}, "model": "a/b"},
        {"encode_kwargs": {"normalize_embeddings": False}, "model": "a/b"},
        {"model_kwargs": {"divice": "cpu"}, "model": "a/b"},
        {"model_kwargs": {"device": "cpu"}},  # the packaged weights cannot use these
        {"encode_kwargs": {"batch_size": 8}},
        {"cache_folder": "/tmp"},
        {"query_prompt": "질문: "},
    ],
    ids=str,
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        KlueEmbeddings(**wrong)


@pytest.mark.parametrize("name", ["no such folder", "./missing", "a/b/c", ""], ids=repr)
def test_a_bad_model_name_is_refused_at_once(name: str) -> None:
    with pytest.raises(ModelLoadError):
        KlueEmbeddings(model=name)


def test_a_folder_without_a_model_is_refused_on_first_use(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        KlueEmbeddings(model=str(tmp_path)).embed_query(QUESTION)


def test_both_names_of_the_model_field() -> None:
    assert KlueEmbeddings(model="packaged").model_dump() == KlueEmbeddings(model_name="packaged").model_dump()
    assert KlueEmbeddings(model="packaged").embed_query(QUESTION) == KlueEmbeddings().embed_query(QUESTION)


def test_prompts_are_put_before_texts(klue_bi_encoder_folder: Path) -> None:
    folder = str(klue_bi_encoder_folder)
    plain = KlueEmbeddings(model=folder, model_kwargs={"device": "cpu"})
    prompted = KlueEmbeddings(
        model=folder, model_kwargs={"device": "cpu"}, query_prompt="질문: ", passage_prompt="글: "
    )
    np.testing.assert_allclose(
        prompted.embed_query("전입신고 기한"), plain.embed_query("질문: 전입신고 기한"), atol=1e-5
    )
    np.testing.assert_allclose(
        prompted.embed_documents(["전입신고"]), plain.embed_documents(["글: 전입신고"]), atol=1e-5
    )


# --- loading, copies, identity ------------------------------------------------------------------------------------


async def test_concurrent_tasks_load_once_and_leave_the_loop_free(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = KlueEmbeddings()
    vectors = await loaded_once(embeddings._encoder, monkeypatch, lambda: embeddings.aembed_query(QUESTION))
    assert all(vector == vectors[0] for vector in vectors)


def test_copies_and_pickles_keep_working(embeddings: KlueEmbeddings) -> None:
    expected = embeddings.embed_query(QUESTION)
    copies = [
        embeddings.model_copy(),
        embeddings.model_copy(deep=True),
        copy.copy(embeddings),
        copy.deepcopy(embeddings),
        pickle.loads(pickle.dumps(embeddings)),  # noqa: S301 - our own pickle
        KlueEmbeddings(**embeddings.model_dump()),
    ]
    for one in copies:
        assert one.model_dump() == embeddings.model_dump()
        assert one.identity == embeddings.identity
        assert one.embed_query(QUESTION) == expected


def test_a_pickle_holds_no_weights() -> None:
    embeddings = KlueEmbeddings()
    embeddings.embed_query(QUESTION)
    assert len(pickle.dumps(embeddings)) < 10_000


class LoadedEmbeddings(BigramEmbeddings):
    """Keeps the loaded model where others keep its name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.model: Any = object()
        self.model_name = name


def test_identities_tell_models_apart(klue_bi_encoder_folder: Path, klue_cross_encoder_folder: Path) -> None:
    embeddings = [
        KlueEmbeddings(),
        KlueEmbeddings(model=str(klue_bi_encoder_folder)),
        KlueEmbeddings(model=str(klue_cross_encoder_folder)),
        KlueEmbeddings(model="BAAI/bge-m3"),
        KlueEmbeddings(model="BAAI/bge-m3", model_kwargs={"revision": "abc"}),
        BigramEmbeddings(),
        BigramEmbeddings(model="another"),
        LoadedEmbeddings("one"),
        LoadedEmbeddings("two"),
    ]
    identities = [model_identity(one) for one in embeddings]
    assert len(set(identities)) == len(identities)
    assert identities == [model_identity(one) for one in embeddings]


def test_a_moved_folder_is_the_same_model(klue_bi_encoder_folder: Path, tmp_path: Path) -> None:
    import shutil

    moved = shutil.copytree(klue_bi_encoder_folder, tmp_path / "moved")
    assert KlueEmbeddings(model=str(moved)).identity == KlueEmbeddings(model=str(klue_bi_encoder_folder)).identity


def test_a_loaded_model_keeps_its_identity_when_its_folder_goes(
    klue_bi_encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(klue_bi_encoder_folder, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    embeddings = KlueEmbeddings(model="model", model_kwargs={"device": "cpu"})
    vector = embeddings.embed_query("강물")
    expected = KlueEmbeddings(model=str(klue_bi_encoder_folder)).identity
    monkeypatch.chdir("/")
    shutil.rmtree(tmp_path / "model")
    assert embeddings.embed_query("강물") == vector
    assert embeddings.identity == expected


def test_a_static_model_of_sentence_transformers_is_a_model_as_any_other(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "강물": 1, "바다": 2, "산": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    module = StaticEmbedding(tokenizer, embedding_weights=np.eye(4, 8, dtype=np.float32))
    SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "static"))
    embeddings = KlueEmbeddings(model=str(tmp_path / "static"), model_kwargs={"device": "cpu"})
    river, sea, both = (np.asarray(embeddings.embed_query(text)) for text in ("강물", "바다", "강물 바다"))
    assert river @ sea == pytest.approx(0)
    assert both @ river == pytest.approx(0.5**0.5, abs=1e-6)


def test_a_cross_encoder_makes_no_vectors(klue_cross_encoder_folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="KlueReranker"):
        KlueEmbeddings(model=str(klue_cross_encoder_folder), model_kwargs={"device": "cpu"}).embed_query("강물")
