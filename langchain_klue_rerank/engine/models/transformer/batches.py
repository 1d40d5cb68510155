"""Pairs of tokens into padded batches: of like lengths, within a budget of tokens, the padding counted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.models.transformer.tokenizer import Ids, PairTokenizer


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A query and a window of a passage.

    Attributes:
        query: The query's tokens.
        window: The window's tokens.
        place: Place of the passage among those of its query.
    """

    query: Ids
    window: Ids
    place: int

    @property
    def length(self) -> int:
        """Tokens of both texts."""
        return len(self.query) + len(self.window)


@dataclass
class Workload:
    """What a model was given to compute, added up.

    Attributes:
        pairs: Pairs of a query and a window.
        batches: Batches.
        tokens: Tokens of the pairs.
        computed: Tokens and padding.
    """

    pairs: int = 0
    batches: int = 0
    tokens: int = 0
    computed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, pairs: int, tokens: int, computed: int) -> None:
        """Count a batch."""
        with self._lock:
            self.pairs += pairs
            self.batches += 1
            self.tokens += tokens
            self.computed += computed

    @property
    def padding_share(self) -> float:
        """Share of what was computed that was padding, 0..1."""
        return 1 - self.tokens / self.computed if self.computed else 0.0


def plan(lengths: Sequence[int], *, tokens: int, pairs: int) -> list[list[int]]:
    """Divide pairs into batches of like lengths, longest first.

    Args:
        lengths: Tokens of each pair.
        tokens: Most tokens of a batch, padding included; a longer pair makes a batch of its own.
        pairs: Most pairs of a batch.

    Returns:
        The batches, each the numbers of its pairs.
    """
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if batches and len(batches[-1]) < pairs and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= tokens:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded arrays for a transformer.

    Attributes:
        ids: (pairs, length) int64 token numbers.
        mask: (pairs, length) int64, 1 for a token and 0 for padding.
        types: (pairs, length) int64 token types, None for a model that reads none.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    types: NDArray[np.int64] | None


def assemble(pairs: Sequence[Pair], tokenizer: PairTokenizer) -> Batch:
    """Put pairs between the tokenizer's special tokens and pad them to one length."""
    template = tokenizer.template
    lengths = [template.size + pair.length for pair in pairs]
    shape = (len(pairs), max(lengths))
    ids = np.full(shape, tokenizer.padding, np.int64)
    types = np.zeros(shape, np.int64)
    before, between, after = (np.asarray(part) for part in (template.before, template.between, template.after))
    for row, pair in enumerate(pairs):
        end = 0
        for part, kind in zip((before, pair.query, between, pair.window, after), template.types, strict=True):
            start, end = end, end + len(part)
            ids[row, start:end] = part
            types[row, start:end] = kind
    mask = (np.arange(shape[1]) < np.asarray(lengths)[:, None]).astype(np.int64)
    return Batch(ids, mask, types if tokenizer.reads_types else None)
