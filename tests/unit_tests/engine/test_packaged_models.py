"""What a user may rely on in the packaged weights, whatever they are trained on."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from langchain_klue_rerank.engine.contracts import BiEncoder, CrossEncoder, Evidence
from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.models.opening import load_bi_encoder, load_cross_encoder, packaged_bi_encoder
from langchain_klue_rerank.engine.models.options import ModelOptions
from langchain_klue_rerank.engine.models.packaged.cross_encoder import PairScorer
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import StaticBiEncoder, WordFeatures
from langchain_klue_rerank.engine.models.packaged.static_files import FORMAT_VERSION, StaticConfig, save
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import tokenize
from tests.unit_tests.engine.helpers import score

TEXTS = [
    "전입신고는 이사한 날부터 14일 안에 주민센터에서 해야 합니다.",
    "체류기간을 연장하려면 출입국·외국인청에 신청합니다.",
    "건강보험료는 매달 10일까지 냅니다.",
    "김치찌개에는 돼지고기와 두부를 넣습니다.",
    "ㅋㅋ LangChain 🦜 漢字",
]
QUERY = "이사하면 전입신고를 며칠 안에 해야 하나요?"
NO_WORDS = ["", " \n", "!?…", "😀", "\ud83d"]


@pytest.fixture(scope="module")
def bi_encoder() -> BiEncoder:
    return load_bi_encoder(None, ModelOptions())


@pytest.fixture(scope="module")
def cross_encoder() -> CrossEncoder:
    return load_cross_encoder(None, ModelOptions())


def test_vectors_have_length_1_and_nothing_has_none(bi_encoder: BiEncoder) -> None:
    vectors = bi_encoder.encode([*TEXTS, *NO_WORDS], "passage")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors[: len(TEXTS)], axis=1), 1, rtol=1e-5)
    assert not vectors[len(TEXTS) :].any()
    assert bi_encoder.encode([], "passage").shape == (0, vectors.shape[1])


def test_tokens_at_hand_give_the_same_vectors(bi_encoder: BiEncoder) -> None:
    tokens = tokenize(TEXTS, shared_analyzer())
    np.testing.assert_array_equal(bi_encoder.encode(TEXTS, "passage", tokens), bi_encoder.encode(TEXTS, "passage"))


@pytest.mark.slow
def test_a_text_of_50_000_words(bi_encoder: BiEncoder) -> None:
    [vector] = bi_encoder.encode([" ".join(TEXTS) * 2_500], "passage")
    assert np.linalg.norm(vector) == pytest.approx(1, rel=1e-4)


def test_tokens_at_hand_give_the_same_scores(cross_encoder: CrossEncoder) -> None:
    tokens = Evidence(tokenize(TEXTS, shared_analyzer()))
    [expected] = score(cross_encoder, [QUERY], [TEXTS])
    np.testing.assert_allclose(score(cross_encoder, [QUERY], [TEXTS], [tokens])[0], expected, atol=1e-6)
    order = np.asarray([3, 0, 0])
    found = score(cross_encoder, [QUERY, QUERY], [[TEXTS[row] for row in order], TEXTS], [tokens.take(order), None])
    np.testing.assert_allclose(found[0], expected[order], atol=1e-6)
    np.testing.assert_allclose(found[1], expected, atol=1e-6)


def test_cosines_at_hand_give_the_same_scores(cross_encoder: CrossEncoder, bi_encoder: BiEncoder) -> None:
    cosines = bi_encoder.encode(TEXTS, "passage") @ bi_encoder.encode([QUERY], "query")[0]
    found = Evidence(tokenize(TEXTS, shared_analyzer()), cosines)
    [expected] = score(cross_encoder, [QUERY], [TEXTS])
    np.testing.assert_allclose(score(cross_encoder, [QUERY], [TEXTS], [found])[0], expected, atol=1e-6)
    [reversed_too] = score(cross_encoder, [QUERY], [TEXTS[::-1]], [found.take(np.arange(len(TEXTS))[::-1])])
    np.testing.assert_allclose(reversed_too[::-1], expected, atol=1e-6)


def test_lexical_scores_of_the_search_count(cross_encoder: CrossEncoder) -> None:
    texts = ["사과 농사를 짓는 마을", "사과 농사를 짓는 사람"]
    tokens = tokenize(texts, shared_analyzer())
    for scores in ([0.6, 0.1], [0.1, 0.6]):
        found = Evidence(tokens, lexical=np.asarray(scores, np.float32), corpus_size=1000)
        [given] = score(cross_encoder, ["사과 농사"], [texts], [found])
        [turned] = score(cross_encoder, ["사과 농사"], [texts[::-1]], [found.take(np.asarray([1, 0]))])
        assert given.argmax() == np.argmax(scores)
        np.testing.assert_allclose(turned[::-1], given, atol=1e-6)


def test_a_handful_of_passages_does_not_tell_which_words_are_rare(cross_encoder: CrossEncoder) -> None:
    tokens, given = tokenize(TEXTS, shared_analyzer()), np.zeros(len(TEXTS), np.float32)
    few, many = (
        score(cross_encoder, [QUERY], [TEXTS], [Evidence(tokens, lexical=given, corpus_size=searched)])[0]
        for searched in (2, 20_000)
    )
    [without] = score(cross_encoder, [QUERY], [TEXTS])
    assert abs(few[0] - without[0]) < abs(many[0] - without[0])


def test_nothing_to_read_scores_0(cross_encoder: CrossEncoder) -> None:
    assert score(cross_encoder, [], []) == []
    assert [own.tolist() for own in score(cross_encoder, [QUERY, QUERY], [[], NO_WORDS])] == [[], [0.0] * len(NO_WORDS)]
    for query in NO_WORDS:
        assert score(cross_encoder, [query], [TEXTS])[0].tolist() == [0.0] * len(TEXTS)


@pytest.mark.slow
def test_a_query_and_a_passage_of_50_000_words(cross_encoder: CrossEncoder) -> None:
    long = " ".join(TEXTS) * 2_500
    for query, passage in ((QUERY, long), (long, TEXTS[0])):
        [[found]] = score(cross_encoder, [query], [[passage]])
        assert 0 <= found <= 1


@pytest.mark.slow
def test_another_process_gets_the_same_without_torch(bi_encoder: BiEncoder, cross_encoder: CrossEncoder) -> None:
    code = f"""
