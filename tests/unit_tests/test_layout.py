"""The layout of the package: no import circles, imports go down only, small rooms (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import langchain_klue_rerank

PACKAGE = Path(langchain_klue_rerank.__file__).parent
NAME = PACKAGE.name

#: From the bottom up. A module may import from its own layer and from those below it.
LAYERS = [
    ["errors", "engine.threads"],
    ["engine.parallel"],
    ["engine.arrays"],
    ["engine.text"],
    ["engine.contracts"],
    ["engine.index", "engine.models", "engine.rerank"],
    ["adapters"],
    ["embeddings", "reranker"],
    ["cascade", "explanation"],
    ["bm25", "retriever", "sparse", "vectorstore"],
    ["agents", "files", "evaluation", "integrations"],
    ["server"],
    ["cli"],
]
#: Rooms of one layer that know nothing of each other.
APART = [("engine.index", "engine.models"), ("engine.index", "engine.rerank"), ("engine.rerank", "engine.models")]


def modules() -> list[str]:
    """Every module of the package, without the package's name; the package itself is ""."""
    paths = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(part for part in parts if part != "__init__") for parts in paths)


@cache
def imports(module: str) -> frozenset[str]:
    """The package's modules that a module imports anywhere, in functions and for type checkers too."""
    path = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return frozenset(_imported(ast.parse(path.read_text(encoding="utf-8")))) - {module}


def _imported(tree: ast.AST) -> Iterator[str]:
    known = set(modules())
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            parent = node.module or ""
            names = [
                f"{parent}.{alias.name}" if _below(f"{parent}.{alias.name}") in known else parent
                for alias in node.names
            ]
        yield from (_below(name) for name in names if name == NAME or name.startswith(f"{NAME}."))


def _below(name: str) -> str:
    return name.removeprefix(NAME).removeprefix(".")


def layer(module: str) -> int:
    """The number of a module's layer; the package's own ``__init__`` is on top."""
    for number, rooms in enumerate(LAYERS):
        if any(module == room or module.startswith(f"{room}.") for room in rooms):
            return number
    assert module in ("", "engine"), f"{module} has no place in the layout: add it to docs/architecture.md and here."
    return len(LAYERS) if not module else 0


@pytest.mark.parametrize("module", modules())
def test_imports_go_down_only(module):
    wrong = {other for other in imports(module) if other and layer(other) > layer(module)}
    assert not wrong


@pytest.mark.parametrize("module", modules())
def test_rooms_of_one_layer_keep_apart(module):
    for one, other in APART:
        for here, there in ((one, other), (other, one)):
            if module.startswith(f"{here}."):
                assert not {name for name in imports(module) if name.startswith(f"{there}.")}


def test_there_is_no_import_circle():
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in sorted(imports(module)):
                visit(other, (*way, module))
            done.add(module)

    for module in modules():
        visit(module, ())


def test_rooms_are_small():
    rooms = {path.parent for path in PACKAGE.rglob("*.py")}
    assert {
        str(room.relative_to(PACKAGE)): count for room in rooms if (count := len([*room.glob("[!_]*.py")])) > 12
    } == {}


def test_modules_are_short():
    lines = {str(path.relative_to(PACKAGE)): len(path.read_bytes().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > 350} == {}


@cache
def _defined(module: str) -> frozenset[str]:
    """The names that a module of the package defines or imports at its top level."""
    path = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    return frozenset(names)


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "tests", "training"])
def test_what_is_imported_from_the_package_is_there(folder):
    known = set(modules())
    for path in (PACKAGE.parent / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{NAME}."):
                module = _below(node.module or "")
                assert module in known, f"{path}: {node.module}"
                missing = {alias.name for alias in node.names} - _defined(module)
                assert not {name for name in missing if f"{module}.{name}".strip(".") not in known}, path


def test_the_engine_knows_no_langchain():
    for path in (PACKAGE / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [
                name for name in names if name.split(".")[0].startswith("langchain_") and name.split(".")[0] != NAME
            ]


def test_every_benchmark_is_in_the_readme_of_its_folder():
    folder = PACKAGE.parent / "benchmarks"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert {path.stem for path in folder.glob("[!_]*.py") if path.stem not in readme} == set()


def test_the_architecture_page_names_every_module():
    tree = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    assert not {module.rpartition(".")[2] for module in modules()} - set(re.findall(r"\w*", tree))
