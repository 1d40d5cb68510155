"""The parts of the recipe of the packaged bi-encoder."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

import torch
from scipy import sparse

from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.models.packaged.static_bi_encoder import WordFeatures
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from training import data as sets
from training.packaged.bag_model import Corpus, contrastive_loss, feature_matrix, imitation_loss
from training.packaged.encoder_vectors import encode, spoken, telling_directions
from training.packaged.mapped_table import MappedTable
from training.packaged.morpheme_vectors import (
    LEAST,
    all_but_the_top,
    complete,
    count_neighbours,
    neighbour_vectors,
    unit,
)


def lines_of(rows: list[list[int]], words: list[str]) -> TokenizedTexts:
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    ids = np.asarray([word for row in rows for word in row], np.int32)
    return TokenizedTexts(words, [(word,) for word in words], ids, offsets)


# Neighbourhoods


def test_neighbours_stand_in_the_same_line() -> None:
    words = ["바다/NNG", "배/NNG", "산/NNG", "드물다/VA"]
    texts = lines_of([[0, 1], [2]] * LEAST + [[3]], words)
    counts = np.bincount(texts.word_ids, minlength=4)
    chosen, near = count_neighbours(texts, words, counts, seed=0, subsampling=1)
    assert chosen.tolist() == [0, 1, 2]  # the last is too rare
    dense = near.toarray()
    np.testing.assert_array_equal(dense, dense.T)
    assert dense[0, 1] > 0
    assert dense[2].sum() == dense[0, 0] == 0


def test_what_has_the_same_neighbours_is_alike() -> None:
    generator = np.random.default_rng(0)
    sea, mountain = list(range(10)), list(range(10, 20))
    rows = [generator.choice(subject, 6).tolist() for _ in range(400) for subject in (sea, mountain)]
    texts = lines_of(rows, [f"{number}/NNG" for number in range(20)])
    chosen, near = count_neighbours(texts, texts.words, np.bincount(texts.word_ids), seed=0, subsampling=1)
    vectors = neighbour_vectors(near, dimension=4, drop=0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    similar = vectors @ vectors.T
    same = (chosen[:, None] < 10) == (chosen[None] < 10)
    assert similar[same].mean() > similar[~same].mean() + 0.3


def test_the_largest_directions_are_taken_out_and_unknown_rows_stay_empty() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((50, 8)).astype(np.float32)
    vectors[:, 0] += 30 * generator.standard_normal(50)
    known = np.arange(50) != 7
    found = all_but_the_top(vectors, known, np.full(50, 3), drop=1)
    assert not found[7].any()
    np.testing.assert_allclose(np.linalg.norm(found[known], axis=1), 1, rtol=1e-5)
    assert np.abs(found[:, 0]).mean() < 0.1


def test_what_one_source_lacks_is_guessed_from_the_other() -> None:
    generator = np.random.default_rng(0)
    others = generator.standard_normal((2000, 4)).astype(np.float32)
    vectors = (others @ generator.standard_normal((4, 3))).astype(np.float32)
    known = np.arange(2000) >= 5
    guessed = complete(np.where(known[:, None], vectors, 0), known, others, np.arange(2000) != 3)
    np.testing.assert_array_equal(guessed[known], vectors[known])
    np.testing.assert_allclose(guessed[:3], vectors[:3], atol=0.2)
    assert not guessed[3].any()  # neither source knows it


# What the packaged encoder knows


def test_the_encoder_reads_verbs_as_a_dictionary_has_them() -> None:
    assert [spoken(one) for one in ("먹/VV", "예쁘/VA", "바다/NNG")] == ["먹다", "예쁘다", "바다"]


def test_encoded_words_are_kept_and_near_what_means_the_same(tmp_path: Path) -> None:
    texts = ["자동차", "차량", "바다"]
    cache = tmp_path / "encoded.npz"
    first = encode(texts, WEIGHTS / "encoder", cache)
    again = encode(texts[::-1], tmp_path, cache)
    np.testing.assert_array_equal(again, first[::-1])  # nothing is encoded anew: there is no encoder in that folder
    assert first[0] @ first[1] > first[0] @ first[2]


def test_the_most_telling_directions_are_kept() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((500, 6)).astype(np.float32) * [100, 10, 10, 0.1, 0.1, 0.1] + 7
    found = telling_directions(vectors.astype(np.float32), np.full(500, 3), dimension=2, drop=1)
    wanted = unit((vectors - vectors.mean(axis=0))[:, 1:3])
    assert np.abs(found @ found.T - wanted @ wanted.T).mean() < 0.1


def test_imitation_asks_for_the_same_neighbours() -> None:
    generator = np.random.default_rng(0)
    wanted = torch.from_numpy(unit(generator.standard_normal((30, 8))))
    turned = torch.from_numpy(unit(wanted.numpy() @ np.linalg.qr(generator.standard_normal((8, 8)))[0]))
    others = torch.from_numpy(unit(generator.standard_normal((30, 8))))
    assert float(imitation_loss(turned, wanted, 20)) == pytest.approx(0, abs=1e-3)
    assert float(imitation_loss(others, wanted, 20)) > 1


# The table that learns


def small_table() -> MappedTable:
    known = unit(np.random.default_rng(1).standard_normal((40, 6)))
    return MappedTable(known, np.full(40, 0.5), dimension=6, importance=np.ones(40))


def bags(rows: list[int]) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.eye(40, dtype=np.float32)[rows])


def train(table: MappedTable, optimizer: torch.optim.Optimizer, steps: int) -> float:
    loss = torch.zeros(())
    for _ in range(steps):  # of each pair of rows one stands for a question, one for its answer
        found = table(bags([*range(0, 20, 2), *range(1, 20, 2)]))
        loss = contrastive_loss(found[:10], found[10:], torch.zeros(10, 10, dtype=torch.bool), 20, None)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return float(loss.detach())


def test_the_first_map_keeps_angles() -> None:
    table = small_table()
    first = unit(table.vectors())
    known = table._known.numpy()
    np.testing.assert_allclose(first @ first.T, known @ known.T, atol=1e-5)


def test_rows_that_no_batch_touched_change_with_the_others() -> None:
    table = small_table()
    before = unit(table.vectors())
    optimizer = torch.optim.Adam(table.parameters(), lr=0.02)
    losses = train(table, optimizer, 1), train(table, optimizer, 60)
    assert losses[1] < losses[0] / 2
    after = unit(table.vectors())
    assert not np.allclose(after[20:] @ after[20:].T, before[20:] @ before[20:].T, atol=0.05)
    # Their weights, of which nothing was learned, become those of the rarest rows that were touched.
    settled = table.vectors(groups=(slice(0, 40),))
    weights = np.linalg.norm(settled, axis=1) / np.linalg.norm(
        table._known.numpy() @ table.map.detach().numpy(), axis=1
    )
    np.testing.assert_allclose(weights[20:], np.median(weights[:20]), rtol=1e-4)


def test_the_mean_of_the_maps_lies_between_them() -> None:
    table = small_table()
    first = table.vectors()
    train(table, torch.optim.Adam([table.map], lr=0.02), 20)
    np.testing.assert_allclose(table.vectors(0.5), (first + table.vectors(1.0)) / 2, atol=1e-5)


def test_a_resumed_run_goes_on_as_an_unbroken_one(tmp_path: Path) -> None:
    unbroken, broken = small_table(), small_table()
    optimizer = torch.optim.Adam(unbroken.parameters(), lr=0.02)
    train(unbroken, optimizer, 6)
    optimizer = torch.optim.Adam(broken.parameters(), lr=0.02)
    train(broken, optimizer, 3)
    broken.store(tmp_path / "checkpoint.pt", optimizer, 3)
    resumed = small_table()
    optimizer = torch.optim.Adam(resumed.parameters(), lr=0.02)
    assert resumed.restore(tmp_path / "checkpoint.pt", optimizer) == 3
    train(resumed, optimizer, 3)
    np.testing.assert_allclose(resumed.vectors(), unbroken.vectors(), atol=1e-6)
    np.testing.assert_array_equal(resumed.touched, unbroken.touched)
    assert not list(tmp_path.glob("*.part"))


# Pairs


def test_a_passage_loses_the_words_of_its_query() -> None:
    texts = tokenize(["이사하면 어디에 신고하나요", "새로 이사한 사람은 동네 주민센터 창구에 간다"], shared_analyzer())
    vocabulary = sorted({morpheme for found in texts.morphemes for morpheme in found})
    features = feature_matrix(WordFeatures(vocabulary, 5, 50), texts, len(vocabulary) + 55)
    corpus = Corpus(texts, features, np.zeros(2, np.int64), 0.75)
    kept = [texts.words[number] for number in corpus.without_shared(corpus.words(1), corpus.words(0))]
    assert "이사한" not in kept
    assert "주민센터" in kept
    # A passage that would be empty stays as it is.
    assert corpus.without_shared(corpus.words(0), corpus.words(0)).tolist() == corpus.words(0).tolist()


def test_raw_texts_fall_into_documents() -> None:
    body = "도서관을 늘려 주십시오. 아이들이 갈 곳이 없습니다. " * 4
    petitions = ["도서관을 늘려 주세요", body, body, "버스를 늘려 주세요", body]
    assert [len(one) for one in sets.documents(petitions)] == [3, 2]
    rows = ['2019-01-02,"https://example.org/1","제목","' + body, body, '2020-03-04,"책","다른 제목","' + body]
    found = list(sets.documents(rows))
    assert [len(one) for one in found] == [2, 1]
    assert "example" not in found[0][0]
    assert "2019" not in found[0][0]


def test_a_sentence_is_paired_with_those_around_it() -> None:
    sentences = [f"{name}에는 오래된 시장이 하나 남아 있습니다." for name in ("동네", "마을", "도시", "바닷가", "산골")]
    pairs = list(sets.near_pairs([" ".join(sentences)], random.Random(0)))
    assert pairs
    for pair in pairs:
        assert not set(pair.query.split("다 ")) & set(pair.passage.split("다 "))
        assert pair.query.split()[0] not in pair.passage


def test_lines_fall_into_halves() -> None:
    assert list(sets.halves(["하나 둘 셋 넷", "하나 둘"], shortest=4)) == [sets.Pair("하나 둘", "셋 넷")]
