"""The price of reranking and what it buys: the seed's loop, LangChain's and sentence-transformers' ways, and ours.

    python -m benchmarks.rerank --data ../shared/data/klue_mrc --model CROSS_ENCODER --widen 3 --out runs/rerank
    python -m benchmarks.rerank --data ../shared/data/klue_mrc --model CROSS_ENCODER --widen 3 --out runs/rerank --quick

All ways rerank the same candidates, each in a process of its own. With ``--widen`` times are those of the widened model
(see `benchmarks.widen`) and scores those of the model itself, which are the same. Without ``--model`` only the packaged
model is measured. Writes ``rerank.md``, ``rerank.json`` and ``rerank.png``. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from tqdm import tqdm

from benchmarks.rerank_modes import LENGTH, OURS, PEERS
from benchmarks.widen import widen
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.checks import searchable_text
from langchain_klue_rerank.engine.early_stop import calibrate
from langchain_klue_rerank.engine.metrics import Judged, hit_rate, interval
from langchain_klue_rerank.evaluation import EvaluationSet, read_sets

PACKAGED = "D packaged"
EARLY_STOP = "D 1 x 128, int8, early stop"
CALIBRATED_ON = "D 1 x 128, int8"
FULL = {"timed": 10, "judged": 150, "growing": 2, "calls": 32, "batch": 64, "deadline_calls": 10}
QUICK = {"timed": 3, "judged": 12, "growing": 1, "calls": 4, "batch": 8, "deadline_calls": 3}
#: The ways for which it is measured how the price grows, and with many callers.
GROWING = ("A the seed's loop", "D exact, onnx", CALIBRATED_ON, PACKAGED)
CROWDED = (CALIBRATED_ON, PACKAGED)
#: Marks of the ways in the plot.
_MARKS = "*osD^vPXhd"


def main() -> None:
    """Run all measurements and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the last")
    parser.add_argument("--model", type=Path, help="folder of a cross-encoder (none: the packaged one only)")
    parser.add_argument("--widen", type=int, default=1, help="time a model so many times as wide (1)")
    parser.add_argument("--out", type=Path, default=Path("runs/rerank"), help="folder of the report (runs/rerank)")
    parser.add_argument("--search-type", default="dense", choices=["dense", "hybrid", "lexical"], help="first stage")
    parser.add_argument("--candidates", type=int, default=30, help="candidates to rerank (30)")
    parser.add_argument("--deadline", type=float, default=50, help="milliseconds of the deadline (50)")
    parser.add_argument(
        "--error", type=float, default=0.01, help="share of best passages an early stop may miss (0.01)"
    )
    parser.add_argument("--ways", nargs="*", help="only the ways whose name holds one of these words")
    parser.add_argument("--quick", action="store_true", help="few queries, small counts")
    for name, value in FULL.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"({value}; quick {QUICK[name]})")
    options = parser.parse_args()
    for name in FULL:
        if getattr(options, name) is None:
            setattr(options, name, (QUICK if options.quick else FULL)[name])
    logging.basicConfig(level=logging.WARNING)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        report = _measure(options, Path(name))
    (options.out / "rerank.json").write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    text = _markdown(report)
    (options.out / "rerank.md").write_text(text, encoding="utf-8")
    _plot(report, options.out / "rerank.png")
    print(text)


