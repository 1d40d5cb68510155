"""What `benchmarks.rerank` has measured, as a table, two plots and a part of a page."""

from __future__ import annotations

import re
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from benchmarks.korean import MARKERS
from benchmarks.rerank_modes import BI_ENCODER, NO_RERANKING, PACKAGED, PEERS, RETRIEVER
from langchain_klue_rerank.evaluation.metrics import Judged, hit_rate, interval

CALIBRATED_ON = "1 x 128, int8"
EARLY_STOP = "1 x 128, int8, early stop"
EXACT = "exact, onnx"
CASCADE = "packaged, then 5 of 1 x 128, int8"
#: Ways that compute the same scores as another: too slow to be judged on many questions themselves.
QUALITY_OF = {**dict.fromkeys(PEERS, EXACT), "exact, torch": EXACT}
#: Timed on fewer questions than this, a way's 95th percentile says nothing.
_ENOUGH = 20


def summary(measured: dict[str, Any], queries: list[dict[str, Any]], judged: int, candidates: int) -> dict[str, Any]:
    """Work out times, hit rates with intervals and agreement from what was measured.

    Args:
        measured: Way -> what its process returned.
        queries: The questions with their candidates; the first `judged` are judged.
        judged: How many.
        candidates: How many candidates were reranked.

    Returns:
        What `markdown` and the plots draw.
    """
    asked = queries[:judged]
    relevant = [[place for place in line["relevant"] if place < candidates] for line in asked]
    stages = [line["scores"][:candidates] for line in asked]
    ways: dict[str, Any] = {}
    reference = measured.get(EXACT, {}).get("scores")
    for way, one in measured.items():
        if way == RETRIEVER or "milliseconds" not in one:
            continue
        times = one["milliseconds"]
        row = {key: one[key] for key in one if key not in ("scores", "blended_scores", "read", "timed_scores")}
        row |= {"median": statistics.median(times), "timed": len(times), "from": None}
        row["pairs_per_second"] = 1000 * candidates / statistics.mean(times)
        if len(times) >= _ENOUGH:
            row["p95"] = float(np.percentile(times, 95))
        own = one
        if way in QUALITY_OF and reference is not None and _same_scores(one, measured[EXACT], way):
            own, row["from"] = measured[EXACT], EXACT
        if "scores" in own:
            scores = own["scores"][:judged]
            row["quality"] = _quality(scores, relevant)
            row["blended_quality"] = _quality(own["blended_scores"][:judged], relevant)
            row["read_share"] = float(np.mean([np.mean(is_read) for is_read in own["read"][:judged]]))
            if reference is not None:
                pairs = list(zip(scores, reference[:judged], strict=True))
                row["tau"] = float(np.nanmean([kendalltau(mine, other).statistic for mine, other in pairs]))
        ways[way] = row
    if "scores" in measured.get(EARLY_STOP, {}) and EARLY_STOP in ways:
        whole = measured[CALIBRATED_ON]["scores"][:judged]
        read = measured[EARLY_STOP]["read"][:judged]
        ways[EARLY_STOP]["missed"] = float(
            np.mean([not mask[int(np.argmax(own))] for own, mask in zip(whole, read, strict=True)])
        )
    first = {
        "milliseconds": float("nan"),
        "quality": _quality([list(range(0, -len(own), -1)) for own in stages], relevant),
    }
    points = {}
    for name, one in measured.get(RETRIEVER, {}).get("points", {}).items():
        if name == NO_RERANKING:
            first["milliseconds"] = statistics.median(one["milliseconds"])
            continue
        lists = [frozenset(line["relevant_ids"]) for line in asked]
        hits = Judged.from_rankings(one["found"], lists)
        points[name] = {"median": statistics.median(one["milliseconds"]), "quality": _rates(hits)}
        points[name]["p95"] = float(np.percentile(one["milliseconds"], 95))
    machines = {re.sub(r"load \d+", "load", one["machine"]) for one in measured.values() if "machine" in one}
    loads = [int(found[1]) for one in measured.values() if (found := re.search(r"load (\d+)", one.get("machine", "")))]
    if loads:
        machines = {one.replace("load", f"load {min(loads)} to {max(loads)}") for one in machines}
    return {"judged": judged, "candidates": candidates, "first_stage": first, "ways": ways, "default": points} | {
        "machines": sorted(machines)
    }


