"""Every page that users read is there in English and in Korean, and the two say the same."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import langchain_klue_rerank
from benchmarks.korean import pages
from langchain_klue_rerank import errors

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# For those who change the package, generated, or a card of weights: in English only.
ENGLISH_ONLY = {"architecture.md", "changelog.md", "packaged-bi-encoder.md", "packaged-reranker.md"}
# Training: the Korean page follows the tutorial cell by cell, the English one describes every recipe. API: the English
# page is made of the docstrings, the Korean one has tables for each class.
DIFFERENT = {"api.md", "training.md"}
MADE = {"tour.md"}  # of the notebook, at build time

_FENCE = re.compile(r"^```(?P<kind>\w*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([\w.-]+\.md)(#[\w-]+)?\)")
_FIGURE = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


def nav() -> list[str]:
    def names(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for each in entry.values() if isinstance(entry, dict) else entry:
                yield from names(each)

    return list(names(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))


TWINS = [name for name in nav() if name not in ENGLISH_ONLY | MADE]


def korean(name: str) -> Path:
    return DOCS / name.replace(".md", ".ko.md")


def code_of(text: str) -> list[tuple[str, str]]:
    return [(match["kind"], _without_words(match["kind"], match["code"])) for match in _FENCE.finditer(text)]


def _without_words(kind: str, code: str) -> str:
    """Return a block of code without what is said in either language: comments and texts."""
    if kind in ("python", "py"):
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = ""
        return ast.dump(tree)
    if kind in ("sh", "bash"):
        lines = (re.sub(r"#.*", "", line).strip() for line in code.splitlines())
        # names of files and folders may be Korean; the commands and their options are the same
        return "\n".join(
            " ".join(word for word in line.split() if re.fullmatch(r"[\w$=.-]+", word, re.A)) for line in lines
        )
    return ""  # what is printed: the page's own test compares it with what runs


def prose_of(text: str) -> str:
    return re.sub(r"\]\([^)]*\)|<[^>]*>", "", _FENCE.sub("", text))


def figures(prose: str) -> set[str]:
    """Figures of two digits or more; small numbers are often written as words."""
    found = (match.replace(",", "") for match in _FIGURE.findall(prose))
    return {figure for figure in found if len(figure) > 1}


def test_every_page_of_the_navigation_has_a_korean_one() -> None:
    assert [name for name in TWINS if not korean(name).is_file()] == []


def test_every_korean_page_has_an_english_one_in_the_navigation() -> None:
    pages = {path.name.replace(".ko.md", ".md") for path in DOCS.glob("*.ko.md")}
    assert pages - set(nav()) == set()


@pytest.mark.parametrize("name", TWINS)
def test_each_page_links_the_other_language_below_its_title(name: str) -> None:
    for page, language, other in ((DOCS / name, "한국어", korean(name)), (korean(name), "English", DOCS / name)):
        assert page.read_text(encoding="utf-8").split("\n\n")[1] == f"[{language}]({other.name})"


@pytest.mark.parametrize("name", [name for name in TWINS if name not in DIFFERENT])
def test_both_pages_have_the_same_headings_code_and_figures(name: str) -> None:
    english, its_twin = (page.read_text(encoding="utf-8") for page in (DOCS / name, korean(name)))
    assert code_of(its_twin) == code_of(english)
    english, its_twin = prose_of(english), prose_of(its_twin)
    assert re.findall(r"^#+ ", its_twin, re.MULTILINE) == re.findall(r"^#+ ", english, re.MULTILINE)
    assert figures(english) - figures(its_twin) == set()
    assert {figure for figure in figures(its_twin) - figures(english) if "." in figure} == set()


@pytest.mark.parametrize("name", sorted(ENGLISH_ONLY))
def test_a_page_without_a_korean_one_links_whole_pages(name: str) -> None:
    # it stands on the Korean site too, where the same link leads to the Korean page, whose headings have other anchors
    page = DOCS / name
    linked = _LINK.findall(page.read_text(encoding="utf-8")) if page.is_file() else []
    assert [f"{target}{anchor}" for target, anchor in linked if anchor and target in TWINS] == []


@pytest.mark.parametrize("name", TWINS)
def test_a_korean_page_leads_to_korean_pages(name: str) -> None:
    linked = _LINK.findall(korean(name).read_text(encoding="utf-8").split("\n\n", 2)[2])
    assert [page for page, _ in linked if not page.endswith(".ko.md") and page not in ENGLISH_ONLY] == []


@pytest.mark.parametrize(
    "page",
    [*sorted({*DOCS.glob("*.ko.md")} - {DOCS / "tour.ko.md"}), ROOT / "README.ko.md"],
    ids=lambda page: page.name,
)
def test_one_thing_has_one_name_in_korean(page: Path) -> None:
    assert re.findall("크로스 ?인코더|어휘 (?:검색|점수)|리랭커|십시오", page.read_text(encoding="utf-8")) == []


def test_the_korean_navigation_has_a_name_for_every_entry() -> None:
    def titles(entry: Any) -> Iterator[str]:
        for each in entry:
            for title, inner in each.items():
                yield title
                if not isinstance(inner, str):
                    yield from titles(inner)

    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    [languages] = [plugin["i18n"]["languages"] for plugin in settings["plugins"] if "i18n" in plugin]
    translated = languages[1]["nav_translations"]
    assert set(titles(settings["nav"])) - set(translated) == {"API", "Qdrant, Milvus, PostgreSQL"}
    assert all(re.search("[가-힣]", title) for title in translated.values())


@pytest.mark.parametrize("name", ["reranking.md", "results.md"])
def test_the_measured_part_of_a_korean_page_is_made_of_the_english_one(name: str) -> None:
    assert [path.read_text(encoding="utf-8") for path, _ in pages(DOCS / name)] == [
        text for _, text in pages(DOCS / name)
    ]


def _section(name: str) -> str:
    return re.split(r"^## ", korean("api.md").read_text(encoding="utf-8").split(f"\n## {name}\n")[1], flags=re.M)[0]


def _arguments(name: str) -> dict[str, str]:
    """Return the arguments that the class describes, with their defaults as they are written."""
    described = (getattr(langchain_klue_rerank, name).__doc__ or "").split("Args:")[1].split("\n\n")[0]
    names = re.findall(r"^ {8}(\w+): ", described, re.M)
    fields = getattr(getattr(langchain_klue_rerank, name), "model_fields", {})
    of = {field.alias or key: field for key, field in fields.items()}
    written = {}
    for each in names:
        if each not in of:  # no pydantic model
            default = inspect.signature(getattr(langchain_klue_rerank, name)).parameters[each].default
        elif of[each].is_required():
            written[each] = ""
            continue
        else:
            default = of[each].get_default(call_default_factory=True)
        simple = default is None or isinstance(default, int | float | str | dict)
        written[each] = f"={default!r}".replace("'", '"') if simple else f"={type(default).__name__}()"
    return written


CLASSES = [name for name in langchain_klue_rerank.__all__ if name[0].isupper() and name.startswith("Klue")]


@pytest.mark.parametrize("name", CLASSES)
def test_the_korean_reference_has_every_argument_and_its_default(name: str) -> None:
    table = _section(name).split("| 메서드 |")[0]
    assert dict(re.findall(r"^\| `(\w+)(=[^`]+)?` \|", table, re.M)) == _arguments(name)


@pytest.mark.parametrize("name", ["KlueRetriever", "KlueReranker", "KlueEmbeddings", "KlueSparseEmbeddings"])
def test_the_korean_reference_has_every_method(name: str) -> None:
    documented = {
        each
        for cls in getattr(langchain_klue_rerank, name).__mro__
        if cls.__module__.startswith("langchain_klue_rerank")
        for each, member in vars(cls).items()
        if each[0] != "_" and each not in ("model_config", "model_post_init") and getattr(member, "__doc__", None)
        if callable(member) or isinstance(member, property | classmethod)
    }
    assert documented - set(re.findall(r"\w+", _section(name))) == set()


def test_the_korean_reference_has_every_error() -> None:
    named = re.findall(r"^\| `(\w+Error)` \| `(\w+)` \|", korean("api.md").read_text(encoding="utf-8"), re.M)
    ours = {key: value for key, value in vars(errors).items() if isinstance(value, type)}
    assert {name for name, _ in named} == {key for key, value in ours.items() if issubclass(value, Exception)}
    assert all(issubclass(ours[name], getattr(builtins, base)) for name, base in named)


@pytest.mark.parametrize("page", [path for name in TWINS for path in (DOCS / name, korean(name))], ids=lambda p: p.name)
def test_keys_that_clients_send_are_ascii(page: Path) -> None:
    # they become HTTP headers: a Korean placeholder is a UnicodeEncodeError before anything is sent
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        if match["kind"] in ("python", "py"):
            for call in (node for node in ast.walk(ast.parse(match["code"])) if isinstance(node, ast.Call)):
                is_client = ast.unparse(call.func).endswith(("Client", "ClientV2"))
                keys = [one.value for one in call.keywords if (one.arg or "").endswith("key")]
                for value in [*keys, *(call.args if is_client else [])]:
                    assert ast.unparse(value).isascii()