def _measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    data = read_sets(options.data)[-1]
    queries, first_stage = _candidates(data, options, scratch)
    timed_model = options.model
    if options.model is not None and options.widen > 1:
        timed_model = widen(options.model, scratch / "wide", options.widen)
    ways = [*PEERS, *OURS] if options.model is not None else []
    ways = [way for way in [*ways, PACKAGED] if not options.ways or any(word in way for word in options.ways)]
    results: dict[str, Any] = {}
    relevant = [line["relevant"] for line in queries[: options.judged]]
    for way in tqdm(ways, desc="ways"):
        extra: dict[str, Any] = {}
        if way == EARLY_STOP:
            if CALIBRATED_ON not in results:
                continue
            own = results[CALIBRATED_ON]["calibration_scores"]
            extra["early_stop"] = calibrate([np.asarray(scores, np.float32) for scores in own], options.error)
        growing, crowded = way in GROWING, way in CROWDED
        sizes = [100, 1000, 4000] if options.quick else [100, 300, 1000, 2000, 4000]
        counts = [10, 30, 100] if options.quick else [10, 30, 100, 300]
        slow = way in PEERS
        task = {
            "way": way,
            "model": "" if way == PACKAGED else str(timed_model),
            "narrow": "" if way == PACKAGED else str(options.model),
            "options": extra,
            "queries": queries,
            "candidates": options.candidates,
            "timed": max(2, options.timed // 3) if slow and not way.startswith("A") else options.timed,
            "judged": len(queries) if way == CALIBRATED_ON else 0 if way[0] in "BC" else options.judged,
            "growing": (1 if slow else options.growing) if growing else 0,
            "counts": counts if growing else [],
            "sizes": sizes if growing else [],
            "crowds": ([1, 4, 16] if options.quick else [1, 4, 16, 64]) if crowded else [],
            "calls": options.calls,
            "batch": options.batch,
            "deadline": options.deadline,
            "deadline_calls": options.deadline_calls,
        }
        if OURS.get(way, {}).get("backend", "torch") != "torch":  # an export is not part of a way's memory
            _in_process({**task, "only_open": True}, scratch)
        result = _in_process(task, scratch)
        result["options"] = extra
        scores = result.pop("scores")
        result["calibration_scores"] = scores[options.judged :]
        result["scores"] = scores[: options.judged]
        results[way] = result
    reference = results.get(PEERS[0], {}).get("scores")
    for result in results.values():
        _judge(result, relevant, reference, first_stage["scores"], options.candidates)
        del result["scores"], result["calibration_scores"]
    no_reranking = [list(range(0, -options.candidates, -1))] * options.judged
    first_stage["quality"] = _quality(no_reranking, relevant)
    del first_stage["scores"]
    return {
        "data": data.name,
        "passages": len(data.documents),
        "judged": options.judged,
        "candidates": options.candidates,
        "search_type": options.search_type,
        "model": str(options.model) if options.model else None,
        "widen": options.widen,
        "first_stage": first_stage,
        "ways": results,
    }


def _candidates(
    data: EvaluationSet, options: argparse.Namespace, scratch: Path
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Find the candidates of the judged questions and, after them, of as many others to calibrate on."""
    retriever = KlueRetriever.from_documents(data.documents, reranker=None, search_type=options.search_type)
    total = len(data.questions)
    generator = np.random.default_rng(0)
    # of validation + test rows the last are test rows: those are judged, the first are for calibration
    judged = total // 2 + generator.permutation(total - total // 2)[: options.judged]
    options.judged = len(judged)
    others = generator.permutation(total // 2)[: options.judged]
    cut = _cutter(options.model)
    depth = 100 if options.quick else 300
    lines, times, scores = [], [], []
    for number in tqdm([*judged.tolist(), *others.tolist()], desc="first stage", leave=False):
        question = data.questions[number]
        start = time.perf_counter()
        retriever.invoke(question, k=options.candidates)
        times.append(1000 * (time.perf_counter() - start))
        found = retriever.invoke(question, k=depth)
        texts = [searchable_text(one.page_content, one.metadata, "title") for one in found]
        lines.append(
            {
                "query": question,
                "texts": texts,
                "cut_texts": cut(question, texts),
                "relevant": [place for place, one in enumerate(found) if one.id in data.relevant[number]],
            }
        )
        scores.append([float(one.metadata["relevance_score"]) for one in found[: options.candidates]])
    return lines, {"milliseconds": statistics.median(times), "scores": scores[: options.judged]}


def _cutter(model: Path | None) -> Any:
    """Return what cuts passages to the tokens that A reads of them."""
    if model is None:
        return lambda question, texts: []
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    special = tokenizer.num_special_tokens_to_add(True)

    def cut(question: str, texts: list[str]) -> list[str]:
        room = LENGTH - 2 - special - len(tokenizer.encode(question, add_special_tokens=False).ids)
        kept = []
        for text in texts:
            ends = tokenizer.encode(text, add_special_tokens=False).offsets
            kept.append(text if len(ends) <= room else text[: ends[room - 1][1]])
        return kept

    return cut


def _in_process(task: dict[str, Any], scratch: Path) -> dict[str, Any]:
    given, written = scratch / "task.json", scratch / "result.json"
    given.write_text(json.dumps(task), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.rerank_modes", str(given), str(written)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{task['way']} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return result


def _quality(scores: list[list[float]], relevant: list[list[int]]) -> dict[str, Any]:
    rankings = [[str(place) for place in np.argsort(-np.asarray(own), kind="stable")] for own in scores]
    judged = Judged.from_rankings(rankings, [frozenset(map(str, own)) for own in relevant])
    quality = {}
    for k in (1, 10):
        values = hit_rate(judged, k)
        quality[f"HitRate@{k}"] = [float(values.mean()), *interval(values)]
    return quality


def _judge(
    result: dict[str, Any],
    relevant: list[list[int]],
    reference: list[list[float]] | None,
    first: list[list[float]],
    candidates: int,
) -> None:
    """Add quality, that of the mean with the first stage's scores, and the agreement with A, to a result."""
    times = result["milliseconds"]
    result["median"] = statistics.median(times)
    result["p95"] = float(np.percentile(times, 95))
    result["pairs_per_second"] = 1000 * candidates / statistics.mean(times)
    scores = result["scores"]
    if not scores:
        return
    result["quality"] = _quality(scores, relevant)
    blended = [(np.maximum(own, 0) + np.asarray(one)).tolist() for own, one in zip(scores, first, strict=True)]
    result["blended_quality"] = _quality(blended, relevant)
    if reference is not None:
        pairs = list(zip(scores, reference, strict=True))
        result["tau"] = float(np.nanmean([kendalltau(own, one).statistic for own, one in pairs]))
        result["top10_overlap"] = float(np.mean([len(_top(own) & _top(one)) / len(_top(one)) for own, one in pairs]))


def _top(scores: list[float]) -> set[int]:
    return set(np.argsort(-np.asarray(scores), kind="stable")[:10].tolist())


def _markdown(report: dict[str, Any]) -> str:
    ways = report["ways"]
    shape = f", timed {report['widen']} times as wide" if report["widen"] > 1 else ""
    lines = [
        f"# Reranking {report['candidates']} candidates of {report['data']}",
        "",
        f"{report['judged']} questions over {report['passages']} passages, first stage {report['search_type']}; "
        f"model {report['model'] or 'packaged'}{shape}. HitRate with 95% bootstrap intervals; blended: the mean with "
        "the first stage's score, as in KlueRetriever. tau and top 10: agreement with A.",
        "",
        "| way | median ms | p95 | pairs/s | times less than A | tokens a query | padding | peak MiB | HitRate@1 | "
        "HitRate@10 | blended @1 | blended @10 | tau | top 10 |",
        "|" + "---|" * 14,
        f"| no reranking | {report['first_stage']['milliseconds']:.1f} |  |  |  |  |  |  | "
        f"{_rate(report['first_stage']['quality'], 1)} | {_rate(report['first_stage']['quality'], 10)} |  |  |  |  |",
    ]
    slowest = ways.get(PEERS[0], {}).get("median")
    for way, one in ways.items():
        comparable = slowest and way != PACKAGED
        cells = [
            way + (f" at {one['options']['early_stop']:.3f}" if "early_stop" in one["options"] else ""),
            f"{one['median']:.1f}",
            f"{one['p95']:.1f}",
            f"{one['pairs_per_second']:.0f}",
            f"{slowest / one['median']:.1f}" if comparable else "",
            f"{one['tokens']:.0f}" if "tokens" in one else "",
            f"{one['padding_share']:.1%}" if "padding_share" in one else "",
            f"{one['peak_memory']:.0f}",
            *(_rate(one.get(kind), k) for kind in ("quality", "blended_quality") for k in (1, 10)),
            f"{one['tau']:.3f}" if "tau" in one else "",
            f"{one['top10_overlap']:.3f}" if "tau" in one else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for key, title in (("growth_candidates", "candidates"), ("growth_characters", "characters a passage")):
        grown = {way: one[key] for way, one in ways.items() if one[key]}
        if grown:
            columns = list(next(iter(grown.values())))
            lines += ["", f"Median ms a query by {title}:", "", f"| way | {' | '.join(columns)} |"]
            lines.append("|" + "---|" * (len(columns) + 1))
            lines += [f"| {way} | {' | '.join(f'{own[c]:.0f}' for c in columns)} |" for way, own in grown.items()]
    for way, one in ways.items():
        if "callers" not in one:
            continue
        batch, limit = one["batch"], one["deadline"]
        lines += ["", f"{way}: callers at once, median ms and queries a second: "]
        lines[-1] += "; ".join(f"{n}: {c['median']:.0f}, {c['per_second']:.1f}" for n, c in one["callers"].items())
        lines += [
            f"{batch['queries']} queries in one batch: {batch['single_ms'] / batch['batch_ms']:.2f} times the "
            "throughput of single calls.",
            f"Deadline of {limit['milliseconds']:.0f} ms, {limit['callers']} callers, {limit['calls']} calls, "
            f"{limit['answered']} answered in full length: median {limit['median']:.1f}, p99 {limit['p99']:.1f}, most "
            f"{limit['most']:.1f} ms; {limit['share_read']:.0%} of the candidates read.",
        ]
    return "\n".join(lines) + "\n"


def _rate(quality: dict[str, Any] | None, k: int) -> str:
    if quality is None:
        return ""
    value, low, high = quality[f"HitRate@{k}"]
    return f"{value:.3f} ({low:.3f}-{high:.3f})"


def _plot(report: dict[str, Any], path: Path) -> None:
    """Draw quality against milliseconds, one point for each way."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(14, 5.5), constrained_layout=True)
    first = report["first_stage"]
    for axis, k in zip(axes, (1, 10), strict=True):
        points = [("no reranking", first["milliseconds"], first["quality"])]
        points += [
            (way, first["milliseconds"] + one["median"], one["quality"])
            for way, one in report["ways"].items()
            if "quality" in one
        ]
        for number, (name, milliseconds, quality) in enumerate(points):
            value, low, high = quality[f"HitRate@{k}"]
            error = [[value - low], [high - value]]
            axis.errorbar(
                [milliseconds], [value], error, fmt=_MARKS[number % 10], color=f"C{number % 9}", capsize=2, label=name
            )
        axis.set_xscale("log")
        axis.set_xlabel("milliseconds a query, first stage included")
        axis.set_ylabel(f"HitRate@{k}")
        axis.grid(alpha=0.3)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    figure.suptitle(f"{report['candidates']} candidates of {report['data']}")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
