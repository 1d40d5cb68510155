"""The documentation does what it says: its Python runs, prints what stands below it, and names what there is."""

from __future__ import annotations

import argparse
import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import langchain_klue_rerank
from langchain_klue_rerank.cli import main as cli
from tests.unit_tests.test_korean_pages import nav

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    "index.md",
    "index.ko.md",
    "concepts.md",
    "concepts.ko.md",
    "filters.md",
    "filters.ko.md",
    "recipes.md",
    "recipes.ko.md",
    "troubleshooting.md",
    "troubleshooting.ko.md",
    "explanations.md",
    "explanations.ko.md",
]

_FENCE = re.compile(r"^```(?P<kind>\w*)(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: .+ -->\n\Z")


@dataclass(frozen=True)
class Block:
    kind: str
    code: str
    line: int
    run: bool
    output: bool  # what the block before it prints


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        before = text[: match.start()]
        yield Block(
            match["kind"], match["code"], before.count("\n") + 1, not _NOT_RUN.search(before), "title=" in match["info"]
        )


def run_python(block: Block, page: Path, names: dict[str, Any]) -> str:
    code = "\n" * block.line + block.code  # so that a traceback tells the page's line
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(page), "exec"), names)
    return printed.getvalue()


def run_commands(block: Block) -> None:
    """Run the `klue-rerank` commands among the lines that read the folder that we are in."""
    for line in block.code.splitlines():
        command, *arguments = shlex.split(line, comments=True)
        if command == "klue-rerank":
            with contextlib.redirect_stdout(io.StringIO()):
                assert cli.main(arguments) == 0, line


@pytest.mark.filterwarnings("ignore:.langchain-community. is being sunset:DeprecationWarning")
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.slow
def test_the_code_of_a_page_runs_and_prints_what_it_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("langchain_classic")
    monkeypatch.chdir(tmp_path)
    checker = doctest.OutputChecker()
    names: dict[str, Any] = {"__name__": "page"}
    printed = ""
    for block in blocks(DOCS / name):
        if block.kind == "python":
            compile(block.code, name, "exec")
            printed = run_python(block, DOCS / name, names) if block.run else ""
        elif block.kind == "sh" and name.startswith("recipes."):
            run_commands(block)
        elif block.output:
            place = f"{name}, line {block.line}"
            assert checker.check_output(block.code, printed, doctest.ELLIPSIS), f"{place}: printed\n{printed}"


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_first_example_prints_what_stands_below_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    readme = list(blocks(ROOT / name))
    first = next(number for number, block in enumerate(readme) if block.kind == "python")
    assert run_python(readme[first], ROOT / name, {}) == readme[first + 1].code
    assert readme[first].code.count("\n") <= 14  # it fits on the first screen


@pytest.mark.filterwarnings("ignore:.langchain-community. is being sunset:DeprecationWarning")
@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_readme_runs_from_its_beginning(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_classic")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    run = [block for block in blocks(ROOT / name) if block.kind == "python" and block.run]
    assert len(run) >= 3
    for block in run:
        run_python(block, ROOT / name, names)


@pytest.mark.parametrize("name", langchain_klue_rerank.__all__)
def test_the_examples_of_a_public_name_run(name: str) -> None:
    public = getattr(langchain_klue_rerank, name)
    runner = doctest.DocTestRunner(verbose=False)
    names = {one: getattr(langchain_klue_rerank, one) for one in langchain_klue_rerank.__all__}
    [example] = [test for test in doctest.DocTestFinder(recurse=False).find(public, name, globs=names) if test.examples]
    report: list[str] = []
    assert runner.run(example, out=report.append).failed == 0, "".join(report)


def test_only_what_needs_the_hub_is_not_run() -> None:
    assert sum(not block.run for name in PAGES for block in blocks(DOCS / name)) == 2  # in English and in Korean


def test_every_page_of_the_navigation_is_there_and_every_page_of_ours_in_it() -> None:
    named = set(nav())
    assert set(PAGES) <= named | {name.replace(".md", ".ko.md") for name in named}
    assert all((DOCS / name).is_file() for name in named - {"tour.md"})  # that is made of the notebook


def test_the_site_fetches_nothing() -> None:
    settings = _mkdocs()
    assert settings["theme"]["font"] is False
    assert "offline" in settings["plugins"]
    assert not [path for path in DOCS.rglob("*.md") if "```mermaid" in path.read_text(encoding="utf-8")]  # from a CDN


def test_the_api_page_has_the_public_names() -> None:
    shown = re.findall(r"^::: langchain_klue_rerank\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.M)
    assert sorted(shown) == sorted([*langchain_klue_rerank.__all__, "errors"])


@pytest.mark.parametrize("page", ["cli.md", "cli.ko.md"])
def test_the_command_lines_page_has_every_option(page: str) -> None:
    [commands] = [action.choices for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction)]
    sections = re.split(r"^## `klue-rerank ", (DOCS / page).read_text(encoding="utf-8"), flags=re.M)[1:]
    assert [section.split()[0] for section in sections] == list(commands)
    for section, parser in zip(sections, commands.values(), strict=True):
        written = set(re.findall(r"`(--?[a-z][\w-]*)", section))
        assert written == {
            action.option_strings[-1] for action in parser._actions if action.option_strings and action.dest != "help"
        }


def test_the_version_is_everywhere_the_same() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert langchain_klue_rerank.__version__ == citation["version"]


def _mkdocs() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return loaded
