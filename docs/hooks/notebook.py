"""A hook for mkdocs: the tour in examples/ becomes a page in each of its two languages, outputs below its cells."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
NOTEBOOK = DOCS.parent / "examples" / "quick_tour.ipynb"
_KOREAN = re.compile("[가-힣]")
_START = re.compile(r"#+ (\d+\. )?|- (`[^`]+`(, )?)+: ")  # of a line in two languages
_SUFFIX = {"en": ".md", "ko": ".ko.md"}
_OUTPUT = {"en": "Output", "ko": "출력"}
_END = {
    "en": f"This page is the notebook `examples/{NOTEBOOK.name}` of a clone.",
    "ko": f"이 페이지는 저장소의 노트북 `examples/{NOTEBOOK.name}`입니다.",
}


def on_pre_build(**_: Any) -> None:
    """Write ``tour.md`` and ``tour.ko.md``, which git ignores."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for language, name in (("en", "tour.md"), ("ko", "tour.ko.md")):
        path, text = DOCS / name, page(notebook, language)
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # `mkdocs serve` watches the folder
            path.write_text(text, encoding="utf-8")


def page(notebook: dict[str, Any], language: str) -> str:
    """Return one language of a notebook in Markdown.

    Args:
        notebook: The notebook. Each paragraph of its text is in one language; a heading or an item of a list is
            "한국어 · English".
        language: "en" or "ko".
    """
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts += [_in(language, part) for part in source.split("\n\n") if _in(language, part)]
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [f'```text title="{_OUTPUT[language]}"\n{"".join(output["text"])}```' for output in cell["outputs"]]
    written = "\n\n".join([*parts, _END[language]]) + "\n"

    def linked(match: re.Match[str]) -> str:
        page = match[1] + _SUFFIX[language]
        return f"[{match[1]}.md]({page if (DOCS / page).exists() else match[1] + _SUFFIX['en']})"

    return re.sub(r"`docs/([\w-]+)\.md`", linked, written)


def _in(language: str, part: str) -> str:
    """Return what a paragraph says in a language: itself, a half of each line, or nothing."""
    if part.startswith("```"):
        return part
    if " · " in part:
        return "\n".join(_half(language, line) for line in part.splitlines())
    return part if bool(_KOREAN.search(part)) == (language == "ko") else ""


def _half(language: str, line: str) -> str:
    korean, _, english = line.partition(" · ")
    if language == "ko":
        return korean
    start = _START.match(korean)
    return start[0] + english[:1].upper() + english[1:] if start else english
