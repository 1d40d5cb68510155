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
from langchain_klue_rerank.engine.models.encoder.network import NumpyNetwork, embed_pieces
from langchain_klue_rerank.engine.models.encoder.pieces import PieceTokenizer
from langchain_klue_rerank.engine.models.encoder.reading import odds_of_answers, window_to_read
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


@pytest.fixture(scope="module")
def in_onnx(weights: EncoderWeights) -> EncoderBiEncoder:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from langchain_klue_rerank.engine.models.encoder.onnx_network import OnnxNetwork

    return EncoderBiEncoder(FOLDER, OnnxNetwork(weights))


#: Beside usual sentences: one word, a long text, and what no network was tuned on.
MANY_TEXTS = [
    *TEXTS,
    *HOSTILE.values(),
    *("가", "ㅠㅠ", "1234567890 " * 9, "def f(x): return x + 1", "The library is closed on Mondays.", TEXTS[0] * 30),
]


@pytest.mark.parametrize("kind", ["query", "passage"])
def test_onnx_and_numpy_compute_the_same(
    in_numpy: EncoderBiEncoder, in_onnx: EncoderBiEncoder, kind: Literal["query", "passage"]
) -> None:
    one, two = (encoder.encode(MANY_TEXTS, kind) for encoder in (in_numpy, in_onnx))
    lengths = np.linalg.norm(one, axis=1)
    cosines = np.einsum("ij,ij->i", one, two)[lengths > 0]
    assert cosines[: len(TEXTS)].min() > 0.9993
    assert cosines.min() > 0.99
    assert (np.linalg.norm(two, axis=1) == 0).tolist() == (lengths == 0).tolist()


def test_onnx_and_numpy_read_the_same(in_numpy: EncoderBiEncoder, in_onnx: EncoderBiEncoder) -> None:
    question = "책을 몇 권이나 대출할 수 있나요?"
    one, two = (encoder.read(question, MANY_TEXTS) for encoder in (in_numpy, in_onnx))
    assert np.abs(one - two).mean() < 0.15
    assert one.argmax() == two.argmax()


def test_a_vector_does_not_depend_on_what_is_embedded_beside_it(in_onnx: EncoderBiEncoder) -> None:
    together = in_onnx.encode(MANY_TEXTS, "passage")
    for text, vector in zip(MANY_TEXTS, together, strict=True):
        np.testing.assert_array_equal(in_onnx.encode([text], "passage")[0], vector)
    np.testing.assert_array_equal(in_onnx.encode([*MANY_TEXTS * 9], "passage"), np.tile(together, (9, 1)))


def test_the_graph_for_processors_without_vnni_computes_the_same(weights: EncoderWeights) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from langchain_klue_rerank.engine.models.encoder import onnx_network

    if onnx_network._signed_products_overflow():
        pytest.skip("this processor is one of them")
    texts = [np.array([0, 100, 2000, 2]), np.array([0, 5, 29_000, 2])]
    given = {"states": np.stack([embed_pieces(weights, [text]) for text in texts])}
    one, two = (
        runtime.InferenceSession(onnx_network.build_graph(weights, unsigned=unsigned)).run(None, given)[0]
        for unsigned in (False, True)
    )
    np.testing.assert_allclose(one, two, atol=2e-4)


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


def test_a_question_and_a_passage_are_read_as_the_library_pairs_them(in_numpy: EncoderBiEncoder) -> None:
    transformers = pytest.importorskip("transformers")
    weights = in_numpy._weights
    scored = list(zip(weights.pieces, weights.piece_scores.tolist(), strict=True))
    pairing = transformers.XLMRobertaTokenizer(vocab=scored)  # the family that multilingual-e5 belongs to

    class Seen:
        uses_all_cores = True
        pieces: list[int]

        def means(self, texts: list[np.ndarray]) -> np.ndarray:
            self.pieces = texts[0].tolist()
            return np.zeros((len(texts), weights.sizes.hidden), np.float32)

    seen = Seen()
    EncoderBiEncoder(FOLDER, seen).read("대출 기한은?", ["도서관\n책은 두 주 동안 빌립니다."])
    theirs = pairing("query: 대출 기한은?", "passage: 도서관\n책은 두 주 동안 빌립니다.")["input_ids"]
    assert seen.pieces == theirs


def test_a_passage_that_answers_is_told_from_one_about_the_same(in_numpy: EncoderBiEncoder) -> None:
    passage = "도서 대출\n책은 한 번에 다섯 권까지 두 주 동안 빌릴 수 있습니다. 연장은 한 번만 됩니다."
    answered = ["책 몇 권까지 빌려줘요?", "빌린 책 언제까지 갖고 있어도 되나"]
    unanswered = ["책 잃어버리면 얼마 물어내요?", "도서관 주차장 있나요"]
    odds = [float(odds_of_answers(in_numpy, question, [passage])[0]) for question in (*answered, *unanswered)]
    assert min(odds[:2]) > max(odds[2:])


@pytest.mark.parametrize("before", [0, 1, 4, 5, 6, 30, 60])
def test_a_long_passage_is_read_where_it_shares_most_with_the_question(in_numpy: EncoderBiEncoder, before: int) -> None:
    sentence = "그날 저녁에는 모두 모여 늦게까지 이야기를 나누었습니다. "
    filler, rest = sentence * before, sentence * (60 - before)
    answer = "반납이 늦으면 하루에 백 원씩 연체료를 냅니다."
    question = "연체료는 하루에 얼마인가요?"
    window = window_to_read(question, f"대출 안내\n{filler}{answer} {rest}")
    assert answer in window
    assert window.startswith("대출 안내\n")
    assert len(window) < 300
    buried, alone, none = odds_of_answers(
        in_numpy, question, [f"대출 안내\n{filler}{answer} {rest}", answer, f"대출 안내\n{sentence * 60}"]
    )
    assert min(buried, alone) > none


def test_only_the_packaged_encoder_reads() -> None:
    assert KlueEmbeddings().read("질문", TEXTS) is None
    odds = KlueEmbeddings(model="packaged-encoder").read("질문", TEXTS)
    assert odds is not None
    assert odds.shape == (len(TEXTS),)
    nothing = KlueEmbeddings(model="packaged-encoder").read("질문", [])
    assert nothing is not None
    assert nothing.shape == (0,)
    hostile = KlueEmbeddings(model="packaged-encoder").read("질문" * 999, list(HOSTILE.values()))
    assert hostile is not None
    assert np.isfinite(hostile).all()


def test_rounding_twice_is_rounding_once() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 96)).astype(np.float32)
    once = BlockMatrix.rounded(matrix)
    assert once.shape == (5, 96)
    assert np.abs(once.floats() - matrix).max() < 0.3
    assert (BlockMatrix.rounded(once.floats()).floats() == once.floats()).all()
    assert (once.rows(np.array([3, 1])) == once.floats()[[3, 1]]).all()


@pytest.mark.parametrize("file", ["blocks.npy", "bytes.npy", "pieces.txt", "floats.npy"])
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