import sys
from langchain_klue_rerank.engine.contracts import ScoreRequest
from langchain_klue_rerank.engine.models.options import CrossEncoderOptions, ModelOptions
from langchain_klue_rerank.engine.models.opening import load_bi_encoder, load_cross_encoder
texts, query = {TEXTS!r}, {QUERY!r}
vectors = load_bi_encoder(None, ModelOptions()).encode(texts, "passage")
scores = load_cross_encoder(None, CrossEncoderOptions()).score([ScoreRequest(query, texts)])[0].values
heavy = {{"torch", "sentence_transformers", "transformers", "sklearn", "scipy"}} & set(sys.modules)
assert not heavy, heavy
print(vectors.tobytes().hex(), scores.tobytes().hex())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    vectors, scores = (np.frombuffer(bytes.fromhex(part), np.float32) for part in done.stdout.split())
    np.testing.assert_allclose(vectors, bi_encoder.encode(TEXTS, "passage").ravel(), atol=1e-6)
    np.testing.assert_allclose(scores, score(cross_encoder, [QUERY], [TEXTS])[0], atol=1e-6)


# The file format of the bi-encoder, on tiny weights made here


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    config = StaticConfig(dimension=8, morphemes=2, unknown_rows=4, ngram_rows=32, repeat_power=0.5)
    vectors = np.random.default_rng(0).normal(size=(config.rows, 8)).astype(np.float32)
    save(tmp_path, config, ["하늘/NNG", "강/NNG"], vectors, {})
    return tmp_path


def test_saved_weights_can_be_used(tiny: Path) -> None:
    tokens = tokenize(["하늘은 푸르다", "", "강물"], shared_analyzer())
    vectors = StaticBiEncoder.load(tiny).encode(tokens)
    assert vectors.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1], rtol=1e-5)


