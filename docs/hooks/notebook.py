"""A hook for mkdocs: the tour in examples/ becomes a page, its outputs below its cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quick_tour.ipynb"


def on_files(files: Files, config: Any) -> Files:
    """Add the page ``tour.md``."""
    files.append(File.generated(config, "tour.md", content=page(json.loads(NOTEBOOK.read_text(encoding="utf-8")))))
    return files


def page(notebook: dict[str, Any]) -> str:
    """Return a notebook in Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [f'```text title="Output"\n{"".join(output["text"])}```' for output in cell["outputs"]]
    return "\n\n".join([*parts, f"This page is the notebook `examples/{NOTEBOOK.name}` of a clone."]) + "\n"
