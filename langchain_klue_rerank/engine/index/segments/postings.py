"""Which passages of a segment have a term, and how often: immutable, by term, merged without sorting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged, gather

#: Passages whose postings are built at a time, and postings that are merged at a time; bound the memory of both.
_PASSAGES_AT_ONCE = 8192
_POSTINGS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Postings:
    """The postings of one field of a segment.

    Attributes:
        terms: int32, the numbers of the terms that occur, rising.
        offsets: int64: the postings of ``terms[i]`` are those from ``offsets[i]`` to ``offsets[i + 1]``.
        rows: int32, passage numbers, rising within a term.
        frequencies: uint16, how often the term stands in that passage; 65,535 means that or more.
        lengths: float32, how many terms every passage has, repeated ones repeated.
    """

    terms: NDArray[np.int32]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    frequencies: NDArray[np.uint16]
    lengths: NDArray[np.float32]

    @classmethod
    def of(cls, passages: Ragged) -> Postings:
        """Build from passages given as term numbers."""
        count = len(passages.offsets) - 1
        if count <= _PASSAGES_AT_ONCE:
            return cls._of_few(passages)
        parts = []
        for start in range(0, count, _PASSAGES_AT_ONCE):
            parts.append(cls._of_few(passages.take(np.arange(start, min(start + _PASSAGES_AT_ONCE, count)))))
        return cls.merge(parts, [None] * len(parts))

    @classmethod
    def _of_few(cls, passages: Ragged) -> Postings:
        lengths = np.diff(passages.offsets)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        keys, counts = np.unique((passages.values.astype(np.int64) << 32) | rows, return_counts=True)
        terms, starts = np.unique(keys >> 32, return_index=True)
        return cls(
            terms.astype(np.int32),
            np.append(starts, len(keys)).astype(np.int64),
            (keys & 0xFFFFFFFF).astype(np.int32),
            np.minimum(counts, 65535).astype(np.uint16),
            lengths.astype(np.float32),
        )

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self.lengths)

    def spans(self, terms: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the postings of terms begin and end; an empty span for a term that does not occur."""
        if not len(self.terms):
            return np.zeros(len(terms), np.int64), np.zeros(len(terms), np.int64)
        places = np.minimum(np.searchsorted(self.terms, terms.astype(np.int32)), len(self.terms) - 1)
        starts = self.offsets[places]
        return starts, np.where(self.terms[places] == terms, self.offsets[places + 1], starts)

    @classmethod
    def merge(cls, parts: Sequence[Postings], kept: Sequence[NDArray[np.bool_] | None]) -> Postings:
        """Return the postings of the passages of all parts, one part after the other.

        Args:
            parts: The parts, at least one.
            kept: Of every part which passages to keep, (n,) bool; None for all.
        """
        parts = [part if keep is None else part._filtered(keep) for part, keep in zip(parts, kept, strict=True)]
        terms = np.unique(np.concatenate([part.terms for part in parts]))
        places = [np.searchsorted(terms, part.terms) for part in parts]
        counts = np.zeros((len(parts), len(terms)), np.int64)
        for own, place, part in zip(counts, places, parts, strict=True):
            own[place] = np.diff(part.offsets)
        offsets = np.zeros(len(terms) + 1, np.int64)
        np.cumsum(counts.sum(axis=0), out=offsets[1:])
        rows = np.empty(offsets[-1], np.int32)
        frequencies = np.empty(offsets[-1], np.uint16)
        first, written = 0, np.zeros(len(terms), np.int64)
        for own, place, part in zip(counts, places, parts, strict=True):
            targets = (offsets[:-1] + written)[place]
            for start, end in _blocks(part.offsets):
                begins = targets[start:end]
                index, _ = gather(begins, begins + np.diff(part.offsets[start : end + 1]))
                some = slice(int(part.offsets[start]), int(part.offsets[end]))
                rows[index] = part.rows[some] + np.int32(first)
                frequencies[index] = part.frequencies[some]
            written += own
            first += len(part)
        return cls(terms, offsets, rows, frequencies, np.concatenate([part.lengths for part in parts]))

    def renumbered(self, old: NDArray[np.integer]) -> Postings:
        """Return the same postings under other numbers of terms.

        Args:
            old: The terms' present numbers, rising, those of all terms among them; the new number of each is its place.
        """
        return replace(self, terms=np.searchsorted(old, self.terms).astype(np.int32))

    def _filtered(self, keep: NDArray[np.bool_]) -> Postings:
        """Return the postings of some passages, renumbered."""
        numbers = np.cumsum(keep, dtype=np.int32) - 1
        own = keep[self.rows]
        before = np.zeros(len(own) + 1, np.int64)
        np.cumsum(own, out=before[1:])
        offsets = before[self.offsets]
        used = np.flatnonzero(np.diff(offsets))
        return Postings(
            self.terms[used],
            np.append(offsets[used], offsets[-1]),
            numbers[self.rows[own]],
            self.frequencies[own],
            self.lengths[keep],
        )


def _blocks(offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut terms into runs with not too many postings each, at least one term a run."""
    blocks, start, last = [], 0, len(offsets) - 1
    while start < last:
        end = int(np.searchsorted(offsets, offsets[start] + _POSTINGS_AT_ONCE, side="right")) - 1
        blocks.append((start, max(start + 1, end)))
        start = blocks[-1][1]
    return blocks
