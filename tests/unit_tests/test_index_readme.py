"""The README as a package index shows it: see hatch_build.py."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from hatch_build import index_readme  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_without_an_address_there_are_no_images_and_no_links_that_lead_nowhere() -> None:
    text = index_readme(README, "")
    assert not re.findall(r"\]\((?!https?:|#)[^)]*\)", text)
    assert "![" not in text
    assert "All results with calibration" in text


def test_with_an_address_links_are_absolute() -> None:
    text = index_readme(README, "https://git.example/us/it")
    assert not re.findall(r"\]\((?!https?:|#)[^)]*\)", text)
    assert "](https://git.example/us/it/raw/main/docs/assets/price.svg)" in text
    assert "](https://git.example/us/it/blob/main/docs/results.md)" in text
