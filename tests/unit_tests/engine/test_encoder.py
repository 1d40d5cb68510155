"""The packaged encoder: its pieces, its two networks, its files, and its name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from langchain_klue_rerank import KlueEmbeddings, KlueReranker
from langchain_klue_rerank.engine.models.encoder.bi_encoder import EncoderBiEncoder
from langchain_klue_rerank.engine.models.encoder.blocks import BlockMatrix
from langchain_klue_rerank.engine.models.encoder.network import NumpyNetwork
from langchain_klue_rerank.engine.models.encoder.pieces import PieceTokenizer
from langchain_klue_rerank.engine.models.encoder.weights import EncoderWeights
from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.errors import ModelLoadError
from tests.unit_tests.fakes import HOSTILE, TEXTS

FOLDER = WEIGHTS / "encoder"


@pytest.fixture(scope="module")
def weights() -> EncoderWeights:
    return EncoderWeights.load(FOLDER)


@pytest.fixture(scope="module")
def in_numpy(weights: EncoderWeights) -> EncoderBiEncoder:
    return EncoderBiEncoder(FOLDER, NumpyNetwork(weights))


def test_texts_are_cut_as_the_tokenizers_library_cuts_them(weights: EncoderWeights) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    scored = list(zip(weights.pieces, weights.piece_scores.tolist(), strict=True))
    theirs = tokenizers.Tokenizer(tokenizers.models.Unigram(scored, unk_id=3, byte_fallback=False))
    theirs.normalizer = tokenizers.normalizers.NFKC()
    split, mark = tokenizers.pre_tokenizers.WhitespaceSplit(), tokenizers.pre_tokenizers.Metaspace()
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, mark])
    ours = PieceTokenizer(weights.pieces, weights.piece_scores.tolist())
    for text in [*TEXTS, "query: ㈜한글 ABC-123 ☃☃ 뷁뷁 ½", HOSTILE["jamo"], HOSTILE["japanese"], HOSTILE["emoji"]]:
        assert ours.encode(text, 512) == [0, *theirs.encode(text).ids, 2], text


def test_a_long_text_is_cut(weights: EncoderWeights) -> None:
    pieces = PieceTokenizer(weights.pieces, weights.piece_scores.tolist()).encode("전입신고 기한 " * 999, 32)
    assert len(pieces) == 32
    assert (pieces[0], pieces[-1]) == (0, 2)


def test_onnx_and_numpy_compute_the_same(in_numpy: EncoderBiEncoder, weights: EncoderWeights) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from langchain_klue_rerank.engine.models.encoder.onnx_network import OnnxNetwork

    other = EncoderBiEncoder(FOLDER, OnnxNetwork(weights))
    texts = [*TEXTS, "가", TEXTS[0] * 9]
    one, two = (encoder.encode(texts, "passage") for encoder in (in_numpy, other))
    assert np.einsum("ij,ij->i", one, two).min() > 0.9995
    assert np.abs(other.encode(texts[:1], "passage")[0] - two[0]).max() < 1e-5


def test_vectors_have_length_1_and_do_not_depend_on_their_neighbours(in_numpy: EncoderBiEncoder) -> None:
    vectors = in_numpy.encode([*TEXTS, *HOSTILE.values()], "passage")
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))
    assert np.abs(in_numpy.encode([TEXTS[2]], "passage")[0] - vectors[2]).max() < 1e-5
    blank = in_numpy.encode([HOSTILE["empty"], HOSTILE["blank"], HOSTILE["punctuation"]], "query")
    assert not blank.any()
    assert in_numpy.encode([], "query").shape == (0, 384)


def test_a_question_in_other_words_is_nearest_to_its_answer(in_numpy: EncoderBiEncoder) -> None:
    questions = ["책을 몇 권이나 대출할 수 있나요?", "집을 옮기면 언제까지 알려야 해요?", "로그인이 막혔어요"]
    cosines = in_numpy.encode(questions, "query") @ in_numpy.encode(TEXTS, "passage").T
    assert cosines.argmax(axis=1).tolist() == [3, 0, 5]


@pytest.mark.parametrize(("bits", "error"), [(4, 0.3), (8, 0.02)])
def test_rounding_twice_is_rounding_once(bits: Literal[4, 8], error: float) -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 96)).astype(np.float32)
    once = BlockMatrix.rounded(matrix, bits)
    assert (once.bits, once.shape) == (bits, (5, 96))
    assert np.abs(once.floats() - matrix).max() < error
    assert (BlockMatrix.rounded(once.floats(), bits).floats() == once.floats()).all()
    assert (once.rows(np.array([3, 1])) == once.floats()[[3, 1]]).all()


@pytest.mark.parametrize("file", ["blocks.npy", "pieces.txt", "floats.npy"])
def test_damaged_files_are_refused(tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "model")
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(ModelLoadError, match="damaged"):
        KlueEmbeddings(model=str(folder)).embed_query("질문")


def test_a_folder_in_its_format_is_opened_and_another_version_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "model")
    vector = KlueEmbeddings(model=str(folder)).embed_query("질문")
    assert vector == pytest.approx(KlueEmbeddings(model="packaged-encoder").embed_query("질문"), abs=1e-5)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "format_version": 99}), encoding="utf-8")
    with pytest.raises(ModelLoadError, match="version 99"):
        KlueEmbeddings(model=str(folder)).embed_query("질문")


def test_its_name_means_a_bi_encoder_without_options() -> None:
    embeddings = KlueEmbeddings(model="packaged-encoder")
    assert not embeddings.reads_tokens
    assert embeddings.identity.startswith("packaged-encoder:")
    assert embeddings.embed_query(TEXTS[0]) != embeddings.embed_documents([TEXTS[0]])[0]
    with pytest.raises(ValueError, match="model_kwargs"):
        KlueEmbeddings(model="packaged-encoder", model_kwargs={"device": "cpu"})
    with pytest.raises(ModelLoadError, match="cannot rerank"):
        KlueReranker(model="packaged-encoder").rerank(TEXTS, "질문")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
@pytest.mark.parametrize("name", ["config.json", "blocks.npy"])
def test_a_pipe_in_a_files_place_does_not_hang(tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "model")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ModelLoadError):
        KlueEmbeddings(model=str(folder)).embed_query("질문")


@pytest.mark.parametrize("size", ["384", -1, 0, 2**40, True, None])
def test_sizes_that_are_none_are_refused(tmp_path: Path, size: object) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "hidden": size}), encoding="utf-8")
    with pytest.raises(ModelLoadError):
        KlueEmbeddings(model=str(folder)).embed_query("질문")
