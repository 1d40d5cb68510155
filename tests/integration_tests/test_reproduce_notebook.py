"""The notebook of the reproduction as its reader runs it: in an empty folder, against the hub's stand-in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hub import Hub
from tests.integration_tests.test_hub_training import ROOT, cache, hub  # noqa: F401  (fixtures)

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("faiss")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository to clone, of what a clone needs to train."""
    folder = tmp_path_factory.mktemp("origin")
    for name in ("langchain_klue_rerank", "training"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def surroundings(
    monkeypatch: pytest.MonkeyPatch,
    hub: Hub,  # noqa: F811
    cache: Path,  # noqa: F811
    repository: Path,
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name, value in {
        "KLUE_RERANK_REPOSITORY": repository.as_uri(),
        "HUB_OWNER": "team",
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_writer",
        "OMP_NUM_THREADS": "1",
        "JUPYTER_PLATFORM_DIRS": "1",
    }.items():
        monkeypatch.setenv(name, value)


def run(notebook: Path) -> Any:
    """Run all cells where the notebook lies; an error of a cell is an error here."""
    content = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(
        content, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(notebook.parent)}}
    )
    return client.execute()


def shown(content: Any) -> str:
    """The report's cell, as Markdown."""
    [report] = [
        output["data"]["text/markdown"]
        for cell in content.cells
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    ]
    return str(report)


@pytest.mark.usefixtures("surroundings")
def test_the_notebook_runs_from_top_to_bottom_twice_and_uploads_all_three_models(
    hub: Hub,  # noqa: F811
    tmp_path: Path,
) -> None:
    notebook = tmp_path / "reproduce.ipynb"
    shutil.copy(ROOT / "training" / "reproduce.ipynb", notebook)
    report = shown(run(notebook))
    assert "순위 재정렬" in report
    assert "72.47" in report
    assert "data:image/png;base64," in report
    assert not re.search(r"\]\(\w+\.png\)", report), "a picture's path that leads nowhere"
    names = {name for name in hub.created if name.startswith("team/")}
    assert len(names) == 3
    hub.requests.clear()
    again = shown(run(notebook))
    without_dates = [re.sub(r"\| (날짜|push_to_hub|private|date) \|.*", "", text) for text in (report, again)]
    assert without_dates[0] == without_dates[1]
    assert (tmp_path / "langchain-klue-rerank" / "runs" / "tutorial" / "report" / "report.html").exists()


@pytest.mark.usefixtures("surroundings")
def test_a_failing_command_stops_the_notebook(hub: Hub, tmp_path: Path) -> None:  # noqa: F811
    content = nbformat.read(ROOT / "training" / "reproduce.ipynb", as_version=4)
    kept = [cell for cell in content.cells if cell.cell_type == "code"][:5]
    kept[-1].source = 'reproduce("--output", "runs/bad", "--batch-size", 0)'
    content.cells = kept
    client = nbclient.NotebookClient(
        content, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="last line above"):
        client.execute()
