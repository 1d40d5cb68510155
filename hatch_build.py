"""The README as a package index shows it: without relative images, which it cannot show, or with absolute links.

The publisher's repository is named once, as ``repository`` under ``[tool.hatch.metadata.hooks.custom]``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?![a-z]+:|#)([^()\s]+)\)")


def index_readme(text: str, repository: str) -> str:
    """Return the README for a package index.

    Args:
        text: The README.
        repository: Address of the repository, without a slash at its end; empty while there is none.

    Returns:
        With an address, the text with absolute links; without, images are left out and links are plain text.
    """

    def replace(match: re.Match[str]) -> str:
        mark, words, path = match.groups()
        if repository:
            return f"{mark}[{words}]({repository}/{'raw' if mark else 'blob'}/main/{path})"
        return "" if mark else words

    return _LINK.sub(replace, text)


class ReadmeHook(MetadataHookInterface):
    """Sets the metadata's ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write the README's text into the metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        readme = index_readme(text, self.config.get("repository", ""))
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