def _same_scores(one: dict[str, Any], exact: dict[str, Any], way: str) -> bool:
    """Whether a way's scores of the timed questions are the exact ones, or its order is where it tells no scores."""
    pairs = list(zip(one["timed_scores"], exact["scores"], strict=False))
    if way.startswith("B"):
        return all(kendalltau(own, other).statistic > 0.98 for own, other in pairs)
    return all(np.allclose(own, other, atol=2e-3) for own, other in pairs)


def _quality(scores: list[list[float]], relevant: list[list[int]]) -> dict[str, Any]:
    rankings = [[str(place) for place in np.argsort(-np.asarray(own), kind="stable")] for own in scores]
    return _rates(Judged.from_rankings(rankings, [frozenset(map(str, own)) for own in relevant]))


def _rates(judged: Judged) -> dict[str, Any]:
    quality = {}
    for k in (1, 10):
        values = hit_rate(judged, k)
        quality[f"HitRate@{k}"] = [float(values.mean()), *interval(values)]
    return quality


def markdown(report: dict[str, Any]) -> str:
    """Return the report as tables."""
    ways, first = report["ways"], report["first_stage"]
    shape = f", timed {report['widen']} times as wide" if report["widen"] > 1 else ""
    model = f"model {report['model']}{shape}" if report["model"] else "packaged model"
    search = ways.get(BI_ENCODER, {}).get("median")
    slowest = ways.get(PEERS[0], {}).get("median")
    reference = ways.get(EXACT, {}).get("quality")
    lines = [
        f"{report['candidates']} candidates of {report['data']}, {report['judged']} questions over "
        f"{report['passages']} passages, first stage {report['search_type']}, {model}. "
        f"Measured {'; '.join(report['machines'])}.",
        "",
        "HitRate with 95% bootstrap intervals; blended: the mean with the first stage's score, as in KlueRetriever. "
        f'tau: agreement with the exact order. Ways marked = compute the scores of "{EXACT}" (verified on the timed '
        "questions) and show its hit rates."
        + (
            f" Whole search: with a bi-encoder of 12 layers of 768 ({search:.0f} ms a search), in searches; gain kept: "
            "the share of what the exact scores add to HitRate@1."
            if search
            else ""
        ),
        "",
        "| way | median ms | p95 | times less than A | whole search | pairs/s | tokens a query | padding | peak MiB | "
        "read | HitRate@1 | HitRate@10 | blended @1 | blended @10 | gain kept | tau |",
        "|" + "---|" * 16,
        f"| no reranking | {first['milliseconds']:.1f} |  |  | {'1.00' if search else ''} |  |  |  |  |  | "
        f"{_rate(first['quality'], 1)} | {_rate(first['quality'], 10)} |  |  |  |  |",
    ]
    gain = reference["HitRate@1"][0] - first["quality"]["HitRate@1"][0] if reference else 0.0
    for way, one in ways.items():
        if way == BI_ENCODER:
            continue
        name = way + (f" at {one['options']['early_stop']:.3f}" if "early_stop" in one["options"] else "")
        kept = ""
        if gain > 0 and "quality" in one:
            kept = f"{(one['quality']['HitRate@1'][0] - first['quality']['HitRate@1'][0]) / gain:.0%}"
        cells = [
            name + (" =" if one["from"] else ""),
            f"{one['median']:.1f}",
            f"{one['p95']:.1f}" if "p95" in one else "",
            f"{slowest / one['median']:.1f}" if slowest and way != PACKAGED else "",
            f"{1 + one['median'] / search:.2f}" if search else "",
            f"{one['pairs_per_second']:.0f}",
            f"{one['tokens']:.0f}" if "tokens" in one else "",
            f"{one['padding_share']:.1%}" if "padding_share" in one else "",
            f"{one['peak_memory']:.0f}",
            f"{one['read_share']:.0%}" if "read_share" in one else "",
            *(_rate(one.get(kind), k) for kind in ("quality", "blended_quality") for k in (1, 10)),
            kept,
            f"{one['tau']:.3f}" if "tau" in one else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if report["default"]:
        lines += ["", "The packaged default, whole searches of the same questions:", ""]
        lines += ["| way | median ms | p95 | HitRate@1 | HitRate@10 |", "|---|---|---|---|---|"]
        lines += [
            f"| {name} | {one['median']:.1f} | {one['p95']:.1f} | {_rate(one['quality'], 1)} | "
            f"{_rate(one['quality'], 10)} |"
            for name, one in report["default"].items()
        ]
    for key, title in (("growth_candidates", "candidates"), ("growth_characters", "characters a passage")):
        grown = {way: one[key] for way, one in ways.items() if one.get(key)}
        columns = list(dict.fromkeys(column for own in grown.values() for column in own))
        if grown:
            columns.sort(key=int)
            lines += ["", f"Median ms a query by {title}:", "", f"| way | {' | '.join(columns)} |"]
            lines.append("|" + "---|" * (len(columns) + 1))
            lines += [
                f"| {way} | {' | '.join(f'{own[c]:.0f}' if c in own else '' for c in columns)} |"
                for way, own in grown.items()
            ]
    for way, one in ways.items():
        if "callers" in one:
            lines += _crowd_lines(way, one)
    if "missed" in ways.get(EARLY_STOP, {}):
        lines += [
            "",
            f"Early stop: calibrated on {report['judged']} other questions to miss the best candidate in "
            f"{report['error']:.0%} of them; missed in {ways[EARLY_STOP]['missed']:.1%} of the judged ones.",
        ]
    return "\n".join(lines) + "\n"


def _crowd_lines(way: str, one: dict[str, Any]) -> list[str]:
    limit = one["deadline"]
    crowds = "; ".join(f"{n}: {c['median']:.0f} ms, {c['per_second']:.1f}/s" for n, c in one["callers"].items())
    batches = "; ".join(
        f"{few} candidates each: {batch['single_ms'] / batch['batch_ms']:.2f}" for few, batch in one["batches"].items()
    )
    count = next(iter(one["batches"].values()))["queries"]
    return [
        "",
        f"{way}: callers at once, median and queries a second: {crowds}.",
        f"{count} queries in one batch, times the throughput of single calls: {batches}.",
        f"Deadline of {limit['milliseconds']:.0f} ms, {limit['callers']} callers, {limit['calls']} calls, "
        f"{limit['answered']} answered in full length: median {limit['median']:.1f}, p99 {limit['p99']:.1f}, most "
        f"{limit['most']:.1f} ms; {limit['share_read']:.0%} of the candidates read.",
    ]


def _rate(quality: dict[str, Any] | None, k: int) -> str:
    if quality is None:
        return ""
    value, low, high = quality[f"HitRate@{k}"]
    return f"{value:.3f} ({low:.3f}-{high:.3f})"


def plot(report: dict[str, Any], path: Path) -> None:
    """Draw quality against milliseconds, every way a labelled point."""
    pyplot = _pyplot()
    first, search = report["first_stage"], report["ways"].get(BI_ENCODER, {}).get("median")
    points = [(NO_RERANKING, first["milliseconds"], first["quality"], "black")]
    for way, one in report["ways"].items():
        if "quality" in one:
            colour = "tab:red" if way in PEERS else "tab:green" if way == PACKAGED else "tab:blue"
            points.append((way, first["milliseconds"] + one["median"], one["quality"], colour))
    points += [(name, one["median"], one["quality"], "tab:purple") for name, one in report["default"].items()]
    figure, axis = pyplot.subplots(figsize=(11, 6.5), constrained_layout=True)
    axis.set_xscale("log")
    for _, milliseconds, quality, colour in points:
        value, low, high = quality["HitRate@1"]
        axis.errorbar(
            [milliseconds], [value], [[value - low], [high - value]], fmt="o", color=colour, capsize=2, alpha=0.8
        )
    times = [milliseconds for _, milliseconds, _, _ in points]
    axis.set_xlim(min(times) / 1.6, max(times) * 4)
    axis.set_xlabel(f"milliseconds a query, {report['search_type']} search with the packaged bi-encoder included")
    axis.set_ylabel("HitRate@1")
    axis.grid(alpha=0.3)
    if search:
        axis.axvline(2 * search, color="grey", linestyle=":", linewidth=1)
        axis.annotate(
            "twice a search with a\nbi-encoder of 12 x 768",
            (2 * search, axis.get_ylim()[1]),
            (3, -20),
            textcoords="offset points",
            fontsize=7,
            color="grey",
        )
    _label(figure, axis, [(name, x, quality["HitRate@1"][0], colour) for name, x, quality, colour in points])
    axis.set_title(
        f"{report['candidates']} candidates of {report['data']}: other libraries (red), a transformer in this engine "
        "(blue),\nthe packaged reranker (green), the packaged default with hybrid search (purple)",
        fontsize=9,
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _label(figure: Any, axis: Any, points: list[tuple[str, float, float, str]]) -> None:
    """Write each point's name beside it, where no point and no other name stands."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure.canvas.draw()
    places = [axis.transData.transform((x, y)) for _, x, y, _ in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in places]
    for name, x, y, colour in sorted(points, key=lambda point: -point[2]):
        for shift in (sign * step for step in range(0, 400, 10) for sign in (1, -1)):
            line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6}
            text = axis.annotate(
                name.removesuffix(" candidates"),
                (x, y),
                (9 if abs(shift) < 40 else 22, shift - 3),
                textcoords="offset points",
                fontsize=7,
                color=colour,
                arrowprops=line if shift else None,
            )
            text.update_positions(figure.canvas.get_renderer())
            box = Text.get_window_extent(text)  # the annotation's own holds the line, too
            inside = axis.bbox.y0 < box.y0 and box.y1 < axis.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def plot_growth(report: dict[str, Any], path: Path) -> None:
    """Draw how the price grows with candidates, with passages' length, and with callers."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    kinds = (("growth_candidates", "candidates"), ("growth_characters", "characters a passage"), ("callers", "callers"))
    for axis, (key, title) in zip(axes, kinds, strict=True):
        for number, (way, one) in enumerate(report["ways"].items()):
            values = one.get(key)
            if values:
                heights = [value["median"] if key == "callers" else value for value in values.values()]
                axis.plot([int(x) for x in values], heights, "o-", markersize=3, color=f"C{number % 10}", label=way)
        axis.set(xscale="log", yscale="log", xlabel=title, ylabel="median ms a query")
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def into_page(page: Path, text: str, pictures: list[Path], command: str) -> None:
    """Put a report between a page's two markers, and its pictures into the folder ``assets`` beside the page.

    Raises:
        ValueError: If the page has no such markers.
    """
    whole = page.read_text(encoding="utf-8")
    begin, end = (whole.find(marker) for marker in MARKERS)
    if begin < 0 or end < begin:
        raise ValueError(f"{page} has no part between {MARKERS[0]} and {MARKERS[1]} to put the report into.")
    assets = page.parent / "assets"
    assets.mkdir(exist_ok=True)
    names = []
    for picture in pictures:
        names.append(f"rerank-{picture.stem}.png" if picture.stem != "rerank" else "rerank.png")
        shutil.copyfile(picture, assets / names[-1])
    part = (
        f"{MARKERS[0]}\n\nMade by `{command}`.\n\n![HitRate@1 against milliseconds](assets/{names[0]})\n\n{text}\n"
        f"![Milliseconds by candidates, length and callers](assets/{names[1]})\n\n"
    )
    page.write_text(whole[:begin] + part + whole[end:], encoding="utf-8")