def test_spelling_counts_where_the_vocabulary_ends() -> None:
    features = WordFeatures(["하늘/NNG"], unknown_rows=4, ngram_rows=32)
    words, morphemes = ["하늘은", "강물", "ㅋㅋ", "하늘강"], [("하늘/NNG",), ("강물/NNG",), (), ("하늘/NNG", "강/NNG")]
    rows = features(words, morphemes)
    own = [rows.values[start:end].tolist() for start, end in pairwise(rows.offsets.tolist())]
    assert own[0] == [0]  # known: nothing but its row
    for found, count in zip(own[1:], (1 + 3 + 2, 3 + 2, 2 + 4 + 3), strict=True):  # morphemes, bigrams, trigrams
        assert len(found) == count
        assert max(found) >= 1 + 4
    assert len(features([], []).values) == 0


def test_weights_of_another_kind_are_refused(tiny: Path) -> None:
    config = tiny / "config.json"
    written = config.read_text(encoding="utf-8")
    for old, new in (
        (f'"format_version": {FORMAT_VERSION}', '"format_version": 99'),
        ("klue-static-bi-encoder", "etwas"),
        ("dimension", "d"),
    ):
        assert old in written
        config.write_text(written.replace(old, new), encoding="utf-8")
        with pytest.raises(ValueError, match=str(config.parent)):
            StaticBiEncoder.load(tiny)
    config.write_text(written, encoding="utf-8")
    (tiny / "vocabulary.txt").write_text("하늘/NNG\n", encoding="utf-8")
    with pytest.raises(ValueError, match="vocabulary"):
        StaticBiEncoder.load(tiny)


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StaticBiEncoder.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        PairScorer.load(tmp_path)


def test_one_query_at_a_time() -> None:
    scorer = PairScorer.load(WEIGHTS / "reranker")
    tokens = tokenize(TEXTS, shared_analyzer())
    with pytest.raises(ValueError, match="one query"):
        scorer.score(tokens, tokens, np.zeros(len(TEXTS), np.float32))


class TestPackagedCrossEncoder:
    """What a `KlueReranker` without a retriever hands its documents to."""

    QUERY = "연차 휴가는 며칠인가요?"
    PASSAGES: Final = ["휴일에는 쉽니다.", "직원은 해마다 15일을 쉴 수 있다.", "김치찌개를 끓이는 법"]

    def test_where_no_word_matches_the_meaning_decides(self) -> None:
        encoder = load_cross_encoder(None, ModelOptions())
        passages = ["자동차 엔진 오일은 1년마다 바꾼다.", "직원은 일을 쉬는 날에도 월급을 받는다."]
        [scores] = score(encoder, ["휴가 급여"], [passages])
        vectors = packaged_bi_encoder()
        analyzer = shared_analyzer()
        cosines = vectors.encode(tokenize(passages, analyzer)) @ vectors.encode(tokenize(["휴가 급여"], analyzer))[0]
        assert scores.argmax() == cosines.argmax() == 1

    def test_alone_the_meaning_adds_a_fiftieth_at_most(self) -> None:
        encoder = load_cross_encoder(None, ModelOptions())
        [alone] = score(encoder, [self.QUERY], [self.PASSAGES])
        [beside] = score(encoder, [self.QUERY], [self.PASSAGES], alone=False)
        assert (alone >= beside).all()
        assert (alone - beside <= 0.02).all()
        assert ((alone >= 0) & (alone <= 1)).all()

    def test_a_pairs_score_does_not_depend_on_the_other_pairs(self) -> None:
        encoder = load_cross_encoder(None, ModelOptions())
        [together] = score(encoder, [self.QUERY], [self.PASSAGES])
        single = [score(encoder, [self.QUERY], [[passage]])[0][0] for passage in self.PASSAGES]
        assert together.tolist() == pytest.approx(single, abs=1e-6)

    def test_nothing_to_read_scores_nothing(self) -> None:
        encoder = load_cross_encoder(None, ModelOptions())
        [scores] = score(encoder, [self.QUERY], [["", "!!!"]])
        assert scores.tolist() == [0, 0]
