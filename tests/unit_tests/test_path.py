"""The way of a query and of a document through the package stays short (docs/architecture.md)."""

from __future__ import annotations

from itertools import groupby

import pytest

from benchmarks.path import walk, ways


@pytest.mark.parametrize(("name", "most_files", "most_changes"), [("invoke", 34, 98), ("add_documents", 25, 89)])
def test_a_call_passes_few_files(name: str, most_files: int, most_changes: int) -> None:
    files = [file for file, _, _ in walk(ways()[name])]
    assert 10 < len(set(files)) <= most_files
    assert len([*groupby(files)]) - 1 <= most_changes
