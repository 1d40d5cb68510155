"""Search in one state of an index: lexical scores and cosines of its passages, one score of both, the best passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.index import fusion
from langchain_klue_rerank.engine.index import vectors as passage_vectors
from langchain_klue_rerank.engine.index.filters import Condition
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.segments import scoring
from langchain_klue_rerank.engine.index.segments.columns import evaluate
from langchain_klue_rerank.engine.index.segments.skimming import (
    READ_FOR_EACH,
    Ranked,
    skimmed,
)
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts
from langchain_klue_rerank.engine.threads import give_way, making_way

#: Scores of a batch of queries computed at a time; bounds the memory of a batch over a large index to some 100 MB.
_SCORES_AT_ONCE = 8_000_000
#: Passages copied at a time for a function that filters them.
_PASSAGES_AT_ONCE = 64
#: Passages whose windows are compared with a query: the best by whole-passage cosine, at least this many,
#: `READ_FOR_EACH` for each requested result, and this share of all. On KLUE-MRC reading all finds no more answers.
_READ, _READ_SHARE = 500, 0.05


#: What may be found: a condition on metadata, or a function of a passage.
Keep = Condition | Callable[[Passage], bool]


@dataclass(frozen=True, slots=True)
class SecondQueries:
    """What a second bi-encoder makes of the queries of a hybrid search.

    Attributes:
        vectors: Unit vectors of m queries, (m, dim) float32.
        weight: Weight of its scores, the lexical ones having 1.
        field: The field of its vectors.
    """

    vectors: NDArray[np.float32]
    weight: float
    field: str


def allowed(snapshot: Snapshot, keep: Keep | None) -> NDArray[np.bool_] | None:
    """Return which rows may be found; None for all.

    Args:
        snapshot: The state of the index.
        keep: The filter; None for whatever is there.
    """
    alive = snapshot.alive()
    if keep is None:
        return alive
    parts = []
    with making_way():
        for view in snapshot.views:
            passages = view.segment.passages
            if callable(keep):
                kept = np.zeros(len(passages), bool)
                rows = view.rows()
                for start in range(0, len(rows), _PASSAGES_AT_ONCE):
                    give_way()
                    some = rows[start : start + _PASSAGES_AT_ONCE]
                    kept[some] = [keep(passage) for passage in passages.copies(some.tolist())]
                    view.segment.release()
            else:
                kept = evaluate(keep, passages.column, len(passages))
            parts.append(kept)
    mask = np.concatenate(parts) if parts else np.zeros(0, bool)
    return mask if alive is None else mask & alive


def rank(
    snapshot: Snapshot,
    k: int,
    tokens: TokenizedTexts | None,
    vectors: NDArray[np.float32] | None,
    dense_weight: float,
    mask: NDArray[np.bool_] | None,
    field: str,
    keep_lexical: int = 0,
    exact: Sequence[float] | None = None,
    second: SecondQueries | None = None,
) -> list[Ranked]:
    """Rank passages for each query.

    Args:
        snapshot: The state of the index.
        k: How many passages at most.
        tokens: The queries' tokens; None to search by vectors alone.
        vectors: The queries' unit vectors, (m, dim); None to search by words alone.
        dense_weight: Weight of the cosine beside the lexical score.
        mask: Which rows may be found; None for all.
        field: The field of vectors.
        keep_lexical: How many of the passages that the words alone rank first stay among those found.
        exact: Share of each query that must match exactly; see `fusion.fuse_scores`. Default: nothing.
        second: The queries as a second bi-encoder sees them; for hybrid search. Default: none.
    """
    ranked: list[Ranked] = []
    count = len(vectors) if vectors is not None else len(tokens) if tokens is not None else 0
    if second is None and any(view.segment.size >= passage_vectors.LARGE for view in snapshot.views):
        for number in range(count):
            words = None if tokens is None else scoring.weigh(snapshot, tokens, number)
            query = None if vectors is None else vectors[number]
            combine = partial(
                fusion.first_stage, dense_weight=dense_weight, exact=exact[number] if exact is not None else 0.0
            )
            ranked.append(skimmed(snapshot, k, words, query, combine, mask, field, keep_lexical))
            for view in snapshot.views:
                view.segment.searched()
        return ranked
    step = max(1, _SCORES_AT_ONCE // max(1, snapshot.size))
    for start in range(0, count, step):
        some = np.arange(start, min(start + step, count))
        cosines = None if vectors is None or not snapshot.views else _cosines(snapshot, vectors[some], field)
        others = None
        if second is not None and snapshot.views:
            others = _cosines(snapshot, second.vectors[some], second.field)
        for place, number in enumerate(some.tolist()):
            lexical = None if tokens is None else lexical_scores(snapshot, tokens, number)
            if vectors is None or cosines is None:
                found = lexical if lexical is not None else np.zeros(snapshot.size, np.float32)
                rows = fusion.top(found, k, mask)
                ranked.append(Ranked(rows, found[rows], None, found[rows]))
            else:
                share = exact[number] if exact is not None else 0.0
                combine = partial(fusion.first_stage, dense_weight=dense_weight, exact=share)
                opinion = None
                if second is not None and others is not None and lexical is not None:
                    opinion = _Opinion.of(snapshot, second, number, others[place])
                    combine = partial(combine, second_weight=second.weight)
                given = (lexical, cosines[place], vectors[number], opinion, combine)
                ranked.append(_fused(snapshot, k, *given, mask, field, keep_lexical))
    return ranked


def lexical_scores(snapshot: Snapshot, tokens: TokenizedTexts, number: int) -> NDArray[np.float32]:
    """Return the lexical scores of all rows for one query."""
    found = np.zeros(snapshot.size, np.float32)
    terms = scoring.weigh(snapshot, tokens, number)
    for start, view, own in zip(snapshot.starts.tolist(), snapshot.views, terms, strict=False):
        scoring.scores(snapshot, view.segment, own, found[start : start + view.segment.size])
    return found


def _cosines(snapshot: Snapshot, queries: NDArray[np.float32], field: str) -> NDArray[np.float32]:
    """Return the cosine of every query with every row as a whole, (m, n)."""
    products = [queries @ view.segment.vectors[field].wholes.T for view in snapshot.views]
    return products[0] if len(products) == 1 else np.concatenate(products, axis=1)


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What a second bi-encoder says of the passages for one query.

    Attributes:
        query: The query's unit vector.
        field: The field of its vectors.
        cosines: Of all rows as wholes.
        mean: Mean of those of passages that are there.
        spread: Their standard deviation.
    """

    query: NDArray[np.float32]
    field: str
    cosines: NDArray[np.float32]
    mean: float
    spread: float

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        second: SecondQueries,
        number: int,
        cosines: NDArray[np.float32],
    ) -> _Opinion:
        alive = snapshot.alive()
        compared = cosines if alive is None else cosines[alive]
        mean, spread = (float(compared.mean()), float(compared.std())) if len(compared) else (0.0, 0.0)
        return cls(second.vectors[number], second.field, cosines, mean, spread)

    def scores(self, snapshot: Snapshot, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return the scores of all rows as wholes or, of some rows, those of their best windows."""
        cosines = self.cosines if rows is None else snapshot.best_windows(rows, self.query, self.field)
        return fusion.lead(cosines, self.mean, self.spread)


def _fused(
    snapshot: Snapshot,
    k: int,
    lexical: NDArray[np.float32] | None,
    cosines: NDArray[np.float32],
    query: NDArray[np.float32],
    opinion: _Opinion | None,
    combine: Callable[..., NDArray[np.float32]],
    mask: NDArray[np.bool_] | None,
    field: str,
    keep_lexical: int,
) -> Ranked:
    """Rank by both scores: all passages as wholes, then the best of them by their best window."""
    fields = [field] if opinion is None else [field, opinion.field]
    windowed = any(len(view.segment.vectors[name].windows.values) for view in snapshot.views for name in fields)
    rows = np.arange(snapshot.size)
    cosines = snapshot.blanks_last(None, cosines, field)
    second = opinion.scores(snapshot) if opinion is not None else None
    scores = combine(lexical, cosines, second=second)
    leading = fusion.top(lexical, keep_lexical, mask) if lexical is not None else rows[:0]
    kept = mask
    if windowed:
        read = max(_READ, READ_FOR_EACH * k, int(_READ_SHARE * len(scores)))
        rows = fusion.union(fusion.top(scores, read, mask, above=-1), leading)
        kept = None
        cosines = snapshot.blanks_last(rows, snapshot.best_windows(rows, query, field), field)
        second = opinion.scores(snapshot, rows) if opinion is not None else None
        scores = combine(lexical[rows] if lexical is not None else None, cosines, second=second)
    # a query without a word has no vector: nothing is near it
    least = 0 if lexical is not None else -1 if query.any() else 1
    best = fusion.top(scores, k, kept, above=least)
    best = fusion.with_leading(best, np.searchsorted(rows, leading), scores, k)
    rows = rows[best]
    words = lexical[rows] if lexical is not None else None
    return Ranked(rows, scores[best], cosines[best], words, second[best] if second is not None else None)
