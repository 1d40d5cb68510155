"""Lexical scores of given passages, whether or not the index holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.segments.postings import Postings
from langchain_klue_rerank.engine.index.segments.scoring import K1, B, look_up, scores_of, weigh
from langchain_klue_rerank.engine.index.segments.segment import length_norms
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.text.words import bigrams_of


def rescored(
    snapshot: Snapshot,
    query: TokenizedTexts,
    passages: Sequence[Passage],
    read: Callable[[Sequence[Passage]], TokenizedTexts],
) -> tuple[TokenizedTexts, NDArray[np.float32]]:
    """Return tokens and lexical scores of given passages; see `PassageIndex.rescore`."""
    rows = snapshot.held(passages)
    held, others = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
    if snapshot.settings.kiwi:
        tokens = TokenizedTexts.join(
            [snapshot.tokens(rows[held]), read([passages[place] for place in others.tolist()])]
        )
        tokens = tokens.take(np.argsort(np.concatenate([held, others])))
    else:
        tokens = read(passages)
    lexical = np.empty(len(rows), np.float32)
    lexical[held] = _scores_of_rows(snapshot, query, rows[held])
    lexical[others] = _scores_of_texts(snapshot, query, tokens.take(others))
    return tokens, lexical


def _scores_of_rows(snapshot: Snapshot, query: TokenizedTexts, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    found, order = np.empty(len(rows), np.float32), np.argsort(rows, kind="stable")
    ends = np.searchsorted(rows[order], snapshot.starts)
    for number, terms in enumerate(weigh(snapshot, query, 0)):
        some = order[ends[number] : ends[number + 1]]
        found[some] = scores_of(snapshot, snapshot.views[number].segment, terms, rows[some] - snapshot.starts[number])
    return found


def _scores_of_texts(snapshot: Snapshot, query: TokenizedTexts, texts: TokenizedTexts) -> NDArray[np.float32]:
    total = np.zeros(len(texts), np.float32)
    if not len(texts):
        return total
    for name, found in look_up(snapshot, query, 0).items():
        asked: Sequence[Sequence[str]] = query.morphemes
        written: Sequence[Sequence[str]] = texts.morphemes
        if name == "bigram":
            asked, written = bigrams_of(query.words), bigrams_of(texts.words)
        terms = [term for word in query.word_ids.tolist() for term in asked[word]]
        numbers = {term: place for place, term in enumerate(dict.fromkeys(terms))}
        weights = np.zeros(len(numbers))
        np.add.at(weights, [numbers[term] for term in terms], found.weights[found.places])
        # every other term has the number after the last
        table = Ragged.from_rows([[numbers.get(term, len(numbers)) for term in word] for word in written])
        postings = Postings.of(Ragged(texts.word_ids, texts.offsets).through(table))
        norms = length_norms(postings.lengths, snapshot.mean_lengths[name], K1, B)
        starts, ends = postings.spans(np.arange(len(numbers)))
        for weight, start, end in zip(weights.tolist(), starts.tolist(), ends.tolist(), strict=True):
            rows, often = postings.rows[start:end], postings.frequencies[start:end]
            total[rows] += np.float32(weight) * often / (often + norms[rows])
    return total
