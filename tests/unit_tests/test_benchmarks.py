"""Benchmarks that documentation names run as they stand there, on a set of four questions."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from tests.unit_tests.fakes import TEXTS

QUESTIONS = ["전입신고는 며칠 안에 하나요?", "여권 사진은 몇 장?", "쓰레기는 몇 시 이후에 내놓나요?", "책은 몇 권?"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [{"question": one, "passage": text} for one, text in zip(QUESTIONS, TEXTS, strict=False)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


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
