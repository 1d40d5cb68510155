"""The parts of the command: what each measures, and the names of its figures."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import encoder, exact_words, install, picture, price, results, search
from benchmarks.everyday import __main__ as everyday
from benchmarks.everyday.sets import SEEN, UNSEEN
from benchmarks.exact_sets import EXACT_SETS
from benchmarks.figures.printed import p_text, with_interval
from benchmarks.figures.store import ROOT, Figures
from benchmarks.ways import DEFAULT, HYBRID, LEXICAL, SCORES, WAYS
from langchain_klue_rerank import KlueRetriever
from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.evaluation.metrics import METRICS, calibration_error, paired_p_value
from langchain_klue_rerank.evaluation.sets import read_sets

#: Metric -> its short name in the names of figures.
METRIC_NAMES = {
    "HitRate@1": "hit1",
    "HitRate@3": "hit3",
    "HitRate@5": "hit5",
    "HitRate@10": "hit10",
    "MRR@10": "mrr",
    "nDCG@10": "ndcg",
}
#: The results page's name of a way to search -> its short name.
WAY_NAMES = {
    "lexical, morphemes": "morphemes",
    "lexical, bigrams": "bigrams",
    "lexical": "lexical",
    "dense, one vector a passage": "one-vector",
    "dense": "dense",
    "hybrid": "hybrid",
    "lexical, reranked": "lexical-reranked",
    "dense, then the reranker alone": "dense-reranked",
    "hybrid, reranked": "reranked",
}
#: The picture's name of a way -> its short name.
PICTURE_NAMES = {
    "BM25, words between spaces": "spaces",
    "BM25, Kiwi morphemes": "morphemes",
    "lexical": "lexical",
    "dense": "dense",
    "hybrid": "hybrid",
    "hybrid, 10 reranked": "reranked10",
    "hybrid, 30 reranked": "reranked",
    "hybrid, 100 reranked": "reranked100",
}


def measure_results(data: Path, runs: Path) -> dict[str, str]:
    """Measure every way to search on every set, and write docs/results.md."""
    page = ROOT / "docs" / "results.md"
    # the page repeats the command, whose paths are no one's own
    views, sts = results.write(Path(os.path.relpath(data)), Path(os.path.relpath(page)), runs / "results")
    figures = {} if sts is None else {"sts": f"{sts:.3f}"}
    for view in views:
        name = view.key.replace(" ", "-")
        figures |= _counts(name, len(view.rows), len(view.runner.data.documents))
        for way in WAYS:
            for metric, short in METRIC_NAMES.items():
                figures[f"{name}.{WAY_NAMES[way.name]}.{short}"] = with_interval(view.values(way, metric))
        figures[f"{name}.reranked.p"] = p_text(view.p_value(DEFAULT, HYBRID))
        figures[f"{name}.reranked.p-lexical"] = p_text(view.p_value(DEFAULT, LEXICAL))
        for column, score in enumerate(SCORES[1:], 1):
            scores, right = view.runner.run(DEFAULT).scores(view.rows, column)
            first, first_right = view.runner.run(DEFAULT).scores(view.rows, column, first=True)
            kind, likely = f"{name}.{score.removesuffix('_score')}", scores > 0.05
            figures[f"{kind}.ece"] = f"{calibration_error(scores, right):.3f}"
            figures[f"{kind}.ece-likely"] = f"{calibration_error(scores[likely], right[likely]):.3f}"
            figures[f"{kind}.first"] = f"{first.mean():.2f}"
            figures[f"{kind}.first-right"] = f"{first_right.mean():.2f}"
    return figures


def measure_exact(data: Path, runs: Path) -> dict[str, str]:
    """Measure the sets on which exact words decide, and those of other data that the results page has not."""
    figures: dict[str, str] = {}
    names = {**dict.fromkeys(EXACT_SETS), "boolq dev": "boolq", "headings": None}
    for name, own in exact_words.sets_at_hand(data):
        if name in names:
            short = names[name] or name
            figures |= _counts(short, len(own.questions), len(own.documents))
            first = {way: METRICS["HitRate@1"](judged) for way, judged in exact_words.measure(own).items()}
            figures |= {f"{short}.{way}.hit1": with_interval(values) for way, values in first.items()}
            p = paired_p_value(first["reranked"], first["lexical"])
            figures[f"{short}.reranked.p-lexical"] = p_text(p)
    return figures


#: `benchmarks.everyday`'s name of a figure -> its short name.
EVERYDAY_NAMES = {
    "ECE, all": "ece-all",
    "ECE, answerable": "ece",
    "AUC right/near": "auc-near",
    "AUC right/off topic": "auc-off",
    "share right": "right",
    "mean, answerable": "mean",
    "answered, right": "answered-right",
    "answered, near": "answered-near",
    "answered, off topic": "answered-off",
}


def measure_everyday(data: Path, runs: Path) -> dict[str, str]:
    """Measure the confidence on the seen and on the unseen everyday questions."""
    figures = {"everyday.threshold": f"{KlueRetriever().confidence_threshold}"}
    for half, names in (("seen", SEEN), ("unseen", UNSEEN)):
        whole = everyday.join([everyday.ask(name) for name in names])
        figures |= _confidence(whole, f"everyday.{half}.confidence", EVERYDAY_NAMES.values())
        before = everyday.figures(whole, whole.relevance, everyday.BEFORE)
        figures |= {f"everyday.{half}.relevance.{short}": f"{before[key]:.3f}" for key, short in EVERYDAY_NAMES.items()}
    return figures


def _confidence(answers: everyday.Answers, name: str, wanted: Iterable[str]) -> dict[str, str]:
    threshold = KlueRetriever().confidence_threshold

    def told(some: everyday.Answers) -> dict[str, float]:
        return everyday.figures(some, some.confidence, threshold)

    ranges, values = everyday.interval(answers, told), told(answers)
    return {
        f"{name}.{short}": "{:.3f} ({:.3f}-{:.3f})".format(values[key], *ranges[key])
        for key, short in EVERYDAY_NAMES.items()
        if short in wanted
    }


#: `benchmarks.encoder`'s name of a set -> its short name.
ENCODER_NAMES = {
    "samples, paraphrase": "paraphrase",
    "samples, plain": "plain",
    "everyday, seen half": "everyday",
    "TyDi QA dev": "tydi",
    "KorQuAD dev": "korquad",
    "KLUE-MRC, own contexts": "klue-own",
    "KLUE-MRC, all contexts": "klue",
}
_LARGE_SETS = ("KorQuAD dev", "KLUE-MRC, own contexts", "KLUE-MRC, all contexts")


def measure_encoder(data: Path, runs: Path) -> dict[str, str]:
    """Measure what the packaged encoder brings at the default weight, but for the large sets."""
    figures = _encoder(data, runs, [name for name in ENCODER_NAMES if name not in _LARGE_SETS])
    second = everyday.join([everyday.ask(name, "packaged-encoder") for name in SEEN])
    return figures | _confidence(second, "everyday.second", ("auc-near", "right", "answered-off"))


def measure_encoder_large(data: Path, runs: Path) -> dict[str, str]:
    """Measure it on KLUE-MRC and KorQuAD: half an hour on two quiet cores, most of it spent embedding passages."""
    return _encoder(data, runs, [name for name in ENCODER_NAMES if name in _LARGE_SETS])


def _encoder(data: Path, runs: Path, sets: list[str]) -> dict[str, str]:
    weight = KlueRetriever.model_fields["second_weight"].default
    figures = {"encoder.weight": f"{weight}"}
    for line in encoder.quality(data, "packaged-encoder", _made(runs / "encoder"), [weight], sets):
        name = ENCODER_NAMES[line.name]
        way = {"hybrid": "encoder-hybrid", "reranked": "encoder"}[line.search] if line.weight else line.search
        figures |= _counts(name, line.questions, line.passages)
        figures |= {f"{name}.{way}.hit{depth}": with_interval(values) for depth, values in line.hits.items()}
        if line.p is not None:
            figures[f"{name}.{way}.p"] = p_text(line.p)
    return figures


def measure_queries(data: Path, runs: Path) -> dict[str, str]:
    """Measure how long a query takes: what the picture shows."""
    own = read_sets(str(data / "klue_mrc"))[-1]
    figures = {}
    for name, point in picture.measure(own).items():
        way = PICTURE_NAMES[name]
        for metric, (value, low, high) in point.rates.items():
            figures[f"klue.{way}.{METRIC_NAMES[metric]}"] = f"{value:.3f} ({low:.3f}-{high:.3f})"
        figures[f"query.{way}.ms"] = _digits(point.milliseconds)
        figures[f"query.{way}.p95"] = _digits(point.p95)
    more = float(figures["query.reranked.ms"]) - float(figures["query.hybrid.ms"])
    return figures | {
        "query.about": f"{float(figures['query.reranked.ms']):.0f}",
        "query.reranking": f"{more:.0f}",
    }


def measure_start(data: Path, runs: Path) -> dict[str, str]:
    """Measure indexing, a cold start, and a large index."""
    source = str(data / "klue_mrc")
    own = read_sets(source)[-1]
    with TemporaryDirectory() as name:
        folder = Path(name)
        speed = search.indexing(source, 5)
        KlueRetriever.from_documents(own.documents).save(folder / "index")
        start = search.cold_start(folder / "index", own.questions[0], 5)
        vectors, opening, _ = search.large(folder, own, _LARGE)
    return {
        "indexing.characters": f"{np.mean([len(one.page_content) for one in own.documents]):.0f}",
        "indexing.speed": f"{speed.median:.0f}",
        "start.seconds": f"{start[search.START].median:.1f}",
        "start.memory": f"{start[search.MEMORY].median:.0f}",
        "large.passages": f"{_LARGE:,}",
        "large.vectors": f"{vectors:.1f}",
        "large.seconds": f"{opening.median:.1f}",
    }


def measure_loading(data: Path, runs: Path) -> dict[str, str]:
    """Measure loading, and every kind of index, by processor time."""
    figures = {f"loading.{name}": f"{value:.0f}" for name, value in price.loading().items()}
    return figures | {f"indexing.{kind}": f"{v:.0f}" for kind, v in price.indexing(str(data / "klue_mrc")).items()}


def measure_encoder_price(data: Path, runs: Path) -> dict[str, str]:
    """Measure what the packaged encoder costs: with ONNX Runtime where it is installed, and with NumPy."""
    found = encoder.price(_made(runs / "encoder"))
    name, *_ = found.milliseconds  # the first is what a retriever takes
    return {
        "encoder.query.ms": _digits(found.milliseconds[name]),
        "encoder.passages": f"{found.speed[name]:.1f}",
        "encoder.numpy.ms": _digits(found.milliseconds["NumpyNetwork"]),
        "encoder.numpy.passages": f"{found.speed['NumpyNetwork']:.1f}",
        "encoder.reranked.p50": _digits(found.queries["with"][0]),
        "encoder.reranked.p90": _digits(found.queries["with"][1]),
        "encoder.runs-in": {"NumpyNetwork": "NumPy"}.get(name, "ONNX Runtime"),
    }


def measure_install(data: Path, runs: Path) -> dict[str, str]:
    """Measure the base install; needs a package index."""
    found = install.install(str(ROOT))
    return {
        "install.packages": f"{len(found.packages)}",
        "install.wheels": f"{sum(found.wheels.values()) / 1e6:.0f}",
        "install.disk": f"{sum(size for _, size, _ in found.packages) / 1e6:.0f}",
    }


def measure_sizes(data: Path, runs: Path) -> dict[str, str]:
    """Measure the packaged weights' files."""
    parts = {name: f"{price.megabytes(WEIGHTS / name):.1f}" for name in ("bi_encoder", "reranker")}
    return {
        "weights.all": f"{price.megabytes(WEIGHTS):.0f}",
        "weights.encoder": f"{price.megabytes(WEIGHTS / 'encoder'):.0f}",
        "weights.default": f"{price.megabytes(WEIGHTS) - price.megabytes(WEIGHTS / 'encoder'):.0f}",
        **{f"weights.{name}": size for name, size in parts.items()},
    }


