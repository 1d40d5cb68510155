"""One state of an index: immutable segments and which of their passages are removed. Readers keep the one they took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.arrays.quantized import TokenVectors
from langchain_klue_rerank.engine.arrays.ragged import Ragged
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
        return cls(segment, alive, len(segment) if alive is None else int(alive.sum()), lengths)

    def without(self, rows: NDArray[np.int64]) -> View:
        """See the segment without some rows, all of which are still there."""
        alive = np.ones(len(self.segment), bool) if self.alive is None else self.alive.copy()
        alive[rows] = False
        lengths = {
            name: self.lengths[name] - float(postings.lengths[rows].sum(dtype=np.float64))
            for name, postings in self.segment.fields.items()
        }
        return View(self.segment, alive, self.count - len(rows), lengths)

    def rows(self) -> NDArray[np.int64]:
        """Return the rows that are there, rising."""
        return np.arange(len(self.segment)) if self.alive is None else np.flatnonzero(self.alive)

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
    """

    settings: IndexSettings
    terms: Terms
    views: tuple[View, ...] = ()
    starts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Number the rows."""
        starts = np.cumsum([0, *(len(view.segment) for view in self.views)], dtype=np.int64)
        object.__setattr__(self, "starts", starts)

    @classmethod
    def empty(cls, settings: IndexSettings) -> Snapshot:
        """Return the state of an index without passages."""
        return cls(settings, Terms())

    def __len__(self) -> int:
        """Return the number of passages."""
        return sum(view.count for view in self.views)

    @property
    def size(self) -> int:
        """The number of rows, those of removed passages among them."""
        return int(self.starts[-1])

    @property
    def fields(self) -> list[str]:
        """The fields of vectors."""
        return list(self.views[0].segment.vectors) if self.views else []

    def dimension(self, name: str) -> int | None:
        """Return the dimension of a field's vectors; None while there are none."""
        kept = self.views[0].segment.vectors.get(name) if self.views else None
        return kept.wholes.shape[1] if kept is not None else None

    def mean_length(self, name: str) -> float:
        """Return the mean length of a field in the passages that are there."""
        return max(sum(view.lengths[name] for view in self.views) / max(1, len(self)), 1e-9)

    def with_views(self, views: Iterable[View]) -> Snapshot:
        """Return a state with these segments; those without passages are dropped."""
        return replace(self, views=tuple(view for view in views if view.count))

    def added(self, segment: Segment) -> Snapshot:
        """Return a state with one more segment; its passages take the place of those with the same identifiers."""
        kept, _ = self.removed(list(segment.passages.ids))
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

    def rows(self) -> NDArray[np.int64]:
        """Return the rows of all passages that are there, rising."""
        own = [view.rows() + start for start, view in zip(self.starts.tolist(), self.views, strict=False)]
        return np.concatenate(own) if own else np.zeros(0, np.int64)

    def alive(self) -> NDArray[np.bool_] | None:
        """Return of every row whether its passage is there; None if all are."""
        if all(view.alive is None for view in self.views):
            return None
        return np.concatenate(
            [np.ones(len(view.segment), bool) if view.alive is None else view.alive for view in self.views]
        )

    def places(self, rows: NDArray[np.int64]) -> Iterator[tuple[Segment, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield every segment that has any of some rows, with their places among `rows` and their rows within it."""
        if len(self.views) == 1:
            yield self.views[0].segment, np.arange(len(rows)), rows
            return
        owners = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(owners).tolist():
            places = np.flatnonzero(owners == number)
            yield self.views[number].segment, places, rows[places] - self.starts[number]

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

    def wholes(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a field's unit vectors of the passages in some rows as wholes."""
        found = np.zeros((len(rows), self.dimension(name) or 0), np.float32)
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
