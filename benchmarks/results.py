"""Write docs/results.md: every stage and combination on every set, with intervals, tests and bars.

    python -m benchmarks.results --data ../shared/data --output docs/results.md

Runs are kept under ``--runs``: the page is rebuilt from them in seconds, and an interrupted measurement goes on. Delete
the folder to measure anew. Sets that the data folder does not have are left out.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figures.printed import p_text
from benchmarks.korean import pages
from benchmarks.price import machine, megabytes
from benchmarks.ways import (
    ABLATIONS,
    DEFAULT,
    DENSE,
    DEPTH,
    HYBRID,
    LEXICAL,
    SCORES,
    WAYS,
    WEIGHTS_TRIED,
    Run,
    Runner,
    Way,
)
from langchain_klue_rerank import KlueEmbeddings, KlueRetriever
from langchain_klue_rerank.engine.models.names import WEIGHTS
from langchain_klue_rerank.engine.rerank.ranker import blend_scores
from langchain_klue_rerank.evaluation.metrics import METRICS, calibration_error, interval, paired_p_value, reliability
from langchain_klue_rerank.evaluation.sets import SAMPLES, EvaluationSet, read_sets
from training.data import read_jsonl, read_klue_sts
from training.files import write_text

logger = logging.getLogger("benchmarks.results")


@dataclass(frozen=True)
class View:
    """Questions that have a table of their own.

    Attributes:
        key: A short name.
        title: Heading of the table.
        runner: Of the set.
        rows: Numbers of the questions in the set.
    """

    key: str
    title: str
    runner: Runner
    rows: Sequence[int]

    def values(self, way: Way, metric: str) -> np.ndarray:
        """Return a metric of each question."""
        return METRICS[metric](self.runner.run(way).judged(self.rows))

    def mean(self, way: Way, metric: str) -> float:
        """Return the mean of a metric."""
        return float(self.values(way, metric).mean())

    def p_value(self, way: Way, other: Way, metric: str = "HitRate@1") -> float:
        """Return the p-value that two ways are equally good."""
        return paired_p_value(self.values(way, metric), self.values(other, metric))


def read_views(data: Path, runs: Path, limit: int | None = None) -> list[View]:
    """Read the sets that are there.

    Args:
        data: The data folder.
        runs: Where runs are kept.
        limit: Ask the first questions of each set only; None for all.
    """
    views: list[View] = []

    def add(sets: Sequence[EvaluationSet], parts: Sequence[tuple[str, str, Sequence[int] | None]]) -> None:
        for one in sets:
            cut = one.first(limit)
            runner = Runner(cut, runs)
            everything = range(len(cut.questions))
            for key, title, rows in parts:
                chosen = [row for row in (everything if rows is None else rows) if row in everything]
                if chosen:
                    counts = f"{len(chosen):,} questions over {len(one.documents):,} passages"
                    views.append(View(key, f"{title}: {counts}", runner, chosen))

    folder = data / "klue_mrc"
    if (folder / "validation.jsonl").exists():
        own, all_contexts = read_sets(str(folder))
        count = len((folder / "validation.jsonl").read_text(encoding="utf-8").splitlines())
        name = "KLUE-MRC (a part, no official score)"
        of_klue: list[tuple[str, str, Sequence[int] | None]] = [
            ("klue", f"{name}, validation and test, all contexts", None),
            ("klue validation", f"{name}, validation alone, all contexts", range(count)),
            ("klue test", f"{name}, test alone, all contexts", range(count, len(own.questions))),
        ]
        add([all_contexts], of_klue)
        add([own], [("klue own", f"{name}, validation and test, their own contexts (the seed's protocol)", None)])
    if (data / "korquad").exists():
        add(read_sets(str(data / "korquad")), [("korquad", "KorQuAD 1.0 dev", None)])
    tydi = data / "tydiqa_ko" / "korean_tydiqa_dev.json"
    if tydi.exists():
        add(read_sets(str(tydi)), [("tydi", "TyDi QA Korean dev", None)])
    kinds = [row["kind"] for row in read_jsonl(SAMPLES / "questions.jsonl")]
    of_samples: list[tuple[str, str, Sequence[int] | None]] = [
        (kind, f"Our samples, {text}", [row for row, own_kind in enumerate(kinds) if own_kind == kind])
        for kind, text in (
            ("paraphrase", "questions that avoid the passage's words"),
            ("plain", "questions that share words with it"),
        )
    ]
    add(read_sets(str(SAMPLES)), [*of_samples, ("samples", "Our samples, all", None)])
    return views


# Tables -------------------------------------------------------------------------------------------------------------


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main_table(view: View) -> str:
    """Return the table of every stage and combination."""
    rows = []
    for way in WAYS:
        cells = []
        for metric in METRICS:
            values = view.values(way, metric)
            low, high = interval(values)
            cells.append(f"{values.mean():.3f}<br>{low:.3f}-{high:.3f}")
        base = next((one for one in WAYS if one.name == way.base), None)
        rows.append(
            [
                f"**{way.name}**" if way is DEFAULT else way.name,
                *cells,
                "" if way is LEXICAL else p_text(view.p_value(way, LEXICAL)),
                "" if base is None else p_text(view.p_value(way, base)),
            ]
        )
    return markdown(["search", *METRICS, "p, against lexical", "p, against not reranked"], rows)


def ablation_table(views: Sequence[View]) -> str:
    """Return the default with one thing changed, HitRate@1 and @10 on several sets."""
    header = ["changed", *(f"{view.key} @{k}" for view in views for k in (1, 10))]
    rows = []
    for way in (DEFAULT, *ABLATIONS):
        cells = [f"{view.mean(way, f'HitRate@{k}'):.3f}" for view in views for k in (1, 10)]
        name = "nothing: the default" if way is DEFAULT else way.name
        p_value = "" if way is DEFAULT else p_text(views[0].p_value(way, DEFAULT))
        rows.append([name, *cells, p_value])
    return markdown([*header, f"p, @1 on {views[0].key}"], rows)


def weight_table(views: Sequence[View]) -> str:
    """Return HitRate@1, MRR@10 and calibration error of the default's candidates at other shares of the reranker."""
    rows = []
    for weight in WEIGHTS_TRIED:
        cells = []
        for view in views:
            ranks, scores, right = [], [], []
            for pairs in (view.runner.run(DEFAULT).pairs[row] for row in view.rows):
                own = blend_scores([pair[1] for pair in pairs], [pair[0] for pair in pairs], weight).tolist()
                order = sorted(range(len(pairs)), key=lambda number: -own[number])
                ranks.append(next((rank for rank, number in enumerate(order, 1) if pairs[number][-1]), 0))
                scores += own
                right += [pair[-1] > 0 for pair in pairs]
            run = Run([rank if rank <= DEPTH else 0 for rank in ranks])
            judged = run.judged(range(len(ranks)))
            cells += [f"{METRICS[metric](judged).mean():.3f}" for metric in ("HitRate@1", "MRR@10")]
            cells.append(f"{calibration_error(np.asarray(scores), np.asarray(right)):.3f}")
        rows.append([f"{weight}", *cells])
    return markdown(
        ["`rerank_weight`", *(f"{view.key} {name}" for view in views for name in ("@1", "MRR", "ECE"))], rows
    )


