"""docs/figures.json: the figures as they are printed, by the part that measured them, with date, machine and commit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "figures.json"
#: Figures of measurements that take hours, which stand in the page that reports them: name -> that page, and the
#: pattern that finds it there.
QUOTED = {
    "growth.hybrid.ms": ("docs/growth.md", r"^\| hybrid \|.*\| ([\d.]+) / [\d.]+ \|$"),
    "growth.memory": ("docs/growth.md", r"What is not mapped is ([\d.]+) GiB at a million passages"),
}


@dataclass(frozen=True)
class Part:
    """What one part of the command measured.

    Attributes:
        measured: Date, machine, load and versions.
        commit: The commit that was checked out; with a "+" if files differed from it.
        weights: Fingerprint of the packaged weights that the figures depend on.
        figures: Name -> the figure as printed; where there is a 95% interval, ``0.903 (0.881-0.924)``.
    """

    measured: str
    commit: str
    weights: str
    figures: dict[str, str]


class Figures:
    """All figures.

    Args:
        parts: Name of a part -> what it measured. ``PART.measured`` is a figure, too.
        quoted: Name -> figures that another page has.
    """

    def __init__(self, parts: Mapping[str, Part], quoted: Mapping[str, str] | None = None) -> None:
        self.parts = dict(parts)
        self._figures = dict(quoted or {})
        for key, part in self.parts.items():
            self._figures[f"{key}.measured"] = part.measured
            for name, figure in part.figures.items():
                self._figures.setdefault(name, figure)

    @classmethod
    def read(cls, path: Path = FILE) -> Figures:
        """Read a file of figures, and `QUOTED`; a file that is missing has none."""
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return cls({name: Part(**part) for name, part in stored.items()}, quoted())

    def write(self, path: Path = FILE) -> None:
        """Write the file."""
        parts = {name: asdict(part) for name, part in self.parts.items()}
        path.write_text(json.dumps(parts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    def whole(self, name: str) -> str:
        """Return a figure with its interval, if it has one.

        Raises:
            KeyError: If there is no such figure.
        """
        return self._figures[name]

    def __getitem__(self, name: str) -> str:
        """Return a figure without its interval."""
        return self._figures[name].partition(" (")[0]

    def __contains__(self, name: str) -> bool:
        return name in self._figures

    def conflicts(self) -> list[str]:
        """Return the figures that two parts measured and found different, each as a line."""
        lines = []
        first: dict[str, str] = {}
        for part, one in self.parts.items():
            for name, figure in one.figures.items():
                here = first.setdefault(name, part)
                known = self.parts[here].figures[name]
                if known != figure:
                    lines.append(f"{name}: {known} ({here}), {figure} ({part})")
        return lines


def quoted(root: Path = ROOT) -> dict[str, str]:
    """Return the figures of `QUOTED`.

    Raises:
        ValueError: If a page has not exactly one of each.
    """
    figures = {}
    for name, (page, pattern) in QUOTED.items():
        found = re.findall(pattern, (root / page).read_text(encoding="utf-8"), re.MULTILINE)
        if len(found) != 1:
            raise ValueError(f"{page} has {len(found)} places that look like {pattern!r}, from which {name} is taken")
        figures[name] = found[0]
    return figures
