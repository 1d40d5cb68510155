"""Draw the price of quality: HitRate@1 against milliseconds a query, from words between spaces to 100 reranked.

    python -m benchmarks.picture --data ../shared/data/klue_mrc --output runs

Writes price.svg and price.ko.svg and prints the table behind them; `benchmarks.figures` draws those of the
documentation, and takes from here how long a query takes. Each way is asked as after loading an
index: Kiwi is up, but has not seen any word yet. Times are medians; nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import html
import json
import logging
import re
import statistics
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.retrievers import BaseRetriever

from benchmarks.ways import TermRetriever, morphemes
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.evaluation import ask
from langchain_klue_rerank.evaluation.metrics import METRICS, interval
from langchain_klue_rerank.evaluation.sets import EvaluationSet, read_sets

#: The reranked ways, in the order of their candidates; a line connects them.
RERANKED = {f"hybrid, {count} reranked": count for count in (10, 30, 100)}


@dataclass(frozen=True)
class Label:
    """How a way is written beside its point.

    Attributes:
        english: Its name on the picture.
        korean: Its name on the Korean one.
        colour: Of the point and the name.
        place: From the point to the name, in typographic points.
        align: Which end of the name is there.
    """

    english: str
    korean: str
    colour: str
    place: tuple[int, int]
    align: str = "left"


_OTHERS, _OURS, _DEFAULT = "#78909c", "#3949ab", "#d81b60"
LABELS = {
    "BM25, words between spaces": Label("BM25, words between spaces", "BM25, 띄어쓰기 단위", _OTHERS, (-7, 21)),
    "BM25, Kiwi morphemes": Label("BM25, Kiwi morphemes", "BM25, Kiwi 형태소", _OTHERS, (0, -29), "center"),
    "lexical": Label("lexical: morphemes and bigrams", "낱말: 형태소와 두 글자 묶음", _OURS, (0, 15), "center"),
    "dense": Label("dense", "벡터", _OURS, (9, -4)),
    "hybrid": Label("hybrid", "하이브리드", _OURS, (3, -27), "center"),
    "hybrid, 10 reranked": Label("10 reranked", "10건 재정렬", _OURS, (0, -27), "center"),
    "hybrid, 30 reranked": Label("30 reranked (default)", "30건 재정렬 (기본값)", _DEFAULT, (0, 15), "center"),
    "hybrid, 100 reranked": Label("100 reranked", "100건 재정렬", _OURS, (0, -27), "center"),
}
#: Title, its second line, the axes; `{}` are the numbers of questions and passages.
WORDS = {
    "price.svg": (
        "{} KLUE-MRC questions over {} passages",
        "right document first (HitRate@1), with 95% intervals",
        "milliseconds a query on a CPU, logarithmic",
    ),
    "price.ko.svg": (
        "KLUE-MRC 질문 {}개, 지문 {}건",
        "정답 문서가 맨 위에 나온 비율 (HitRate@1, 95% 구간)",
        "질문당 밀리초 (CPU, 로그 눈금)",
    ),
}


@dataclass(frozen=True)
class Point:
    """What one way gave.

    Attributes:
        rates: Metric -> mean, and the ends of its 95% bootstrap interval.
        milliseconds: Median of a query.
        p95: 95th percentile of a query, in milliseconds.
    """

    rates: dict[str, tuple[float, float, float]]
    milliseconds: float
    p95: float


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="as for klue-rerank evaluate; of several sets the last")
    parser.add_argument("--output", type=Path, required=True, help="folder of the pictures")
    options = parser.parse_args()
    data = read_sets(options.data)[-1]
    points = measure(data)
    print(table(points))
    for name in WORDS:
        draw(points, f"{len(data.questions):,}", f"{len(data.documents):,}", options.output / name)


def measure(data: EvaluationSet) -> dict[str, Point]:
    """Ask a set's questions in every way."""
    ours = KlueRetriever.from_documents(data.documents)
    first = ours.model_copy(update={"reranker": None})
    ways: dict[str, tuple[BaseRetriever, dict[str, Any]]] = {
        "BM25, words between spaces": (TermRetriever.over(data.documents, str.split), {}),
        "BM25, Kiwi morphemes": (TermRetriever.over(data.documents, morphemes), {}),
        **{kind: (first, {"search_type": kind}) for kind in ("lexical", "dense", "hybrid")},
        **{name: (ours, {"fetch_k": count}) for name, count in RERANKED.items()},
    }
    points = {}
    for name, (retriever, how) in ways.items():
        shared_analyzer.cache_clear()  # what a way before it asked is not known to this one
        retriever.invoke("준비", k=10, **how)
        answers = ask(retriever, data, name, k=10, **how)
        judged = answers.judge(data)
        rates = {}
        for metric in ("HitRate@1", "HitRate@10", "MRR@10"):
            values = METRICS[metric](judged)
            rates[metric] = (float(values.mean()), *interval(values))
        times = answers.milliseconds
        points[name] = Point(rates, statistics.median(times), float(np.percentile(times, 95)))
    return points