def calibration_tables(views: Sequence[View]) -> str:
    """Return the calibration errors on every set, and how reliable scores are on the first."""
    columns = [number for number, name in enumerate(SCORES) if name != "first_stage_score"]
    rows = []
    for view in views:
        run = view.runner.run(DEFAULT)
        for column in columns:
            scores, right = run.scores(view.rows, column)
            first, first_right = run.scores(view.rows, column, first=True)
            likely = scores > 0.05
            cells = [calibration_error(scores, right, bins) for bins in (10, 15)]
            cells += [calibration_error(scores[likely], right[likely]), calibration_error(first, first_right)]
            cells += [float(first.mean()), float(first_right.mean())]
            rows.append([view.key, f"`{SCORES[column]}`", f"{len(scores):,}", *(f"{cell:.3f}" for cell in cells)])
    header = ["set", "score", "pairs", "ECE, 10 bins", "ECE, 15 bins", "ECE of pairs above 0.05"]
    header += ["ECE of the first results", "mean of the first results", "share of them right"]
    parts = [markdown(header, rows)]
    view = views[0]
    tables = [reliability(*view.runner.run(DEFAULT).scores(view.rows, column)) for column in columns]
    rows = []
    for number, bins in enumerate(zip(*tables, strict=True)):
        told = [cell for one in bins for cell in (f"{one.count:,}", f"{one.score:.3f}", f"{one.right:.3f}")]
        rows.append([f"{number / 10:.1f}-{(number + 1) / 10:.1f}", *told])
    header = ["score", *(f"`{SCORES[column]}`: {cell}" for column in columns for cell in ("pairs", "mean", "right"))]
    return "\n\n".join([*parts, f"How reliable, on {view.title}:", markdown(header, rows)])


