"""A report of text, tables and pictures, written as Markdown and as HTML into one folder that can be sent away."""

from __future__ import annotations

import datetime
import html
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.files import replace_folder
from training.recipes.cards import versions
from training.recipes.retrieval import Measured

_STYLE = """\
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top }
th { background: #f3f3f3 }
img { max-width: 100% }
.wide { overflow-x: auto; max-width: 100% }
pre { overflow-x: auto; background: #f6f6f6; padding: .6rem; font-size: 14px }
"""


@dataclass(frozen=True)
class Heading:
    """The heading of a section; level 1 is the report's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of plain text."""

    head: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture; its file is copied into the report's folder under the given name."""

    file: Path
    name: str
    caption: str


@dataclass(frozen=True)
class Code:
    """Lines to be copied; the language is that of Markdown's fences."""

    text: str
    language: str = ""


Block = Heading | Paragraph | Table | Picture | Code


def write(blocks: Sequence[Block], folder: Path, language: str = "en") -> None:
    """Write ``report.md``, ``report.html`` and the pictures, in place of an older report.

    Args:
        blocks: The report; its first block is the title.
        folder: Made if need be; complete or not at all.
        language: Of the texts, ``en`` or ``ko``.
    """
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for block in blocks:
        if isinstance(block, Picture):
            shutil.copyfile(block.file, fresh / block.name)
    (fresh / "report.md").write_text(to_markdown(blocks), encoding="utf-8")
    (fresh / "report.html").write_text(to_html(blocks, language), encoding="utf-8")
    replace_folder(fresh, folder)


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the report in Markdown."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def to_html(blocks: Sequence[Block], language: str = "en") -> str:
    """Return the report as an HTML page that needs nothing but its pictures."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>\n{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Paragraph):
        return block.text
    if isinstance(block, Picture):
        return f"![{block.caption}]({block.name})"
    if isinstance(block, Code):
        return f"```{block.language}\n{block.text}\n```"
    lines = [block.head, ["---"] * len(block.head), *block.lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Picture):
        caption = html.escape(block.caption)
        return f'<p><img src="{html.escape(block.name)}" alt="{caption}"><br>{caption}</p>'
    if isinstance(block, Code):
        return f"<pre>{html.escape(block.text)}</pre>"
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in block.head)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in block.lines
    )
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def machine() -> list[list[str]]:
    """Return what the figures were measured on, and when: lines of a table."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    return [
        ["date", datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")],
        ["machine", f"{platform.system()} {platform.machine()}, {_processor()}"],
        ["cores", f"{os.cpu_count()}, {torch.get_num_threads()} used by torch"],
        ["accelerator", device],
        *map(list, versions("langchain-core", "kiwipiepy")),
    ]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def draw_hit_rates(rows: Sequence[Measured], path: Path) -> None:
    """Draw HitRate@1 and HitRate@10 of every row, a panel for each corpus, with 95% intervals.

    Args:
        rows: At least one.
        path: The picture to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from langchain_klue_rerank.evaluation.metrics import interval

    corpora = list(dict.fromkeys(row.corpus for row in rows))
    figure, panels = pyplot.subplots(
        1, len(corpora), figsize=(5.5 * len(corpora) + 1.5, 1 + 0.45 * len(rows)), sharey=True, squeeze=False
    )
    for panel, corpus in zip(panels[0], corpora, strict=True):
        own = [row for row in rows if row.corpus == corpus]
        for k, offset, colour in ((1, -0.2, "tab:blue"), (10, 0.2, "tab:orange")):
            means = [float(row.hits(k).mean()) for row in own]
            bounds = [interval(row.hits(k)) for row in own]
            errors = [[m - low for m, (low, _) in zip(means, bounds, strict=True)]]
            errors.append([high - m for m, (_, high) in zip(means, bounds, strict=True)])
            places = [number + offset for number in range(len(own))]
            panel.barh(places, means, 0.38, xerr=errors, color=colour, label=f"HitRate@{k}", capsize=2)
        panel.set_yticks(range(len(own)), [row.system for row in own])
        panel.set_xlim(0, 1)
        panel.set_title(f"{corpus} ({own[0].passages:,} passages)")
    panels[0][0].invert_yaxis()
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