@dataclass(frozen=True)
class Measurement:
    """A part of the command.

    Attributes:
        measure: Takes the data folder and the folder of runs; returns names and figures.
        group: A name for several parts.
        weights: Folders of the packaged weights that the figures depend on.
        optional: Whether pages do without its figures, so that they are dropped when the weights change.
    """

    measure: Callable[[Path, Path], dict[str, str]]
    group: str
    weights: tuple[str, ...] = ("bi_encoder", "reranker", "confidence")
    optional: bool = False


_ENCODER = ("bi_encoder", "reranker", "encoder")
#: The parts in the order in which they run: what is exact whatever else the machine does, then what is timed.
PARTS = {
    "sizes": Measurement(measure_sizes, "quality", (*_ENCODER, "confidence")),
    "results": Measurement(measure_results, "quality"),
    "exact": Measurement(measure_exact, "quality"),
    "everyday": Measurement(measure_everyday, "quality"),
    "encoder": Measurement(measure_encoder, "encoder", _ENCODER),
    "encoder-large": Measurement(measure_encoder_large, "large", _ENCODER, optional=True),
    "install": Measurement(measure_install, "install", (*_ENCODER, "confidence")),
    "queries": Measurement(measure_queries, "times"),
    "start": Measurement(measure_start, "times"),
    "loading": Measurement(measure_loading, "times"),
    "encoder-price": Measurement(measure_encoder_price, "times", _ENCODER),
}
_LARGE = 100_000