def table(points: Mapping[str, Point]) -> str:
    """Return the points as a table in Markdown."""
    lines = ["| search | HitRate@1 | HitRate@10 | MRR@10 | ms a query | p95 |", "|---|---|---|---|---|---|"]
    for name, point in points.items():
        rates = " | ".join(f"{value:.3f} ({low:.3f}-{high:.3f})" for value, low, high in point.rates.values())
        lines.append(f"| {name} | {rates} | {point.milliseconds:.2f} | {point.p95:.2f} |")
    return "\n".join(lines)


def data_of(points: Mapping[str, Point]) -> str:
    """Return what a picture says of its points, for programs: each way's HitRate@1 with interval, and milliseconds."""
    told = {}
    for name in LABELS:
        rate, low, high = points[name].rates["HitRate@1"]
        told[name] = f"{rate:.3f} ({low:.3f}-{high:.3f}), {points[name].milliseconds:.1f} ms"
    return json.dumps(told)


def drawn(path: Path) -> str:
    """Return what a picture says of its points; nothing, if it says nothing or is missing."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = re.search(r"<dc:description>(.*?)</dc:description>", text, re.DOTALL)
    return html.unescape(found[1]) if found else ""


def draw(points: Mapping[str, Point], questions: str, passages: str, path: Path) -> None:
    """Draw the points.

    Args:
        points: Of all `LABELS`.
        questions: How many questions were asked.
        passages: Over how many passages.
        path: Where to, a name of `WORDS`.
    """
    import matplotlib

    matplotlib.use("Agg")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # the reader's fonts count, not ours
    from matplotlib import pyplot, ticker
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    title, quality, price = WORDS[path.name]
    style: Any = {
        "svg.fonttype": "none",  # text stays text: small, sharp, and in the reader's own Korean font
        "svg.hashsalt": "price",
        "font.family": ["DejaVu Sans", "Noto Sans CJK KR"],
        "font.size": 12,
        "text.color": "#263238",
        "axes.edgecolor": "#b0bec5",
        "axes.labelcolor": "#455a64",
        "xtick.color": "#455a64",
        "ytick.color": "#455a64",
    }
    with pyplot.rc_context(style), warnings.catch_warnings():
        layout = ConstrainedLayoutEngine(w_pad=0.2, h_pad=0.15)
        figure, axis = pyplot.subplots(figsize=(7.5, 4.5), layout=layout)
        reranked = [points[name] for name in ("hybrid", *RERANKED)]
        axis.plot(
            [one.milliseconds for one in reranked],
            [one.rates["HitRate@1"][0] for one in reranked],
            color=_OURS,
            alpha=0.4,
        )
        for name, label in LABELS.items():
            rate, low, high = points[name].rates["HitRate@1"]
            at = (points[name].milliseconds, rate)
            axis.errorbar(*at, [[rate - low], [high - rate]], fmt="o", color=label.colour, markersize=7, elinewidth=1)
            axis.annotate(
                label.korean if path.name == "price.ko.svg" else label.english,
                at,
                label.place,
                textcoords="offset points",
                ha=label.align,
                color=label.colour,
                weight="bold" if label.colour == _DEFAULT else "normal",
            )
        axis.set_xscale("log")
        axis.margins(x=0.09)
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 3)))
        axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.set(xlabel=price, ylim=(0.5, 1))
        axis.set_title(title.format(questions, passages), loc="left", weight="bold", pad=26)
        axis.text(0, 1.03, quality, transform=axis.transAxes, color="#455a64")
        axis.grid(color="#eceff1")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(path, metadata={"Date": None, "Description": data_of(points)})
        pyplot.close(figure)


if __name__ == "__main__":
    main()
