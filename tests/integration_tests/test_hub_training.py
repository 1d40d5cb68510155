"""The tutorial's recipes with models and data from the hub: the commands that its reader types, against a stand-in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import save_klue_language_model
from tests.hub import Hub, serve
from tests.unit_tests.training.texts import data_folder, question_rows, scored_rows

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL = ["--batch-size", "4", "--learning-rate", "1e-3"]
CARD = """\
---
configs:
- config_name: mrc
  data_files:
  - {split: train, path: mrc/train-*}
  - {split: validation, path: mrc/validation-*}
- config_name: sts
  data_files:
  - {split: train, path: sts/train-*}
  - {split: validation, path: sts/validation-*}
---
# KLUE
"""


def write_klue(folder: Path) -> None:
    """Write rows of our own in KLUE's own schema, as the hub has it: parquet files and a card that names them."""
    import pyarrow as pa
    from pyarrow import parquet

    scored, questions = scored_rows(), question_rows()
    sts = [
        {
            "guid": f"klue-sts-v1_{number:05}",
            "source": "airbnb-rtt",
            "sentence1": row["sentence1"],
            "sentence2": row["sentence2"],
            "labels": {"label": float(row["label"]), "real-label": float(row["label"]), "binary-label": 0},
        }
        for number, row in enumerate(scored)
    ]
    mrc = [
        {
            "title": row["title"],
            "context": row["context"],
            "news_category": None,
            "source": "wikipedia",
            "guid": f"klue-mrc-v1_{number:05}",
            "is_impossible": False,
            "question_type": 1,
            "question": row["question"],
            "answers": {"answer_start": [row["context"].index(row["answer"])], "text": [row["answer"]]},
        }
        for number, row in enumerate(questions)
    ]
    for name, parts in (("sts", (sts[:18], sts[18:])), ("mrc", (mrc[:12], mrc[12:]))):
        (folder / name).mkdir(parents=True)
        for split, rows in zip(("train", "validation"), parts, strict=True):
            parquet.write_table(pa.Table.from_pylist(rows), folder / name / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(CARD, encoding="utf-8")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with KLUE and tiny models under the names of KLUE's."""
    root = tmp_path_factory.mktemp("hub")
    write_klue(root / "datasets" / "klue" / "klue")
    body = root / "models" / "klue" / "roberta-base"
    shutil.copytree(save_klue_language_model(body), root / "models" / "klue" / "roberta-small")
    with serve(root) as hub:
        hub.users["hf_reader"] = ("saram", ["team"])
        hub.readers.add("hf_reader")
        yield hub


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def command(hub: Hub, cache: Path, *words: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python -m ...`` as someone would who knows the hub only."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **({"HF_TOKEN": token} if token else {})}
    environment = hub.environment(cache, **own)
    arguments = [sys.executable, "-W", "ignore", "-m", *words]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def run(hub: Hub, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole reproduction with the hub's data and models."""
    folder = tmp_path_factory.mktemp("run") / "reproduce"
    done = command(hub, cache, "training.reproduce", "--data", "hub", "--output", str(folder), *SMALL)
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def test_the_tutorial_runs_with_the_hub_to_its_report(run: Path) -> None:
    report = (run / "report" / "report.md").read_text(encoding="utf-8")
    assert "klue/roberta-base" in report
    assert "klue/roberta-small" in report
    assert "float32, cpu" in report
    assert not list(run.glob("*/checkpoints")), "checkpoints of finished stages take gigabytes"


def test_a_finished_run_that_is_resumed_uploads_all_three_models(hub: Hub, cache: Path, run: Path) -> None:
    words = ["training.reproduce", "--data", "hub", "--output", str(run), *SMALL, "--resume", "--push-to-hub", "team"]
    done = command(hub, cache, *words, "--private", token="hf_writer")
    assert done.returncode == 0, done.stderr[-5000:]
    names = {
        "team/klue-roberta-base-klue-sts",
        "team/klue-roberta-base-klue-sts-mrc",
        "team/klue-roberta-small-klue-mrc-cross-encoder",
    }
    assert {name for name, private in hub.created.items() if private} >= names
    for name in names:
        card = hub.folder("models", name) / "README.md"
        text = card.read_text(encoding="utf-8")
        assert f'("{name}")' in text
        assert "datasets: klue/klue" in text
        assert "path/to/model" not in text
        assert (card.parent / "model.safetensors").exists()
    code = (
        "from langchain_klue_rerank import KlueReranker\n"
        "print(len(KlueReranker(model='team/klue-roberta-small-klue-mrc-cross-encoder')"
        ".rerank(['강물', '산'], '강')))\n"
    )
    (run / "use_it.py").write_text(code)
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_TOKEN": "hf_writer", "PYTHONPATH": str(ROOT)}
    used = subprocess.run([sys.executable, str(run / "use_it.py")], env=environment, capture_output=True, text=True)
    assert used.stdout.split() == ["2"], used.stderr[-3000:]


@pytest.mark.parametrize(
    ("token", "owner", "why"),
    [(None, "team", "does not know you"), ("hf_reader", "team", "may only read"), ("hf_writer", "klue", "not to klue")],
)
def test_who_may_not_upload_hears_it_before_anything_is_loaded(
    token: str | None, owner: str, why: str, hub: Hub, cache: Path, tmp_path: Path
) -> None:
    hub.requests.clear()
    words = ["training.reproduce", "--output", str(tmp_path / "run"), "--push-to-hub", owner]
    done = command(hub, cache, *words, token=token)
    assert done.returncode != 0
    assert re.search(why, done.stderr), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert not [request for request in hub.requests if "resolve" in request]
    assert not (tmp_path / "run").exists()


def test_an_upload_that_fails_keeps_the_model_and_says_how_to_go_on(hub: Hub, cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sts"
    stage = ["training.recipes.sts", "--data", "hub", "--max-steps", "1", "--output", str(folder), *SMALL]
    assert command(hub, cache, *stage).returncode == 0
    # the rights were there when the run began and are gone when it uploads
    repository = hub.folder("models", "team/sts")
    shutil.copytree(folder / "model", repository)
    (repository / "README.md").unlink()
    before = hub._may_write
    hub._may_write = lambda token, owner: False  # type: ignore[method-assign]
    try:
        failed = command(hub, cache, *stage, "--resume", "--push-to-hub", "team/sts", token="hf_writer")
    finally:
        hub._may_write = before  # type: ignore[method-assign]
    assert failed.returncode == 2
    assert "the upload failed" in failed.stderr
    assert "--resume" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (folder / "model" / "model.safetensors").exists()
    again = command(hub, cache, *stage, "--resume", "--push-to-hub", "team/sts", token="hf_writer")
    assert again.returncode == 0, again.stderr[-3000:]
    assert (repository / "README.md").exists()


def test_the_hub_gives_the_rows_of_the_data_folder(hub: Hub, cache: Path, tmp_path: Path) -> None:
    folder = data_folder(tmp_path / "data")
    code = f"""
from training.inputs import read_questions, read_scored
from langchain_klue_rerank.evaluation import read_sets
folder = {str(folder)!r}
assert read_scored("hub").train == read_scored(folder).train
assert read_questions("hub").test == read_questions(folder).test
print([len(one.questions) for one in read_sets("hub")])
"""
    (tmp_path / "rows.py").write_text(code)
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "rows.py")], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["[4,", "4]"]


def test_a_hub_that_cannot_be_reached_is_one_line(cache: Path, tmp_path: Path) -> None:
    nowhere = Hub(tmp_path)
    nowhere.address = "http://127.0.0.1:9"
    done = command(nowhere, tmp_path / "cache", "training.recipes.sts", "--output", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "klue/sts cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr
