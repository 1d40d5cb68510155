"""Batches of pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from langchain_klue_rerank.engine.models.transformer.batches import Pair, Workload, assemble, plan
from langchain_klue_rerank.engine.models.transformer.tokenizer import PairTokenizer, Template


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 3000), st.integers(1, 40))
def test_every_pair_is_in_one_batch_and_no_batch_is_beyond_its_budget(
    lengths: list[int], tokens: int, pairs: int
) -> None:
    batches = plan(lengths, tokens=tokens, pairs=pairs)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[number] for number in batch)
        assert len(batch) <= pairs
        assert len(batch) == 1 or longest * len(batch) <= tokens


def test_pairs_of_like_lengths_meet() -> None:
    assert plan([10, 500, 12, 490], tokens=1000, pairs=8) == [[1, 3], [2, 0]]


def test_a_pair_is_put_between_the_special_tokens_and_padded() -> None:
    template = Template((0,), (2, 2), (2,), (0, 0, 0, 1, 1))
    tokenizer = PairTokenizer(lambda texts: [], template, padding=1, reads_types=True)
    query = np.asarray([7, 8], np.int32)
    batch = assemble([Pair(query, np.asarray([9], np.int32), 0), Pair(query[:1], query[:0], 1)], tokenizer)
    assert batch.ids.tolist() == [[0, 7, 8, 2, 2, 9, 2], [0, 7, 2, 2, 2, 1, 1]]
    assert batch.mask.tolist() == [[1] * 7, [1] * 5 + [0] * 2]
    assert batch.types is not None
    assert batch.types.tolist() == [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 0, 0]]


def test_padding_is_counted() -> None:
    workload = Workload()
    assert workload.padding_share == 0
    workload.add(pairs=2, tokens=12, computed=14)
    workload.add(pairs=1, tokens=6, computed=6)
    assert (workload.pairs, workload.batches, workload.tokens, workload.computed) == (3, 2, 18, 20)
    assert abs(workload.padding_share - 0.1) < 1e-9
