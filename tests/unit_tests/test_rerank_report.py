"""The report of the benchmark of reranking: rates, what is shown of ways too slow to be judged, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from benchmarks import rerank_report
from benchmarks.korean import MARKERS, translated
from benchmarks.rerank import _key
from benchmarks.rerank_report import EXACT, into_page, markdown, summary


def way(scores: list[list[float]], milliseconds: float = 10.0) -> dict[str, Any]:
    return {
        "milliseconds": [milliseconds] * 4,
        "timed_scores": scores,
        "scores": scores,
        "blended_scores": scores,
        "read": [[True] * len(own) for own in scores],
        "peak_memory": 100.0,
        "options": {},
        "machine": "somewhere",
    }


QUERIES = [
    {"scores": [0.9, 0.8, 0.7], "relevant": [1], "relevant_ids": ["b"]},
    {"scores": [0.9, 0.8, 0.7], "relevant": [0], "relevant_ids": ["a"]},
]
GOOD = [[0.1, 0.9, 0.2], [0.9, 0.1, 0.2]]
BAD = [[0.9, 0.1, 0.2], [0.1, 0.9, 0.2]]


def report(measured: dict[str, Any]) -> dict[str, Any]:
    made = summary(measured, QUERIES, judged=2, candidates=3)
    return made | {
        "data": "d",
        "passages": 3,
        "search_type": "dense",
        "model": "m",
        "widen": 1,
        "error": 0.01,
    }


def test_rates_and_ratios() -> None:
    slow = {**way(GOOD, 100.0), "scores": []}
    slow.pop("scores")
    made = report({rerank_report.PEERS[0]: slow, EXACT: way(GOOD), "1 x 64, int8": way(BAD, 5.0)})
    assert made["first_stage"]["quality"]["HitRate@1"][0] == 0.5
    assert made["ways"][EXACT]["quality"]["HitRate@1"][0] == 1
    assert made["ways"]["1 x 64, int8"]["quality"]["HitRate@1"][0] == 0
    text = markdown(made)
    assert f"| {rerank_report.PEERS[0]} = | 100.0 |" in text
    assert "| 20.0 |" in text  # 100 ms to 5


def test_a_way_with_other_scores_does_not_show_the_exact_ones() -> None:
    other = way(BAD, 100.0)
    other.pop("scores")
    made = report({rerank_report.PEERS[0]: other, EXACT: way(GOOD)})
    assert "quality" not in made["ways"][rerank_report.PEERS[0]]


def test_a_page_keeps_what_stands_around_the_report(tmp_path: Path) -> None:
    page, picture = tmp_path / "page.md", tmp_path / "rerank.png"
    picture.write_bytes(b"picture")
    page.write_text(f"before\n{MARKERS[0]}\nold\n{MARKERS[1]}\nafter\n", encoding="utf-8")
    for text in ("first report", "second report"):
        into_page(page, text, [picture, picture], "python -m x")
    found = page.read_text(encoding="utf-8")
    assert found.startswith("before\n")
    assert found.endswith("\nafter\n")
    assert "second report" in found
    assert "old" not in found
    assert "first report" not in found
    assert (tmp_path / "assets" / "rerank.png").read_bytes() == b"picture"
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(ValueError, match="no part between"):
        into_page(page, "text", [picture, picture], "x")


def test_what_decides_a_measurement_decides_where_it_is_kept(klue_cross_encoder_folder: Path) -> None:
    task = {"way": "exact, onnx", "model": str(klue_cross_encoder_folder), "part": "price", "options": {}, "timed": 4}
    assert _key(task) == _key(dict(task))
    assert _key(task) != _key({**task, "timed": 5})
    assert _key(task) != _key({**task, "model": ""})


def test_a_line_without_korean_is_named() -> None:
    with pytest.raises(ValueError, match="A line that nobody translated"):
        translated("| way | p95 |\n|---|---|\n| packaged | 1.0 |\n\nA line that nobody translated: 3.\n")
    assert translated("| way | p95 |\n| packaged | 1.0 |\n") == "| 방법 | p95 |\n| 패키지의 재정렬기 | 1.0 |\n"
