"""Every page and picture has the figures of docs/figures.json; every measured number of the READMEs is one of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("bm25s")

from benchmarks import price
from benchmarks.figures import __main__ as command
from benchmarks.figures.blocks import BLOCKS
from benchmarks.figures.pages import differences, fill, pages
from benchmarks.figures.parts import PARTS, chosen, points
from benchmarks.figures.results_page import cells, results_differences, told
from benchmarks.figures.store import FILE, ROOT, Figures, Part, quoted
from benchmarks.picture import data_of, draw, drawn

READMES = ["README.md", "README.ko.md"]
#: Numbers of the READMEs that are no measurements: counts in what the picture shows, versions, "1초에".
_NOT_MEASURED = {"3,835", "100", "3.11", "2.0", "4.0", "1"}


@pytest.fixture(scope="module")
def figures() -> Figures:
    return Figures.read()


def test_every_page_and_picture_has_todays_figures(figures: Figures) -> None:
    assert command.check(figures) == []


def test_the_parts_of_the_command_are_those_of_the_file(figures: Figures) -> None:
    assert {name for name, part in PARTS.items() if not part.optional} <= set(figures.parts) <= set(PARTS)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The pages that quote figures, in a folder of their own."""
    for page in pages():
        path = tmp_path / page.relative_to(ROOT)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, path)
    return tmp_path


@pytest.mark.parametrize("name", [*READMES, "docs/benchmarks.md", "docs/benchmarks.ko.md", "docs/comparison.ko.md"])
def test_one_changed_figure_is_noticed(name: str, copy: Path, figures: Figures) -> None:
    assert differences(figures, BLOCKS, copy) == []
    page = copy / name
    text = page.read_text(encoding="utf-8")
    places = [match.start(1) for match in re.finditer(r"<!--=[^>]+-->[^<]*?(\d)<!--/-->", text)]
    tables = re.finditer(r"<!-- figures: .*?0\.\d\d(\d).*?<!-- /figures -->", text, re.DOTALL)
    places += [match.start(1) for match in tables]
    assert places
    for place in places:
        page.write_text(f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}", encoding="utf-8")
        [line] = differences(figures, BLOCKS, copy)
        assert line.startswith(f"{name}, line {text[:place].count(chr(10)) + 1}:")


def test_a_line_taken_out_of_a_table_is_noticed(copy: Path, figures: Figures) -> None:
    page = copy / "README.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("| lexical"))
    page.write_text("\n".join(lines[:row] + lines[row + 1 :]), encoding="utf-8")
    assert len(differences(figures, BLOCKS, copy)) == 1


@pytest.mark.parametrize("name", READMES)
def test_what_is_measured_in_a_readme_is_a_figure_of_the_file(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!-- figures: .*?<!-- /figures -->", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--=.*?<!--/-->", "", text)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
    units = r"\s?(?:ms|s\b|MB|MiB|GiB|GB|%|passages|packages|seconds|milliseconds|minutes|times|밀리초|초|배|건|개)"
    numbers = re.findall(rf"\d[\d,]*\.\d+|\d[\d,]*(?={units})", text)
    assert set(numbers) <= _NOT_MEASURED


def test_a_changed_figure_of_the_results_page_is_noticed() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    figures = dict(told(page))
    value, _, ends = figures["klue.dense.hit1"].rstrip(")").partition(" (")
    counts = {f"{name.partition('.')[0]}.questions": "1" for name in figures}
    whole = Figures({"results": Part("today", "abc", "", figures | counts)})
    assert results_differences(whole, page) == []
    other = page.replace(f"| dense | {value}<br>{ends} |", f"| dense | 9.999<br>{ends} |", 1)
    [line] = results_differences(whole, other)
    assert line == f"docs/results.md, klue.dense.hit1: 9.999 ({ends}); measured: {value} ({ends})"
    row = next(line for line in page.splitlines(keepends=True) if line.startswith("| dense |"))
    assert len(results_differences(whole, page.replace(row, "", 1))) == 6


def test_two_parts_that_disagree_are_noticed() -> None:
    parts = [Part("today", "abc", "", {"klue.hybrid.hit1": f"0.89{digit}", "same": "1"}) for digit in "89"]
    assert Figures({"results": parts[0], "queries": parts[0]}).conflicts() == []
    [line] = Figures({"results": parts[0], "queries": parts[1]}).conflicts()
    assert line == "klue.hybrid.hit1: 0.898 (results), 0.899 (queries)"


SOME = Figures({"part": Part("today", "abc", "", {"rate": "0.903 (0.881-0.924)", "count": "715"})})


def test_figures_are_filled_in() -> None:
    page = "The rate is <!--=rate-->0<!--/-->, in full **<!--=rate:all-->?<!--/-->**, of <!--=count--><!--/--> texts."
    filled = fill(page, SOME, {})
    assert re.sub(r"<!--.*?-->", "", filled) == "The rate is 0.903, in full **0.903 (0.881-0.924)**, of 715 texts."
    assert fill(filled, SOME, {}) == filled