def sts_correlation(data: Path) -> float | None:
    """Return Spearman's correlation of the packaged bi-encoder on KLUE-STS validation; None without the data."""
    path = data / "klue_sts" / "validation.csv"
    if not path.exists():
        return None
    from scipy.stats import spearmanr

    pairs = read_klue_sts(data, "validation")
    encoder = KlueEmbeddings().encoder
    left, right = (encoder.encode([getattr(row, name) for row in pairs], "passage") for name in ("first", "second"))
    return float(spearmanr((left * right).sum(axis=1), [row.score for row in pairs]).statistic)


# Bars ---------------------------------------------------------------------------------------------------------------


def bars(views: Sequence[View], sts: float | None, weights: float) -> str:
    """Return which of the project's bars are met."""
    rows: list[tuple[str, str, bool]] = [
        ("packaged weights at most 64 MB", f"<!--=weights.all-->{weights:.0f}<!--/--> MB", weights <= 64)
    ]
    by_key = {view.key: view for view in views}

    def least(key: str, way: Way, metric: str, bar: float) -> None:
        if key in by_key:
            value = by_key[key].mean(way, metric)
            rows.append((f"{key}: {way.name}, {metric} at least {bar}", f"{value:.4f}", value >= bar))

    least("klue", DEFAULT, "HitRate@1", 0.92)
    least("klue", DEFAULT, "HitRate@10", 0.99)
    least("klue", DENSE, "HitRate@10", 0.85)
    least("korquad", DEFAULT, "HitRate@1", 0.93)
    least("korquad", DEFAULT, "HitRate@10", 0.995)
    for k in (1, 5):
        view, metric = by_key["paraphrase"], f"HitRate@{k}"
        ours, theirs = view.mean(DEFAULT, metric), view.mean(LEXICAL, metric)
        text = f"paraphrase: default against lexical, {metric} at least 8 points better"
        rows.append((text, f"{ours:.3f}, lexical {theirs:.3f}", ours - theirs >= 0.08))
    for other, name in ((LEXICAL, "lexical"), (HYBRID, "not reranked")):
        worse = [
            f"{view.key} {metric} {view.mean(DEFAULT, metric):.3f}, {name} {view.mean(other, metric):.3f}"
            for view in views
            for metric in METRICS
            if view.mean(DEFAULT, metric) < interval(view.values(other, metric))[0]
        ]
        rows.append((f"default below {name} beyond its interval: nowhere", "; ".join(worse) or "nowhere", not worse))
    for view in views:
        before, after = view.mean(HYBRID, "HitRate@1"), view.mean(DEFAULT, "HitRate@1")
        p_value = view.p_value(DEFAULT, HYBRID)
        text = f"{view.key}: reranked better at @1, p < 0.05 where large enough"
        rows.append((text, f"{before:.3f} -> {after:.3f}, p {p_text(p_value)}", after > before and p_value < 0.05))
    if "klue test" in by_key:
        view = by_key["klue test"]
        for name in ("rerank_score", "relevance_score"):
            error = calibration_error(*view.runner.run(DEFAULT).scores(view.rows, SCORES.index(name)))
            rows.append((f"klue test: ECE of `{name}` at most 0.05", f"{error:.3f}", error <= 0.05))
    if sts is not None:
        rows.append(("KLUE-STS validation, Spearman at least 0.65 (CPU path)", f"{sts:.3f}", sts >= 0.65))
    return markdown(["bar", "measured", "met"], [[bar, value, "yes" if met else "**no**"] for bar, value, met in rows])


