"""A hook for mkdocs: the site has a menu of languages, so the line that links a page's other language is left out."""

from __future__ import annotations

import re
from typing import Any

OTHER_LANGUAGE = re.compile(r"^\[(한국어|English)\]\([\w.-]+\.md\)\n\n", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's text without the line."""
    return OTHER_LANGUAGE.sub("", markdown, count=1)
