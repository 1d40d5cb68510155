"""Run a notebook's cells with plain Python, no Jupyter, and write under each what it prints.

python -m examples.run_notebook examples/quick_tour.ipynb
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def run(path: Path) -> list[tuple[str, str]]:
    """Run a notebook from top to bottom, in the folder that we are in.

    Args:
        path: The notebook.

    Returns:
        For each code cell what stands under it in the file, and what it printed now.
    """
    names: dict[str, Any] = {"__name__": "notebook"}
    outputs = []
    for number, cell in enumerate(_code_cells(_read(path)), 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec"), names)
        written = "".join(line for output in cell["outputs"] for line in output["text"])
        outputs.append((written, printed.getvalue()))
    return outputs


def write(path: Path, printed: list[str]) -> None:
    """Write what the code cells printed into the notebook."""
    notebook = _read(path)
    for number, (cell, text) in enumerate(zip(_code_cells(notebook), printed, strict=True), 1):
        cell["execution_count"] = number
        output = {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
        cell["outputs"] = [output] if text else []
    path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def _code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name), [printed for _, printed in run(Path(name))])
