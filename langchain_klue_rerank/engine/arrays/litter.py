"""Files that operating systems and file managers leave in folders, such as ``.DS_Store``."""

from __future__ import annotations

import re

_LITTER = re.compile(
    r"\.DS_Store|\._.*|\.localized|\.fseventsd|\.Spotlight-V100|\.Trashes|Icon\r|__MACOSX|__pycache__"
    r"|(?:eh)?thumbs\.db|desktop\.ini|\.directory",
    re.IGNORECASE,
)


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name was left by an operating system, such as ``.DS_Store``."""
    return _LITTER.fullmatch(name) is not None
