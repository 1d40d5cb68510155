"""The benchmark of a growing index can be interrupted."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.growth import Building
from benchmarks.growth_report import bars, table
from langchain_klue_rerank.engine.index.passages import Passage

PASSAGES = [Passage(f"글 {number}", f"{number} 번째 민원 안내", {}) for number in range(12)]


def test_building_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    folder, progress = tmp_path / "index", tmp_path / "growth.progress"
    first = Building(folder, progress, every=4)
    first.clear(PASSAGES)
    first.add(PASSAGES, 7)  # saved with 4
    second = Building(folder, progress, every=4)
    assert second.done == len(second.retriever) == 4
    second.clear(PASSAGES)
    second.add(PASSAGES, 10)
    second.save()
    again = Building(folder, progress, every=4)
    assert again.done == 10
    assert again.seconds == 0
    assert sorted(again.retriever._index.find()) == sorted(one.id for one in PASSAGES[:10])


def test_what_was_added_after_the_last_note_is_removed(tmp_path: Path) -> None:
    folder, progress = tmp_path / "index", tmp_path / "growth.progress"
    first = Building(folder, progress, every=4)
    first.add(PASSAGES, 5)
    first.retriever.save(folder)  # and ended before the note was written
    second = Building(folder, progress, every=4)
    second.clear(PASSAGES)
    assert len(second.retriever) == second.done == 4


def test_the_report_names_what_is_met_and_what_is_not() -> None:
    times = {"p50": 10.0, "p95": 50.0, "p99": 60.0}
    figures = {"passages": 1000, "hybrid": times, "hybrid, reranked": times, "open_s": 0.5, "peak_mib": 500.0}
    said = bars(figures)
    assert said.count(": met") == 4
    assert said.count(": NOT MET") == 1
    assert "not measured" in said
    assert "| hybrid | 10.0 / 50.0 |" in table([json.loads(json.dumps(figures))])
