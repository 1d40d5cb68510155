"""A reproduction that is killed in every stage and resumed ends with the table of one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit_tests.training.texts import data_folder

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")
pytest.importorskip("faiss")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")]

ROOT = Path(__file__).parents[2]
#: As soon as a file of this form is there, the run is killed; the next start is killed at the next one.
MOMENTS = [
    "sts/checkpoints/checkpoint-*/trainer_state.json",
    "mrc/checkpoints/checkpoint-*/trainer_state.json",
    "cross_encoder/checkpoints/checkpoint-*/trainer_state.json",
    "retrieval/tutorial_base.json",
    "retrieval/base.json",
]


@pytest.fixture(scope="module")
def command(klue_language_model: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    data = data_folder(tmp_path_factory.mktemp("data"), apart=True)
    words = ["--data", str(data), "--base-model", klue_language_model, "--batch-size", "4", "--learning-rate", "1e-3"]
    module = ["training.reproduce", "--protocol", "tutorial", "--fetch-k", "4", "--resume"]
    return [sys.executable, "-W", "ignore", "-m", *module, *words]


def start(command: list[str], output: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    log = (output.parent / "log").open("ab")
    return subprocess.Popen([*command, "--output", str(output)], env=environment, stdout=log, stderr=log)


def to_its_end(command: list[str], output: Path) -> None:
    assert start(command, output).wait(timeout=600) == 0, (output.parent / "log").read_text()[-3000:]


def kill_at(moment: str, command: list[str], output: Path) -> bool:
    """Run until a file is there, then kill; return whether it came to that."""
    process = start(command, output)
    while process.poll() is None:
        if any(output.glob(moment)):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.005)
    return False


def results(output: Path) -> dict[str, Any]:
    """Scores and ranks of a run, without its times."""
    found: dict[str, Any] = {}
    for stage in ("sts", "mrc", "cross_encoder"):
        outcome = json.loads((output / stage / "outcome.json").read_text(encoding="utf-8"))
        for when in ("before", "after"):
            found |= {f"{stage} {when} {name}": pytest.approx(value, abs=1e-6) for name, value in outcome[when].items()}
        found[f"{stage} steps"] = outcome["steps"]
    for path in sorted((output / "retrieval").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            found[f"{path.stem}, {row['corpus']}, {row['system']}"] = row["ranks"]
    return found


def test_killed_in_every_stage_it_ends_with_the_same_table(command: list[str], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    for output in (whole, killed):
        output.parent.mkdir()
    to_its_end(command, whole)
    missed = [moment for moment in MOMENTS if not kill_at(moment, command, killed)]
    assert missed == []
    to_its_end(command, killed)
    theirs = results(whole)
    assert len(theirs) > 20
    ours = {name: getattr(value, "expected", value) for name, value in results(killed).items()}
    assert ours == theirs
    assert (killed / "report" / "report.html").exists()