# The page -----------------------------------------------------------------------------------------------------------


def page(views: Sequence[View], command: str, sts: float | None, weights: float) -> str:
    """Return the whole page."""
    tables = [f"### {view.title}\n\n{main_table(view)}" for view in views]
    chosen = [view for view in views if view.key in ("klue validation", "klue test", "tydi", "paraphrase")]
    first = [view for view in views if view.key == "klue test"]
    others = [view for view in views if view.key in ("korquad", "tydi", "paraphrase", "plain")]
    dense_weight = KlueRetriever.model_fields["dense_weight"].default
    similarity = "" if sts is None else f"\n\nKLUE-STS validation, Spearman's correlation of the cosine: **{sts:.3f}**."
    return f"""# Results

[한국어](results.ko.md)

This page was written by

```sh
{command}
```

on {machine()}. Do not edit it: what was read by eye and what was tried and left stands in [failures.md](failures.md).

In every table the second line of a cell is the 95% bootstrap interval over the questions. p: exact sign test of
HitRate@1 on the same questions (McNemar). *Lexical* without more is BM25 over Kiwi morphemes and character bigrams,
both; *dense* is the cosine with a passage's best window of 50 words, *one vector a passage* with the whole; *hybrid*
adds {dense_weight} times the cosine; *reranked* is the packaged reranker over the best 30, as `KlueRetriever` has it by
default; "dense, then the reranker alone" is what a `ContextualCompressionRetriever` with `KlueReranker` over
dense search does. How long each takes: [benchmarks](benchmarks.md).

## Bars

{bars(views, sts, weights)}

## Every stage and combination

{(chr(10) * 2).join(tables)}{similarity}

## Are the scores probabilities?

Expected calibration error of the default retriever's scores over its 30 candidates a question. `rerank_score` is the
reranker's own; `relevance_score`, by which results are ordered and cut, is its weighted mean with the first stage's.
Most pairs are easy, so the error is also given for the pairs scored above 0.05 and for the first results alone.

{calibration_tables([*first, *others])}

## What each ingredient buys

The default with one thing changed.

{ablation_table(chosen)}

Other shares of the reranker's score in the `relevance_score`, computed from the same candidates; 0.0 is the order of
the first stage. 0.8, the default, was chosen on some 26,000 training questions that the networks had not seen
(`python -m training.experiments.unseen_kinds`); the sets of this page were in view, too.

{weight_table(chosen)}
"""


def write(data: Path, output: Path, runs: Path, limit: int | None = None) -> tuple[list[View], float | None]:
    """Measure what is not yet measured and write the page.

    Args:
        data: The data folder.
        output: The page; the Korean one beside it, if it is there, is written too.
        runs: Where runs are kept.
        limit: Ask the first questions of each set only; None for all.

    Returns:
        The views, and Spearman's correlation on KLUE-STS, None without its data.
    """
    sts = sts_correlation(data)
    views = read_views(data, runs, limit)
    command = f"python -m benchmarks.results --data {data} --output {output}"
    if limit:
        command += f" --limit {limit}"
    text = page(views, command, sts, megabytes(WEIGHTS))
    write_text(output, text)
    try:
        for korean, said in pages(output):
            korean.write_text(said, encoding="utf-8")
    except ValueError as error:  # what was measured stays; a test tells that the Korean page is behind
        logger.error("%s", error)
    logger.info("wrote %s", output)
    return views, sts


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--output", type=Path, default=Path("docs/results.md"), help="the page")
    parser.add_argument("--runs", type=Path, default=Path("runs/results"), help="where runs are kept")
    parser.add_argument("--limit", type=int, help="ask the first questions of each set only, to try the command")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write(options.data, options.output, options.runs, options.limit)


if __name__ == "__main__":
    main()
