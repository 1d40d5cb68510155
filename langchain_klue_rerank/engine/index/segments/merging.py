"""Merging segments: which ones, and passages that are removed meanwhile."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Sequence

import numpy as np

from langchain_klue_rerank.engine.index.segments.segment import Segment
from langchain_klue_rerank.engine.index.segments.snapshot import Snapshot, View
from langchain_klue_rerank.engine.priority import give_way


def plan(views: Sequence[View]) -> int | None:
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


def start(call: Callable[[], None]) -> threading.Thread:
    """Start a thread that merges, and is waited for when Python ends."""
    thread = threading.Thread(target=call, name="klue-merge", daemon=True)
    _running.add(thread)
    thread.start()
    return thread


def merge(views: Sequence[View]) -> Segment:
    """Make one segment of the passages that are there.

    Raises:
        InterpreterEndsError: If Python ends meanwhile.
    """

    def check() -> None:
        if _at_exit.is_set():
            raise InterpreterEndsError
        give_way()

    return Segment.merge([view.segment for view in views], [view.alive for view in views], check)


def put(snapshot: Snapshot, views: Sequence[View], merged: Segment) -> Snapshot:
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
