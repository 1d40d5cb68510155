"""What the docs say can be done is done: every test that they name exists, every block that they show runs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_klue_rerank import KlueEmbeddings, KlueRetriever
from tests.unit_tests.fakes import QUESTION, documents

DOCS = Path(__file__).parents[2] / "docs"
INTEGRATION_TESTS = Path(__file__).parent

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def rows(page: str) -> list[list[str]]:
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("| ")]


def named_tests(page: str = "langchain.md") -> list[str]:
    return [cells[-1] for cells in rows(page) if "::" in cells[-1]]


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Section and code of every block that is headed After."""
    section = ""
    text = (DOCS / page).read_text(encoding="utf-8")
    for match in re.finditer(r"^## ([^\n]+)$|^\*\*After\*\*\n\n```python\n(.*?)```$", text, re.MULTILINE | re.DOTALL):
        section = match[1] or section
        if match[2]:
            yield section, match[2]


def test_the_korean_table_names_the_same_tests() -> None:
    assert named_tests("langchain.ko.md") == named_tests()


def test_every_row_of_the_table_names_a_test_that_exists() -> None:
    named = named_tests()
    assert len(named) > 35
    for name in named:
        file, _, function = name.partition("::")
        source = (INTEGRATION_TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {function}\(", source, re.MULTILINE), name


def test_every_test_of_a_feature_has_a_row() -> None:
    named = set(named_tests())
    for file in ("test_langchain_features.py", "test_stores.py"):
        source = (INTEGRATION_TESTS / file).read_text(encoding="utf-8")
        for function in re.findall(r"^(?:async )?def (test_\w+)\(", source, re.MULTILINE):
            assert f"{file}::{function}" in named


def test_every_block_has_a_before_and_an_after() -> None:
    text = (DOCS / "migration.md").read_text(encoding="utf-8")
    assert text.count("**Before**") >= 8
    assert len(list(blocks("migration.md"))) >= text.count("**Before**")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"{page}: {section}")
        for page in ("migration.md", "migration.ko.md")
        for section, code in blocks(page)
    ],
)
def test_the_after_blocks_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = documents()
    names: dict[str, Any] = {
        "documents": given,
        "question": QUESTION,
        "store": InMemoryVectorStore.from_documents(given, KlueEmbeddings()),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every import from langchain_community warns
        from langchain_community.vectorstores import FAISS

        FAISS.from_documents(given, KlueEmbeddings()).save_local("faiss_db")
    exec(code, names)
    results = names.get("found") or names.get("best")
    if results is not None:
        assert results[0].id == "d0"
        assert 0 < results[0].metadata["relevance_score"] <= 1
    else:
        assert "vector" in names


def test_the_hybrid_block_of_the_stores() -> None:
    text = (DOCS / "langchain.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {
        "documents": documents(),
        "store": InMemoryVectorStore(KlueEmbeddings()),
        "KlueRetriever": KlueRetriever,
    }
    exec(code, names)
    assert names["retriever"].invoke(QUESTION)[0].id == "d0"
