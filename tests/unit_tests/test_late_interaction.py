"""A late-interaction model behind KlueReranker, and its token vectors in the index of a KlueRetriever."""

from __future__ import annotations

import json
import math
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import BaseDocumentCompressor, Document

from langchain_klue_rerank import KlueCascade, KlueReranker, KlueRetriever
from langchain_klue_rerank.engine.models.options import CrossEncoderOptions
from langchain_klue_rerank.engine.models.transformer.late_interaction import LateInteraction
from langchain_klue_rerank.errors import MissingExtraError, ModelLoadError, ModelMismatchError, ModelOutputError
from tests.conftest import USABLE_LENGTH
from tests.unit_tests.compressor_suite import CompressorTests
from tests.unit_tests.engine.helpers import score
from tests.unit_tests.fakes import QUESTION, TEXTS, documents, same
from tests.unit_tests.index_suite import IndexTests


@pytest.fixture(scope="module")
def late(late_interaction_folder: Path) -> KlueReranker:
    return KlueReranker(model=str(late_interaction_folder), model_kwargs={"device": "cpu"}, top_n=None)


class TestCompressor(CompressorTests):
    @pytest.fixture(autouse=True)
    def _folder(self, late_interaction_folder: Path) -> None:
        self.folder = late_interaction_folder

    def construct(self, **options: Any) -> BaseDocumentCompressor:
        return KlueReranker(model=str(self.folder), model_kwargs={"device": "cpu"}, **options)


class TestIndex(IndexTests):
    """An index that keeps token vectors is saved, loaded and refused like every other."""

    @pytest.fixture(autouse=True)
    def _reranker(self, late: KlueReranker) -> None:
        self.reranker = late

    def build(self, given: list[Document]) -> Any:
        return KlueRetriever.from_documents(given, reranker=self.reranker)

    def load(self, folder: Path) -> Any:
        return KlueRetriever.load(folder, reranker=self.reranker)

    def ask(self, index: Any, query: str = QUESTION, **how: Any) -> list[Document]:
        return index.invoke(query, **how)


# --- scores -------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_sentence_transformers(late: KlueReranker, late_interaction_folder: Path) -> None:
    """But for the rounding to bytes; a mean over the query's tokens instead of a sum, from 0 to 1."""
    from sentence_transformers import MultiVectorEncoder

    plain = MultiVectorEncoder(str(late_interaction_folder), device="cpu")
    query = plain.encode_query([QUESTION])
    sums = plain.similarity(query, plain.encode_document(TEXTS))[0].numpy()
    assert late.score([QUESTION], [TEXTS])[0] == pytest.approx((1 + sums / len(query[0])) / 2, abs=5e-3)


def test_a_long_document_is_read_to_its_end(late: KlueReranker) -> None:
    filler = "나무가 자라고 새가 우는 마을 " * USABLE_LENGTH
    [buried, without] = late.score([QUESTION], [[f"{filler} {QUESTION}", filler]])[0]
    assert buried > without


def test_few_vectors_are_kept_of_a_document(late_interaction_folder: Path) -> None:
    few = KlueReranker(
        model=str(late_interaction_folder), model_kwargs={"device": "cpu"}, encode_kwargs={"max_vectors": 4}
    )
    assert np.diff(few._encode_documents([TEXTS[0] * 20, "글"]).offsets).tolist() == [4, 3]  # [CLS], the word, [SEP]


