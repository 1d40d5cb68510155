"""Benchmarks that documentation names run as they stand there, on a set of four questions."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from benchmarks import rerank_modes
from tests.conftest import USABLE_LENGTH
from tests.unit_tests.fakes import TEXTS

QUESTIONS = ["전입신고는 며칠 안에 하나요?", "여권 사진은 몇 장?", "쓰레기는 몇 시 이후에 내놓나요?", "책은 몇 권?"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [{"question": one, "passage": text} for one, text in zip(QUESTIONS, TEXTS, strict=False)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("way", [rerank_modes.PACKAGED, "exact, torch", "packaged, then 4 of 1 x 64, int8"])
def test_a_way_to_rerank_is_measured(
    way: str, klue_cross_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerank_modes, "LENGTH", USABLE_LENGTH + 2)
    task = {
        "way": way,
        "model": str(klue_cross_encoder_folder),
        "options": {} if way == rerank_modes.PACKAGED else {"backend": "torch", "window_length": 20},
        "candidates": 6,
        "queries": [{"query": one, "texts": TEXTS, "cut_texts": TEXTS, "scores": [0.5] * 6} for one in QUESTIONS[:2]],
    }
    found = rerank_modes.measure({**task, "part": "scores"})
    read = 4 if "4 of" in way else 6
    assert [sum(one) for one in found["read"]] == [read, read]
    assert all(0 <= score <= 1 for own in found["blended_scores"] for score in own)
    few = {"timed": 1, "growing": 1, "counts": [2], "sizes": [100], "crowds": [1], "batch_candidates": [2]}
    limits = {"calls": 1, "batch": 2, "deadline": 1000, "deadline_calls": 1}
    price = rerank_modes.measure({**task, "part": "price", **few, **limits})
    assert len(price["milliseconds"]) == 1
    assert price["deadline"]["answered"] == 16
    assert ("tokens" in price) is (way != rerank_modes.PACKAGED)
    assert rerank_modes.measure({**task, "part": "price", "only_open": True, "timed": 1}) == {}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param("deadline --documents 5", "beside 5 new documents", marks=pytest.mark.slow),
        ("lexical", "bm25s, words between spaces"),
        pytest.param("sparse --questions 2", "this package", marks=pytest.mark.slow),
        ("windows --words 5", "every window, dense"),
    ],
)
def test_a_documented_benchmark_measures(
    command: str, said: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command.split()
    if name == "lexical":
        pytest.importorskip("bm25s")
    monkeypatch.setattr(sys, "argv", [name, "--data", str(data), *options])
    importlib.import_module(f"benchmarks.{name}").main()
    assert said in capsys.readouterr().out
