"""A set of segments that changes: a writer replaces its state in one assignment, readers never wait."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from langchain_klue_rerank.engine.arrays.origins import Origins
from langchain_klue_rerank.engine.index.segments.segment import Segment
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot, View
from langchain_klue_rerank.engine.threads import ForkSafeLock, give_way

logger = logging.getLogger(__name__)

#: Segments of up to this many passages are merged by the writer at once, larger ones in the background.
_MERGED_AT_ONCE = 4096
#: Everything is rewritten when more passages than this were removed and fewer are left than removed.
_REMOVED = 1000


class Segmented:
    """The present state of an index, and how it changes.

    Args:
        state: The state to begin with.

    Attributes:
        settings: What the index holds; those of every state.
    """

    def __init__(self, state: Snapshot) -> None:
        self._state = state
        self.settings = state.settings
        self._lock = ForkSafeLock()
        self._merging: threading.Thread | None = None
        self._merged_from = 0  # the segments before this one are being merged
        self._removed = state.size - state.count  # since everything was last rewritten
        self._origins = Origins()
        self._changes = 0  # made so far
        self._saved_changes = 0  # of those, the ones that the folder of origin has

    @property
    def token_vector_bytes(self) -> float:
        """Bytes that the token vectors of a passage take on average; 0 without any."""
        state = self._state
        kept = [view.segment.token_vectors for view in state.views]
        return sum(one.nbytes for one in kept if one is not None) / max(1, state.size)

    @property
    def vectors_of_passage(self) -> tuple[float, float]:
        """How many vectors a passage has on average, and the bytes that they take; 0 without any."""
        state = self._state
        kept = [own for view in state.views for own in view.segment.vectors.values()]
        size = max(1, state.size)
        return sum(own.count for own in kept) / size, sum(own.nbytes for own in kept) / size

    def _replace(self, state: Snapshot, removed: int) -> None:
        """Put a new state in the place of the old one, and merge what has become too small. The caller holds the lock.

        Every change of an index is one assignment, so that an interrupt leaves the old state or the new one.

        Raises:
            IndexFormatError: If the parts of a segment do not fit together; the old state stays.
        """
        present = {id(view.segment) for view in self._state.views}
        for view in state.views:
            if id(view.segment) not in present:
                view.segment.check(state.settings)
        self._changes += 1
        total = self._removed + removed
        if total > max(_REMOVED, state.count):
            self._state, self._removed = state.compacted(), 0
            return
        self._state, self._removed = state, total
        self._merge()

    def _merge(self) -> None:
        """Merge the small segments at the end at once, large ones in the background. The caller holds the lock."""
        while True:
            views = self._state.views
            running = self._merging is not None and self._merging.is_alive()
            settled = self._merged_from if running else 0
            first = plan_merge(views[settled:])
            if first is None:
                return
            some = views[settled + first :]
            if sum(view.count for view in some) <= _MERGED_AT_ONCE:
                self._state = put_merged(self._state, some, merge_views(some))
                continue
            if not running:
                self._merged_from = len(views)
                self._merging = start_merge(partial(self._merge_in_background, self._state, some))
            return

    def _merge_in_background(self, state: Snapshot, views: Sequence[View]) -> None:
        try:
            merged = merge_views(views)
        except InterpreterEndsError:
            return
        except Exception:
            logger.exception("Segments could not be merged; the index is as before, and somewhat slower")
            return
        with self._lock:
            if self._state.terms is state.terms:  # else everything was rewritten meanwhile
                self._state = put_merged(self._state, views, merged)
            self._merging = None
            self._merge()

    def wait_for_merges(self) -> None:
        """Wait until no segments are being merged in the background."""
        while (running := self._merging) is not None and running.is_alive():
            running.join()

    def _compact(self) -> Snapshot:
        """Put everything into one segment, without what is left of removed passages. The caller holds the lock."""
        state = self._state
        if self._removed:
            self._state, self._removed = state.compacted(), 0
        elif len(state.views) > 1:
            self._state = state.with_views([View.of(merge_views(state.views))])
        return self._state


def plan_merge(views: Sequence[View]) -> int | None:
    """Choose the segments at the end that are merged into one.

    A segment is merged with an older one only when the older is at most twice as long, so that the number of segments
    stays logarithmic and a passage is merged few times.

    Args:
        views: The segments, in the order in which they were added.

    Returns:
        The first of them; None if nothing is to be merged.
    """
    if not views:
        return None
    first = len(views) - 1
    rows = views[first].count
    while first and views[first - 1].count <= 2 * rows:
        first -= 1
        rows += views[first].count
    return first if first < len(views) - 1 else None


class InterpreterEndsError(Exception):
    """Python exits, so the background merge gives up."""


_at_exit = threading.Event()
_running: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _stop() -> None:
    # A thread that computes while Python is taken down aborts the process.
    _at_exit.set()
    for thread in list(_running):
        thread.join()


def start_merge(call: Callable[[], None]) -> threading.Thread:
    """Start a thread that merges, and is waited for when Python ends."""
    thread = threading.Thread(target=call, name="klue-merge", daemon=True)
    _running.add(thread)
    thread.start()
    return thread


def merge_views(views: Sequence[View]) -> Segment:
    """Make one segment of the passages that are there.

    Raises:
        InterpreterEndsError: If Python ends meanwhile.
    """

    def check() -> None:
        if _at_exit.is_set():
            raise InterpreterEndsError
        give_way()

    return Segment.merge([view.segment for view in views], [view.alive for view in views], check)


def put_merged(snapshot: Snapshot, views: Sequence[View], merged: Segment) -> Snapshot:
    """Put a merged segment in the place of those that it was made of.

    Args:
        snapshot: The present state, in which passages of those segments may have been removed since.
        views: The segments as they were merged.
        merged: What came out.
    """
    present = {id(view.segment): view for view in snapshot.views}
    alive = []
    for old in views:
        now = present.get(id(old.segment))
        if now is None:  # all of its passages were removed
            alive.append(np.zeros(old.count, bool))
        else:
            alive.append(np.ones(old.count, bool) if now.alive is None else now.alive[old.rows()])
    replaced = {id(view.segment) for view in views}
    places = [number for number, view in enumerate(snapshot.views) if id(view.segment) in replaced]
    if not places:
        return snapshot
    view = View.of(merged, np.concatenate(alive))
    return snapshot.with_views([*snapshot.views[: places[0]], view, *snapshot.views[places[-1] + 1 :]])