def chosen(names: Iterable[str]) -> list[str]:
    """Return the parts of which the names or the groups are given, in their order.

    Raises:
        ValueError: If a name is neither.
    """
    wanted = set(names)
    unknown = wanted - set(PARTS) - {one.group for one in PARTS.values()}
    if unknown:
        groups = sorted({one.group for one in PARTS.values()})
        raise ValueError(f"no part is named {', '.join(sorted(unknown))}; parts: {', '.join(PARTS)}; groups: {groups}")
    return [name for name, one in PARTS.items() if {name, one.group} & wanted]


def points(figures: Figures) -> dict[str, picture.Point]:
    """Return the picture's points."""

    def rates(way: str) -> dict[str, tuple[float, float, float]]:
        value, _, ends = figures.whole(f"klue.{way}.hit1").rstrip(")").partition(" (")
        low, high = ends.split("-")
        return {"HitRate@1": (float(value), float(low), float(high))}

    return {
        name: picture.Point(rates(way), float(figures[f"query.{way}.ms"]), np.nan)
        for name, way in PICTURE_NAMES.items()
    }


def commit() -> str:
    """Return the commit that is checked out, with a "+" if files differ from it; empty outside a repository."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        return done.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno", "--", "*.py") else "")


def _digits(milliseconds: float) -> str:
    return f"{milliseconds:.1f}"


def _counts(name: str, questions: int, passages: int) -> dict[str, str]:
    return {f"{name}.questions": f"{questions:,}", f"{name}.passages": f"{passages:,}"}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
