"""A report in Markdown and HTML, and the picture in it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from training.recipes import report
from training.recipes.report import Heading, Paragraph, Picture, Table
from training.recipes.retrieval import Measured


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    picture.write_bytes(b"picture")
    blocks = [
        Heading("Results <1>", 1),
        Paragraph("a & b"),
        Table(["x", "y"], [["1|2", "<b>"]]),
        Picture(picture, "loss.png", "Loss"),
    ]
    report.write(blocks, tmp_path / "report")
    markdown = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert markdown == "# Results <1>\n\na & b\n\n| x | y |\n| --- | --- |\n| 1\\|2 | <b> |\n\n![Loss](loss.png)\n"
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    for part in ("<h1>Results &lt;1&gt;</h1>", "<p>a &amp; b</p>", "<td>&lt;b&gt;</td>", 'src="loss.png"'):
        assert part in page
    assert (tmp_path / "report" / "loss.png").read_bytes() == b"picture"


def test_an_older_report_is_replaced_as_a_whole(tmp_path: Path) -> None:
    picture = tmp_path / "old.png"
    picture.write_bytes(b"old")
    report.write([Heading("Old", 1), Picture(picture, "old.png", "Old")], tmp_path / "report")
    report.write([Heading("New", 1)], tmp_path / "report")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "report.md"]


def test_a_missing_picture_leaves_the_older_report(tmp_path: Path) -> None:
    report.write([Heading("Old", 1)], tmp_path / "report")
    with pytest.raises(FileNotFoundError):
        report.write([Picture(tmp_path / "none.png", "none.png", "")], tmp_path / "report")
    assert (tmp_path / "report" / "report.md").read_text(encoding="utf-8") == "# Old\n"


def test_hit_rates_are_drawn(tmp_path: Path) -> None:
    rows = [Measured(name, corpus, 9, [1, 0, 3, 2], 0.1) for corpus in ("own", "all") for name in ("a", "b")]
    report.draw_hit_rates(rows, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_machine_and_versions_are_told() -> None:
    pytest.importorskip("torch")
    lines = dict(report.machine())
    assert {"date", "machine", "python", "torch"} <= lines.keys()
