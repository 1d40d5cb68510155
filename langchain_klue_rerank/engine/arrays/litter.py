"""Files that operating systems and their file managers leave in every folder, and that are no part of what it holds."""

from __future__ import annotations

import re

_LITTER = re.compile(
    r"\.DS_Store|\._.*|\.localized|\.fseventsd|\.Spotlight-V100|\.Trashes|Icon\r|__MACOSX|__pycache__"
    r"|(?:eh)?thumbs\.db|desktop\.ini|\.directory",
    re.IGNORECASE,
)


def is_litter(name: str) -> bool:
    """Say whether a file or folder of this name was left by an operating system, such as ``.DS_Store``."""
    return _LITTER.fullmatch(name) is not None