def test_the_curve_in_the_config_makes_the_scores(
    late: KlueReranker, late_interaction_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(late_interaction_folder, tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["late_interaction"] = {"slope": 5, "intercept": -2}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    curved = KlueReranker(model=str(tmp_path / "model"), model_kwargs={"device": "cpu"}).score([QUESTION], [TEXTS])[0]
    cosines = [2 * score - 1 for score in late.score([QUESTION], [TEXTS])[0]]
    assert curved == pytest.approx([1 / (1 + math.exp(2 - 5 * cosine)) for cosine in cosines], abs=1e-5)
    config["late_interaction"] = {"slope": "steep"}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="slope and intercept"):
        KlueReranker(model=str(tmp_path / "model"), model_kwargs={"device": "cpu"}).rerank(TEXTS, QUESTION)


def test_documents_are_read_once(late_interaction_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = KlueReranker(model=str(late_interaction_folder), model_kwargs={"device": "cpu"}, top_n=None)
    model: Any = reranker.encoder
    read: list[str] = []
    encode = model._model.encode_document

    def note(texts: list[str], **settings: Any) -> Any:
        read.extend(texts)
        return encode(texts, **settings)

    monkeypatch.setattr(model._model, "encode_document", note)
    first = reranker.rerank([*TEXTS, TEXTS[0]], QUESTION)
    assert sorted(read) == sorted(TEXTS)
    assert reranker.rerank([*TEXTS, TEXTS[0]], QUESTION) == first
    assert sorted(read) == sorted(TEXTS)


def test_what_is_not_read_in_time_is_unread(late_interaction_folder: Path) -> None:
    model = LateInteraction(str(late_interaction_folder), CrossEncoderOptions(device="cpu"))
    [scores] = score(model, [QUESTION], [TEXTS], deadline=time.monotonic() - 1)
    assert np.isnan(scores).all()
    with model._lock, ThreadPoolExecutor(1) as other:  # another caller computes
        [scores] = other.submit(score, model, [QUESTION], [TEXTS], deadline=time.monotonic() + 0.01).result()
    assert np.isnan(scores).all()
    [scores] = score(model, [QUESTION], [TEXTS], deadline=time.monotonic() + 60)
    assert np.isfinite(scores).all()


def test_a_deadline_may_be_as_far_away_as_one_likes(late_interaction_folder: Path) -> None:
    model = LateInteraction(str(late_interaction_folder), CrossEncoderOptions(device="cpu"))
    [scores] = score(model, [QUESTION], [TEXTS], deadline=float("inf"))
    assert np.isfinite(scores).all()


def test_nan_from_a_model_is_an_error(late_interaction_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = KlueReranker(model=str(late_interaction_folder), model_kwargs={"device": "cpu"})
    model: Any = reranker.encoder
    monkeypatch.setattr(
        model._model, "encode_document", lambda texts, **_: [np.full((2, 16), np.nan, np.float32) for _ in texts]
    )
    with pytest.raises(ModelOutputError, match="NaN"):
        reranker.rerank(TEXTS, QUESTION)


def test_other_backends_are_refused(late_interaction_folder: Path) -> None:
    with pytest.raises(ValueError, match="late-interaction"):
        KlueReranker(model=str(late_interaction_folder), backend="onnx").rerank(TEXTS, QUESTION)


def test_other_models_have_no_token_vectors(klue_cross_encoder_folder: Path) -> None:
    for reranker in (
        KlueReranker(),
        KlueReranker(model=str(klue_cross_encoder_folder), model_kwargs={"device": "cpu"}),
    ):
        assert reranker._token_vectors is None


def test_a_folder_without_a_configuration_is_taken_for_a_cross_encoder(tmp_path: Path) -> None:
    (tmp_path / "config_sentence_transformers.json").write_text("<html>")
    reranker = KlueReranker(model=str(tmp_path))
    assert reranker._token_vectors is None
    with pytest.raises((ModelLoadError, MissingExtraError)):
        reranker.rerank(TEXTS, QUESTION)


# --- with an index ------------------------------------------------------------------------------------------------


def test_kept_vectors_give_the_same_and_documents_are_not_read_again(
    late_interaction_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def new() -> KlueReranker:
        return KlueReranker(model=str(late_interaction_folder), model_kwargs={"device": "cpu"})

    without = KlueRetriever.from_documents(documents(), reranker=None)
    without.reranker = new()  # set afterwards: the index keeps nothing, vectors are computed when they are needed
    expected = without.invoke(QUESTION)
    assert without.token_vector_bytes == 0

    retriever = KlueRetriever.from_documents(documents(), reranker=new())
    assert 0 < retriever.token_vector_bytes <= 128 * (16 + 2) + 16
    retriever.save(tmp_path)
    loaded = KlueRetriever.load(tmp_path, reranker=new())
    for one in (retriever, loaded):
        model: Any = one.reranker.encoder  # type: ignore[union-attr]
        monkeypatch.setattr(model._model, "encode_document", lambda *_, **__: pytest.fail("read a document again"))
        same(one.invoke(QUESTION), expected)
        same(one.batch([QUESTION, "여권 사진"])[0], one.invoke(QUESTION))


def test_token_vectors_of_another_model_are_refused(
    late: KlueReranker, late_interaction_folder: Path, tmp_path: Path
) -> None:
    KlueRetriever.from_documents(documents(), reranker=late).save(tmp_path)
    other = KlueReranker(
        model=str(late_interaction_folder), model_kwargs={"device": "cpu"}, encode_kwargs={"max_vectors": 7}
    )
    with pytest.raises(ModelMismatchError, match="token vectors"):
        KlueRetriever.load(tmp_path, reranker=other)


def test_another_reranker_may_search_but_not_add(late: KlueReranker, tmp_path: Path) -> None:
    KlueRetriever.from_documents(documents(), reranker=late).save(tmp_path)
    packaged = KlueRetriever.load(tmp_path)
    assert packaged.invoke(QUESTION) == KlueRetriever.from_documents(documents()).invoke(QUESTION)
    with pytest.raises(ModelMismatchError, match="to add documents"):
        packaged.add_documents([Document("새 글")])
    assert len(packaged) == 6
    packaged.delete([one.id for one in documents() if one.id])
    packaged.add_documents(documents())  # an empty index begins anew
    assert packaged.token_vector_bytes == 0


def test_a_dense_index_keeps_them_too(late: KlueReranker) -> None:
    retriever = KlueRetriever.from_documents(documents(), reranker=late, search_type="dense")
    assert retriever.token_vector_bytes > 0
    assert len(retriever.invoke(QUESTION)) == 4


def test_after_the_packaged_reranker_it_reads_the_kept_vectors(
    late_interaction_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = KlueReranker(model=str(late_interaction_folder), model_kwargs={"device": "cpu"}, read_n=3)
    cascade = KlueCascade(stages=[KlueReranker(), reranker])
    retriever = KlueRetriever.from_documents(documents(), reranker=cascade)
    assert retriever.token_vector_bytes > 0
    expected = retriever.invoke(QUESTION)
    model: Any = reranker.encoder
    monkeypatch.setattr(model, "_cache", model._cache.__class__(1, len))
    monkeypatch.setattr(model._model, "encode_document", lambda *_, **__: pytest.fail("read a document again"))
    assert retriever.invoke(QUESTION) == expected


def test_an_emptied_index_has_no_token_vectors(late: KlueReranker, tmp_path: Path) -> None:
    retriever = KlueRetriever.from_documents(documents(), reranker=late)
    retriever.delete([one.id for one in documents() if one.id])
    retriever.save(tmp_path)
    assert retriever.token_vector_bytes == 0
