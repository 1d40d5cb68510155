"""One state of an index: immutable segments and which of their passages are removed. Readers keep the one they took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.ragged import Ragged
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.segments.segment import Segment
from langchain_klue_rerank.engine.index.segments.terms import Terms, new_name
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.index.vectors import PassageVectors
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class View:
    """A segment as one state of the index sees it.

    Attributes:
        segment: The segment.
        alive: Of every row whether its passage is still there, (n,) bool, never changed; None if all are.
        count: How many are there.
        lengths: The summed lengths of those, by field.
    """

    segment: Segment
    alive: NDArray[np.bool_] | None
    count: int
    lengths: dict[str, float]

    @classmethod
    def of(cls, segment: Segment, alive: NDArray[np.bool_] | None = None) -> View:
        """See some passages of a segment; without `alive` all."""
        if alive is not None and alive.all():
            alive = None
        lengths = {}
        for name, postings in segment.fields.items():
            own = postings.lengths if alive is None else postings.lengths[alive]
            lengths[name] = float(own.sum(dtype=np.float64))
        return cls(segment, alive, segment.size if alive is None else int(alive.sum()), lengths)

    def without(self, rows: NDArray[np.int64]) -> View:
        """See the segment without some rows, all of which are still there."""
        alive = np.ones(self.segment.size, bool) if self.alive is None else self.alive.copy()
        alive[rows] = False
        lengths = {
            name: self.lengths[name] - float(postings.lengths[rows].sum(dtype=np.float64))
            for name, postings in self.segment.fields.items()
        }
        return View(self.segment, alive, self.count - len(rows), lengths)

    def rows(self) -> NDArray[np.int64]:
        """Return the rows that are there, rising."""
        return np.arange(self.segment.size) if self.alive is None else np.flatnonzero(self.alive)

    def find(self, identifiers: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each identifier; -1 for one that is not there."""
        rows = self.segment.passages.find(identifiers)
        if self.alive is not None:
            rows[(rows >= 0) & ~self.alive[rows]] = -1
        return rows


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One immutable state of an index. Rows are numbered across all segments.

    Attributes:
        settings: What the index holds.
        terms: The terms of all segments; those that were added later occur in none of them.
        views: The segments.
        starts: The number of the first row of each segment, and that after the last row, int64.
        size: The number of rows, those of removed passages among them.
        count: The number of passages.
        dimensions: The dimension of each field of vectors; empty while there are none.
        mean_lengths: The mean length of each lexical field in the passages that are there.
    """

    settings: IndexSettings
    terms: Terms
    views: tuple[View, ...] = ()
    starts: NDArray[np.int64] = field(init=False)
    size: int = field(init=False)
    count: int = field(init=False)
    dimensions: dict[str, int] = field(init=False)
    mean_lengths: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        """Number the rows and count the passages."""
        starts = np.cumsum([0, *(view.segment.size for view in self.views)], dtype=np.int64)
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "size", int(starts[-1]))
        count = sum(view.count for view in self.views)
        object.__setattr__(self, "count", count)
        first = self.views[0].segment if self.views else None
        vectors = first.vectors if first is not None else {}
        object.__setattr__(self, "dimensions", {name: own.wholes.shape[1] for name, own in vectors.items()})
        fields = first.fields if first is not None else {}
        lengths = {name: sum(view.lengths[name] for view in self.views) for name in fields}
        means = {name: max(length / max(1, count), 1e-9) for name, length in lengths.items()}
        object.__setattr__(self, "mean_lengths", means)

    @classmethod
    def empty(cls, settings: IndexSettings) -> Snapshot:
        """Return the state of an index without passages."""
        return cls(settings, Terms())

    def __len__(self) -> int:
        """Return the number of passages."""
        return self.count

    @property
    def fields(self) -> list[str]:
        """The fields of vectors."""
        return list(self.views[0].segment.vectors) if self.views else []

    def with_views(self, views: Iterable[View]) -> Snapshot:
        """Return a state with these segments; those without passages are dropped."""
        return replace(self, views=tuple(view for view in views if view.count))

    def added(self, segment: Segment, identifiers: Sequence[str]) -> Snapshot:
        """Return a state with one more segment; its passages take the place of those with the same identifiers.

        Args:
            segment: The segment.
            identifiers: Those of its passages.
        """
        kept, _ = self.removed(identifiers)
        return kept.with_views([*kept.views, View.of(segment)])

    def removed(self, identifiers: Sequence[str]) -> tuple[Snapshot, int]:
        """Return a state without some passages, and how many were removed; unknown identifiers are skipped."""
        views, removed = list(self.views), 0
        for number, view in enumerate(views):
            found = view.find(identifiers)
            rows = np.unique(found[found >= 0])
            if len(rows):
                views[number] = view.without(rows)
                removed += len(rows)
        return (self.with_views(views) if removed else self), removed

    def find(self, identifiers: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each identifier; -1 for one that is not there."""
        result = np.full(len(identifiers), -1, np.int64)
        for start, view in zip(self.starts.tolist(), self.views, strict=False):
            found = view.find(identifiers)
            result[found >= 0] = found[found >= 0] + start
        return result

    def held(self, passages: Sequence[Passage]) -> NDArray[np.int64]:
        """Return the row of each passage; -1 for one that is not there, by identifier and text."""
        rows = self.find([passage.id for passage in passages])
        found = np.flatnonzero(rows >= 0)
        texts = self.texts(rows[found])
        rows[[place for place, text in zip(found.tolist(), texts, strict=True) if text != passages[place].text]] = -1
        return rows

    def rows(self) -> NDArray[np.int64]:
        """Return the rows of all passages that are there, rising."""
        own = [view.rows() + start for start, view in zip(self.starts.tolist(), self.views, strict=False)]
        return np.concatenate(own) if own else np.zeros(0, np.int64)

    def alive(self) -> NDArray[np.bool_] | None:
        """Return of every row whether its passage is there; None if all are."""
        if all(view.alive is None for view in self.views):
            return None
        return np.concatenate(
            [np.ones(view.segment.size, bool) if view.alive is None else view.alive for view in self.views]
        )

    def places(self, rows: NDArray[np.int64]) -> list[tuple[Segment, NDArray[np.int64], NDArray[np.int64]]]:
        """Return every segment that has any of some rows, with their places among `rows` and their rows within it."""
        if len(self.views) == 1:
            return [(self.views[0].segment, np.arange(len(rows)), rows)]
        owners = np.searchsorted(self.starts, rows, side="right") - 1
        places = {number: np.flatnonzero(owners == number) for number in np.unique(owners).tolist()}
        return [(self.views[number].segment, own, rows[own] - self.starts[number]) for number, own in places.items()]

    def passages(self, rows: NDArray[np.int64]) -> list[Passage]:
        """Return copies of the passages in some rows."""
        if len(self.views) == 1:
            return self.views[0].segment.passages.copies(rows.tolist())
        found: dict[int, Passage] = {}
        for segment, places, segment_rows in self.places(rows):
            found.update(zip(places.tolist(), segment.passages.copies(segment_rows.tolist()), strict=True))
        return [found[place] for place in range(len(rows))]

    def texts(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the texts of the passages in some rows."""
        owners = (np.searchsorted(self.starts, rows, side="right") - 1).tolist()
        return [
            self.views[owner].segment.passages.text(row - int(self.starts[owner]))
            for owner, row in zip(owners, rows.tolist(), strict=True)
        ]

    def tokens(self, rows: NDArray[np.int64]) -> TokenizedTexts:
        """Return the tokens of the passages in some rows, numbered among themselves."""
        if not len(rows):
            return self.terms.texts(Ragged.empty())
        return self.terms.texts(self._gather(rows, lambda segment: segment.tokens, Ragged.join))

    def token_vectors(self, rows: NDArray[np.int64]) -> TokenVectors | None:
        """Return the token vectors of the passages in some rows; None for none."""
        if not len(rows):
            return None
        return self._gather(rows, lambda segment: segment.token_vectors, TokenVectors.join)

    def vectors(self, name: str, rows: NDArray[np.int64]) -> PassageVectors | None:
        """Return a field's vectors of the passages in some rows; None for none."""
        if not len(rows):
            return None
        return self._gather(rows, lambda segment: segment.vectors[name], PassageVectors.join)

    def _gather(self, rows: NDArray[np.int64], part: Callable[[Segment], Any], join: Callable[[Any], T]) -> T:
        """Take rows, at least one, out of a part of the segments."""
        places, parts = [], []
        for segment, own_places, own_rows in self.places(rows):
            places.append(own_places)
            parts.append(part(segment).take(own_rows))
        if len(parts) == 1:
            return parts[0]  # type: ignore[no-any-return]
        back = np.empty(len(rows), np.int64)
        back[np.concatenate(places)] = np.arange(len(rows))
        return join(parts).take(back)  # type: ignore[attr-defined,no-any-return]

    def best_windows(self, rows: NDArray[np.int64], query: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """Return the cosine of a query with the best window of some rows, in a field of vectors."""
        cosines = np.empty(len(rows), np.float32)
        for segment, places, own in self.places(rows):
            cosines[places] = segment.vectors[name].best_of(query, own)
        return cosines

    def blanks_last(
        self, rows: NDArray[np.int64] | None, cosines: NDArray[np.float32], name: str
    ) -> NDArray[np.float32]:
        """Give passages without a word, whose vectors are zero, the lowest cosine that there is.

        Args:
            rows: Their rows; None for all.
            cosines: Their cosines with a query.
            name: The field of vectors.
        """
        zero = np.flatnonzero(cosines == 0)
        if not len(zero):
            return cosines
        blank = zero[~self.wholes(name, zero if rows is None else rows[zero]).any(axis=1)]
        if len(blank):
            cosines = cosines.copy()
            cosines[blank] = -1
        return cosines

    def wholes(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a field's unit vectors of the passages in some rows as wholes."""
        found = np.zeros((len(rows), self.dimensions.get(name, 0)), np.float32)
        for segment, places, own in self.places(rows):
            found[places] = segment.vectors[name].wholes[own]
        return found

    def compacted(self) -> Snapshot:
        """Return the same passages in one segment without removed rows, and without terms that none of them has."""
        if not self.views:
            return Snapshot.empty(self.settings)
        merged = Segment.merge([view.segment for view in self.views], [view.alive for view in self.views])
        if merged.tokens is None:
            return self.with_views([View.of(merged)])
        words, places = np.unique(merged.tokens.values, return_inverse=True)
        terms, used = self.terms.only(words)
        tokens = Ragged(places.astype(np.int32), merged.tokens.offsets)
        fields = {name: postings.renumbered(used[name]) for name, postings in merged.fields.items()}
        segment = replace(merged, tokens=tokens, fields=fields, name=new_name())
        return Snapshot(self.settings, terms, (View.of(segment),))