def test_tables_are_filled_in_and_their_language_is_told() -> None:
    page = "before\n<!-- figures: table ko -->\nold\n<!-- /figures -->\nafter\n"
    filled = fill(page, SOME, {"table": lambda figures, language: f"| {language} | {figures['rate']} |"})
    assert filled == "before\n<!-- figures: table ko -->\n\n| ko | 0.903 |\n\n<!-- /figures -->\nafter\n"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!--=rate-->0.9<!--/--> begins the line", "may not begin a line"),
        ("- <!--=rate-->0.9<!--/--> begins an item", "may not begin a line"),
        ("a <!--=rate-->0.9<!-- / -->", "damaged"),
        ("a <!--=rate-->0.9 and no end", "damaged"),
        ("a <!-- figures: table en --> within a line\n<!-- /figures -->", "damaged"),
    ],
)
def test_a_comment_that_would_not_be_read_is_refused(page: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fill(page, SOME, {"table": lambda figures, language: ""})


def test_an_unknown_figure_is_an_error() -> None:
    with pytest.raises(KeyError, match="rats"):
        fill("a <!--=rats-->0.9<!--/-->", SOME, {})


@pytest.mark.parametrize("name", BLOCKS)
def test_tables_say_the_same_in_both_languages(name: str, figures: Figures) -> None:
    if name.endswith("card"):
        pytest.skip("cards are in English")
    english, korean = (BLOCKS[name](figures, language) for language in ("en", "ko"))
    rows = [[cells(line)[1:] for line in one.splitlines() if line.startswith("|")] for one in (english, korean)]
    assert [len(row) for row in rows[0]] == [len(row) for row in rows[1]]
    for left, right in zip(*rows, strict=True):
        for one, other in zip(left, right, strict=True):
            assert re.findall(r"\d+(?:\.\d+)?", one) == re.findall(r"\d+(?:\.\d+)?", other)


def test_a_picture_knows_the_figures_that_it_shows(figures: Figures, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = points(figures)
    draw(shown, "715", "3,835", tmp_path / "price.svg")
    assert drawn(tmp_path / "price.svg") == data_of(shown)
    text = (tmp_path / "price.svg").read_text(encoding="utf-8")
    assert ">715 KLUE-MRC questions over 3,835 passages<" in text


def test_the_price_in_words_is_the_price_in_the_table(figures: Figures) -> None:
    milliseconds = float(figures["query.reranked.ms"])
    assert abs(milliseconds - float(figures["query.about"])) <= 0.5
    gain = milliseconds - float(figures["query.hybrid.ms"])
    assert abs(gain - float(figures["query.reranking"])) <= 0.6


def test_what_the_benchmarks_page_claims_of_every_row_holds(figures: Figures) -> None:
    for name in ("klue", "klue-own", "korquad", "tydi", "samples"):
        _, _, ends = figures.whole(f"{name}.hybrid.hit1").partition(" (")
        assert float(figures[f"{name}.reranked.hit1"]) >= float(ends.partition("-")[0]), name


def test_parts_are_chosen_by_name_or_group() -> None:
    assert chosen(["times"]) == ["queries", "start", "loading", "encoder-price"]
    assert chosen(["start", "encoder"]) == ["encoder", "start"]
    with pytest.raises(ValueError, match="no part is named tims"):
        chosen(["tims"])


def test_a_quoted_page_must_have_the_figure_once(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    text = (ROOT / "docs" / "growth.md").read_text(encoding="utf-8")
    (tmp_path / "docs" / "growth.md").write_text(text.replace("What is not mapped is", "What is mapped is"))
    with pytest.raises(ValueError, match="0 places"):
        quoted(tmp_path)


@pytest.mark.slow
def test_a_part_is_kept_until_it_is_asked_for_again(tmp_path: Path) -> None:
    first = command.measured("sizes", tmp_path, again=False, runs=tmp_path)
    kept = tmp_path / "sizes.json"
    written = kept.stat().st_mtime_ns
    assert command.measured("sizes", tmp_path, again=False, runs=tmp_path) == first
    assert kept.stat().st_mtime_ns == written
    kept.write_text(kept.read_text(encoding="utf-8").replace(command.code(), "another"), encoding="utf-8")
    assert command.measured("sizes", tmp_path, again=False, runs=tmp_path).figures == first.figures
    assert kept.stat().st_mtime_ns != written


def test_the_weights_have_the_size_that_pages_tell(figures: Figures) -> None:
    assert figures["weights.all"] == f"{price.megabytes(command._PACKAGE / 'weights'):.0f}"


@pytest.mark.parametrize("what", price.LOADED.values())
def test_what_times_loading_runs(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(price.LOAD.format(what=what), "load", "exec"), {})
    assert float(capsys.readouterr().out) >= 0


def test_the_file_is_read_as_it_was_written(figures: Figures, tmp_path: Path) -> None:
    figures.write(tmp_path / "figures.json")
    assert (tmp_path / "figures.json").read_bytes() == FILE.read_bytes()
